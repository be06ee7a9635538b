"""The command `check_data`; --help shows how to use it."""

from gcnet_tf.commands.check_data import main
from gcnet_tf.commands.cli import run

if __name__ == "__main__":
    run(main)

"""The command `report`; --help shows how to use it."""

from gcnet_tf.commands.cli import run
from gcnet_tf.commands.report import main

if __name__ == "__main__":
    run(main)

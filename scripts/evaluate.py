"""The command `evaluate`; --help shows how to use it."""

from gcnet_tf.commands.cli import run
from gcnet_tf.commands.evaluate import main

if __name__ == "__main__":
    run(main)

"""The command `show_attention`; --help shows how to use it."""

from gcnet_tf.commands.cli import run
from gcnet_tf.commands.show_attention import main

if __name__ == "__main__":
    run(main)

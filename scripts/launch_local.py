"""The command `launch_local`; --help shows how to use it."""

from gcnet_tf.commands.cli import run
from gcnet_tf.commands.launch_local import main

if __name__ == "__main__":
    run(main)

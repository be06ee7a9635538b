"""The command `export_mmseg`; --help shows how to use it."""

from gcnet_tf.commands.cli import run
from gcnet_tf.commands.mmseg.export_mmseg import main

if __name__ == "__main__":
    run(main)

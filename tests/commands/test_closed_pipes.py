"""Commands whose reader goes before they end, as in `... | head`."""

import os
import subprocess
import sys

import pytest
from script_server import REPOSITORY

from gcnet_tf.commands import cli


def run_unread(*arguments, stderr=subprocess.PIPE):
    """Runs the program with a pipe as its output that nobody reads."""
    read_end, write_end = os.pipe()
    os.close(read_end)
    with open(write_end, "wb") as unread:
        return subprocess.run(
            [sys.executable, "-m", "gcnet_tf", *arguments],
            stdout=unread,
            stderr=unread if stderr is None else stderr,
            cwd=REPOSITORY,
            # Buffered, so that little text meets the pipe at the end only.
            env={**os.environ, "PYTHONUNBUFFERED": ""},
            text=True,
        )


@pytest.mark.parametrize(
    "arguments",
    [
        ["show_config", "--describe"],
        ["show_config", "--cfg", "voc_r50_20k"],  # less than a buffer
        ["show_config", "--help"],
    ],
)
def test_nobody_reads(arguments):
    result = run_unread(*arguments)
    assert (result.returncode, result.stderr) == (141, "")


def test_an_error_is_still_told():
    result = run_unread("show_config", "--cfg", "gone.json")
    assert result.returncode == 2
    assert result.stderr.startswith("Error: ") and result.stderr.count("\n") == 1


def test_nobody_reads_the_error():
    assert (
        run_unread("show_config", "--cfg", "gone.json", stderr=None).returncode == 141
    )


def test_other_pipes_are_other_errors(capfd):
    """An error of a worker's pipe must not end a command without a word."""

    def main():
        raise BrokenPipeError("of a worker")

    with pytest.raises(BrokenPipeError, match="of a worker"):
        cli.run(main)

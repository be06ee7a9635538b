"""The benchmark's command line, on wrong input; measuring itself is not tested."""

import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]


@pytest.mark.parametrize(
    "arguments, message",
    [
        (("--rounds", "0"), "--rounds 0 and --seconds 4.0"),
        (("--seconds", "0"), "--rounds 5 and --seconds 0.0"),
    ],
)
def test_wrong_numbers(arguments, message):
    command = [sys.executable, "scripts/benchmark.py", "pipeline", *arguments]
    result = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)
    assert result.returncode == 2
    assert message in result.stderr


@pytest.mark.parametrize(
    "arguments, message",
    [
        (("--threads", "0"), "--threads: received 0"),
        (("--size", "12"), '--size: received "12"'),
        (("--cfg", "voc_r18_20k", "nowhere"), "nowhere"),
    ],
)
def test_wrong_arguments_of_mobile(arguments, message):
    command = [sys.executable, "scripts/benchmark.py", "mobile", *arguments]
    result = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)
    assert result.returncode == 2
    assert message in result.stderr


@pytest.mark.parametrize(
    "arguments, message",
    [
        (("--rounds", "0"), "--rounds 0 and --seconds 3.0"),
        (("--threads", "0"), "--threads: received 0"),
        (("--size", "12"), '--size: received "12"'),
        (("--exports", "nowhere"), "nowhere holds no exported model"),
        (("--out", "README.md"), "--out: cannot make the folder README.md"),
    ],
)
def test_wrong_arguments_of_infer(arguments, message):
    command = [sys.executable, "scripts/benchmark.py", "infer", *arguments]
    result = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)
    assert result.returncode == 2
    assert message in result.stderr


@pytest.mark.parametrize(
    "arguments, message",
    [
        (("--seconds", "-1"), "--rounds 5 and --seconds -1.0"),
        (("--threads", "0"), "--threads: received 0"),
        (("--out", "README.md"), "--out: cannot make the folder README.md"),
    ],
)
def test_wrong_arguments_of_blocks(arguments, message):
    command = [sys.executable, "scripts/benchmark.py", "blocks", *arguments]
    result = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)
    assert result.returncode == 2
    assert message in result.stderr

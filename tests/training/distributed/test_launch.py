"""Several processes as one: output, failures and signals. No TensorFlow."""

import json
import os
import signal
import subprocess
import sys
import textwrap

import pytest

from gcnet_tf.training.distributed.launch import launch, tf_configs


def start(body, number=2, **options):
    """Launches Python code that knows its INDEX, in a process of its own."""
    worker = (
        "import json, os, signal, sys, time\n"
        "INDEX = json.loads(os.environ['TF_CONFIG'])['task']['index']\n"
    ) + textwrap.dedent(body)
    code = (
        "import sys; from gcnet_tf.training.distributed.launch import launch; "
        f"sys.exit(launch([sys.executable, '-c', {worker!r}], {number}))"
    )
    return subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


def test_every_worker_has_its_place_and_a_port_of_its_own():
    contents = [json.loads(text) for text in tf_configs(3)]
    assert [content["task"]["index"] for content in contents] == [0, 1, 2]
    (addresses,) = {tuple(content["cluster"]["worker"]) for content in contents}
    assert len(set(addresses)) == 3


def test_lines_say_which_worker_wrote_them():
    process = start("print('out', INDEX); print('err', INDEX, file=sys.stderr)")
    out, err = process.communicate()
    assert process.returncode == 0
    assert sorted(out.splitlines()) == ["[0] out 0", "[1] out 1"]
    assert sorted(err.splitlines()) == ["[0] err 0", "[1] err 1"]


# A pipe that never gives anything: waiting without a clock.
WAIT = "os.read(os.pipe()[0], 1)"


@pytest.mark.parametrize(
    "end, code", [("sys.exit(5)", 5), ("os.kill(os.getpid(), 9)", 137)]
)
def test_one_that_dies_ends_the_others(end, code):
    process = start(f"{end} if INDEX == 1 else {WAIT}")
    process.communicate()
    assert process.returncode == code


def test_a_worker_that_ends_well_ends_nobody():
    process = start("INDEX and print(sum(range(10**6)))")
    out, _ = process.communicate()
    assert (process.returncode, out) == (0, "[1] 499999500000\n")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_reaches_every_worker_once(number):
    body = """
    received = []
    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, lambda number, frame: received.append(int(number)))
    print("ready", flush=True)
    while not received:
        signal.pause()
    print("got", received, flush=True)
    sys.exit(3)
    """
    process = start(body, start_new_session=True)
    lines = [process.stdout.readline() for _ in range(2)]
    assert sorted(lines) == ["[0] ready\n", "[1] ready\n"]
    # As a terminal does: the whole group gets it.
    os.killpg(process.pid, number)
    out, _ = process.communicate()
    assert sorted(out.splitlines()) == [f"[{i}] got [{int(number)}]" for i in (0, 1)]
    assert process.returncode == 3


def test_returns_the_code(capfd):
    assert launch([sys.executable, "-c", "print('here')"], 1) == 0
    assert capfd.readouterr().out == "[0] here\n"

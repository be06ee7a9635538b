"""The launcher of workers: output, failures and signals. No TensorFlow."""

import json
import os
import signal
import subprocess
import sys
import textwrap

import pytest

from gcnet_tf.training.distributed.launch import launch, tf_configs


def start(body, num_workers=2, **options):
    """Launches workers that run Python code, which knows its INDEX."""
    worker = (
        "import json, os, signal, sys, time\n"
        "INDEX = json.loads(os.environ['TF_CONFIG'])['task']['index']\n"
    ) + textwrap.dedent(body)
    code = (
        "import sys; from gcnet_tf.training.distributed.launch import launch; "
        f"sys.exit(launch([sys.executable, '-c', {worker!r}], {num_workers}))"
    )
    return subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


def test_every_worker_has_its_own_index_and_port():
    configs = [json.loads(text) for text in tf_configs(3)]
    assert [config["task"]["index"] for config in configs] == [0, 1, 2]
    (addresses,) = {tuple(config["cluster"]["worker"]) for config in configs}
    assert len(set(addresses)) == 3


def test_lines_begin_with_the_number_of_their_worker():
    process = start("print('out', INDEX); print('err', INDEX, file=sys.stderr)")
    out, err = process.communicate()
    assert process.returncode == 0
    assert sorted(out.splitlines()) == ["[0] out 0", "[1] out 1"]
    assert sorted(err.splitlines()) == ["[0] err 0", "[1] err 1"]


# Reads from a pipe that stays empty: it waits without a clock.
WAIT = "os.read(os.pipe()[0], 1)"


@pytest.mark.parametrize(
    "end, code", [("sys.exit(5)", 5), ("os.kill(os.getpid(), 9)", 137)]
)
def test_a_worker_that_dies_ends_the_others(end, code):
    process = start(f"{end} if INDEX == 1 else {WAIT}")
    process.communicate()
    assert process.returncode == code


def test_a_worker_that_succeeds_does_not_end_the_others():
    process = start("INDEX and print(sum(range(10**6)))")
    out, _ = process.communicate()
    assert (process.returncode, out) == (0, "[1] 499999500000\n")


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_reaches_every_worker_once(sent):
    body = """
    received = []
    for known in (signal.SIGINT, signal.SIGTERM):
        signal.signal(known, lambda number, frame: received.append(int(number)))
    print("ready", flush=True)
    while not received:
        signal.pause()
    print("got", received, flush=True)
    sys.exit(3)
    """
    process = start(body, start_new_session=True)
    lines = [process.stdout.readline() for _ in range(2)]
    assert sorted(lines) == ["[0] ready\n", "[1] ready\n"]
    # Like a terminal, which sends it to the whole group.
    os.killpg(process.pid, sent)
    out, _ = process.communicate()
    assert sorted(out.splitlines()) == [f"[{i}] got [{int(sent)}]" for i in (0, 1)]
    assert process.returncode == 3


def test_returns_the_code(capfd):
    assert launch([sys.executable, "-c", "print('here')"], 1) == 0
    assert capfd.readouterr().out == "[0] here\n"

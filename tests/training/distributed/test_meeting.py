"""The meeting of workers before TensorFlow, between threads and processes."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from gcnet_tf.errors import UserError
from gcnet_tf.training import WorkerLost
from gcnet_tf.training.distributed import meeting
from gcnet_tf.training.distributed.cluster import Cluster
from gcnet_tf.training.distributed.meeting import meet


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(meeting, "_PAUSE_SECONDS", 0.02)
    monkeypatch.setattr(meeting, "_SIGN_SECONDS", 0.1)


def free_address():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{listener.getsockname()[1]}"


def cluster(index, number=2, first=None):
    others = [f"10.0.0.{i}:2222" for i in range(1, number)]
    return Cluster({"worker": [first, *others]}, "worker", index)


def test_all_go_on_when_the_last_has_come(capsys):
    """The second worker comes long before the first, the third after both."""
    first = free_address()
    gone_on = []

    def come(index):
        meet(cluster(index, 3, first), 60)
        gone_on.append(index)

    with ThreadPoolExecutor(3) as pool:
        early = [pool.submit(come, index) for index in (1, 0)]
        with contextlib.suppress(TimeoutError):
            early[1].result(timeout=0.3)
        assert not gone_on
        for future in (*early, pool.submit(come, 2)):
            future.result(timeout=60)
    assert sorted(gone_on) == [0, 1, 2]
    out = capsys.readouterr().out
    assert f"Worker 1 of 3: joining; waits for worker 0 at {first}, at most 60 s" in out
    both = "worker 1 at 10.0.0.1:2222, worker 2 at 10.0.0.2:2222"
    assert f"Worker 0 of 3: joining; waits for {both}, at most" in out


def test_the_port_is_free_for_tensorflow_when_workers_go_on():
    first = free_address()
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(meet, cluster(0, 2, first), 60)
        meet(cluster(1, 2, first), 60)
        with pytest.raises(ConnectionRefusedError):
            host, port = first.split(":")
            socket.create_connection((host, int(port)), 5)
        waiting.result(timeout=60)


def test_one_worker_waits_for_nobody():
    meet(Cluster({"worker": ["nowhere:1"]}, "worker", 0), 1)


def test_a_worker_gives_up_on_the_first():
    first = free_address()
    text = f"Worker 1 has waited 0.2 s for worker 0 at {first}: not reached .*refused"
    with pytest.raises(WorkerLost, match=f"{text}.*train.join_timeout=SECONDS"):
        meet(cluster(1, 2, first), 0.2)


def test_the_first_names_who_has_not_come():
    first = free_address()
    with ThreadPoolExecutor(1) as pool:
        early = pool.submit(meet, cluster(1, 3, first), 60)
        text = r"Worker 0 has waited 1 s for worker 2 at 10.0.0.2:2222: nobody has come"
        with pytest.raises(WorkerLost, match=text):
            meet(cluster(0, 3, first), 1)
        # The worker that was there meets the next first worker, started again.
        assert not early.done()
        pool_of_two = [cluster(index, 3, first) for index in (0, 2)]
        with ThreadPoolExecutor(2) as others:
            list(others.map(lambda one: meet(one, 60), pool_of_two))
        early.result(timeout=60)


def connected(address):
    """Returns a connection, as soon as somebody listens."""
    host, port = address.split(":")
    while True:
        with contextlib.suppress(ConnectionRefusedError):
            return socket.create_connection((host, int(port)), 5)


def test_a_worker_that_leaves_and_comes_again_counts_once():
    first = free_address()
    with ThreadPoolExecutor(2) as pool:
        waiting = pool.submit(meet, cluster(0, 3, first), 60)
        with connected(first) as leaver:
            leaver.sendall(b"gcnet_tf worker 1 of 3\n")
            assert leaver.recv(5) == b"wait\n"
        stays = pool.submit(meet, cluster(2, 3, first), 60)
        with pytest.raises(TimeoutError):
            stays.result(timeout=0.5)
        assert not waiting.done()
        meet(cluster(1, 3, first), 60)
        waiting.result(timeout=60)
        stays.result(timeout=60)


@pytest.mark.parametrize("said", [b"GET / HTTP/1.1\r\n\r\n", b"", b"\xff" * 200])
def test_strangers_are_not_workers(said):
    first = free_address()
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(meet, cluster(0, 2, first), 60)
        with connected(first) as stranger:
            stranger.sendall(said)
            stranger.shutdown(socket.SHUT_WR)
            with contextlib.suppress(ConnectionResetError):
                assert stranger.recv(1) == b""
        meet(cluster(1, 2, first), 60)
        waiting.result(timeout=60)


def test_another_program_at_the_address_of_the_first():
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer():
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = listener.accept()
                    with connection:
                        connection.sendall(b"\0\0\x18\x04\0\0\n")

        threading.Thread(target=answer, daemon=True).start()
        first = f"127.0.0.1:{listener.getsockname()[1]}"
        with pytest.raises(WorkerLost, match="another program answers"):
            meet(cluster(1, 2, first), 0.5)
        with pytest.raises(UserError, match=f"cannot listen at its address {first}"):
            meet(cluster(0, 2, first), 0.5)


def test_lists_of_different_length_are_refused():
    first = free_address()
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(meet, cluster(0, 2, first), 60)
        with pytest.raises(UserError, match="told of 3 workers, and worker 0 at"):
            meet(cluster(1, 3, first), 60)
        meet(cluster(1, 2, first), 60)
        waiting.result(timeout=60)


@pytest.mark.parametrize("index", [0, 1])
def test_sigterm_ends_the_wait_in_a_sentence(index):
    code = (
        "import sys; from gcnet_tf.training.distributed.cluster import Cluster; "
        "from gcnet_tf.training.distributed.meeting import meet; "
        f"meet(Cluster({{'worker': {[free_address(), '10.0.0.1:1']!r}}}, 'worker', "
        f"{index}), 600)"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
    )
    assert f"Worker {index} of 2: joining" in process.stdout.readline()
    process.send_signal(signal.SIGTERM)
    out, _ = process.communicate(timeout=60)
    assert out == "\nStopped while waiting for other workers.\n"
    assert process.returncode == 128 + signal.SIGTERM

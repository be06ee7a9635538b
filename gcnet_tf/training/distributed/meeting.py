"""The meeting of the workers before TensorFlow connects them.

TensorFlow joins workers in one call, which says nothing, waits for an hour and keeps
signals from Python. So they meet before: the first worker listens at its address, all
others come there, and when the last one has come it lets all go on to TensorFlow.
"""

import re
import selectors
import signal
import socket
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from types import FrameType

from gcnet_tf.errors import UserError, some
from gcnet_tf.training.distributed.cluster import Cluster
from gcnet_tf.training.distributed.workers import WorkerLost

_GO, _WAIT, _OTHER_NUMBER = b"go\n", b"wait\n", b"other number\n"
# The first worker shows this often that it is there; who hears nothing for several
# times as long connects again, as to a machine that was switched off and on.
_SIGN_SECONDS, _SILENCE_SECONDS = 5.0, 20.0
# A stranger who connects and says nothing holds the others up for no longer.
_HELLO_SECONDS = 2.0
_PAUSE_SECONDS = 0.5
_LONGEST = 64


def meet(cluster: Cluster, seconds: float) -> None:
    """Waits until all workers are there, and says for whom.

    Args:
        cluster: the workers.
        seconds: time after which it gives up.

    Raises:
        WorkerLost: when somebody is not there in time.
        UserError: when the port of the first worker is in use, or the workers have
            different lists of each other.
        SystemExit: after SIGTERM.
    """
    if cluster.number == 1:
        return
    others = range(1, cluster.number) if cluster.index == 0 else [0]
    with _sigterm_stops():
        print(
            f"Worker {cluster.index} of {cluster.number}: joining; waits for "
            f"{_named(cluster, others)}, at most {seconds:g} s (train.join_timeout).",
            flush=True,
        )
        if cluster.index == 0:
            _wait_for_others(cluster, seconds)
        else:
            _wait_for_first(cluster, seconds)


def _wait_for_others(cluster: Cluster, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    with ExitStack() as connections:
        with _Door(cluster) as door:
            while missing := door.missing():
                if time.monotonic() > deadline:
                    raise _late(cluster, seconds, missing, "nobody has come")
                door.attend()
            present = door.leave()
        # The port is free again before anybody needs it for TensorFlow.
        for connection in present:
            connections.enter_context(connection)
        for connection in present:
            try:
                connection.sendall(_GO)
            except OSError:
                pass  # gone in this moment, which only TensorFlow can notice


class _Door:
    """The listening first worker, and connections to the workers that have come."""

    def __init__(self, cluster: Cluster):
        self._cluster = cluster
        self._present: dict[int, socket.socket] = {}
        self._signed = time.monotonic()
        self._selector = selectors.DefaultSelector()
        self._listener = _listener(cluster)
        self._selector.register(self._listener, selectors.EVENT_READ)

    def __enter__(self) -> "_Door":
        return self

    def __exit__(self, *error: object) -> None:
        for connection in self.leave():
            connection.close()

    def leave(self) -> list[socket.socket]:
        """Stops to listen; hands over the connections, which stay open."""
        self._selector.close()
        self._listener.close()
        present, self._present = list(self._present.values()), {}
        return present

    def missing(self) -> list[int]:
        """Returns the numbers of the workers that are not there."""
        return [i for i in range(1, self._cluster.number) if i not in self._present]

    def attend(self) -> None:
        """Lets workers in and notices who has left, for a moment."""
        for key, _ in self._selector.select(_PAUSE_SECONDS):
            if key.fileobj is self._listener:
                self._let_in()
            else:  # a worker says nothing after its hello: it has left
                self._forget(key.data)
        if time.monotonic() - self._signed > _SIGN_SECONDS:
            self._signed = time.monotonic()
            for index, connection in list(self._present.items()):
                try:
                    connection.sendall(_WAIT)
                except OSError:
                    self._forget(index)

    def _let_in(self) -> None:
        connection, _ = self._listener.accept()
        index = 0
        try:
            connection.settimeout(_HELLO_SECONDS)
            index, number = _numbers_in(connection.makefile("rb").readline(_LONGEST))
            if number not in (0, self._cluster.number):
                connection.sendall(_OTHER_NUMBER)
                index = 0
        except OSError:
            pass
        if not 0 < index < self._cluster.number:
            connection.close()
            return
        self._forget(index)  # the same worker, started again
        self._present[index] = connection
        self._selector.register(connection, selectors.EVENT_READ, index)

    def _forget(self, index: int) -> None:
        if connection := self._present.pop(index, None):
            self._selector.unregister(connection)
            connection.close()


def _wait_for_first(cluster: Cluster, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    reason = ""
    while (left := deadline - time.monotonic()) > 0:
        try:
            with socket.create_connection(_place(cluster, 0), left) as connection:
                reason = _go_or_reason(cluster, connection, deadline)
            if not reason:
                return
        except OSError as error:
            reason = f"not reached ({error.strerror or error})"
        time.sleep(min(_PAUSE_SECONDS, max(deadline - time.monotonic(), 0)))
    raise _late(cluster, seconds, [0], reason)


def _go_or_reason(cluster: Cluster, connection: socket.socket, deadline: float) -> str:
    """Waits at the first worker; returns "" to go on, or why it must connect again."""
    connection.sendall(_hello(cluster))
    lines = connection.makefile("rb")
    while (left := deadline - time.monotonic()) > 0:
        connection.settimeout(min(_SILENCE_SECONDS, left))
        line = lines.readline(_LONGEST)
        if line == _GO:
            return ""
        if line == _OTHER_NUMBER:
            raise UserError(
                f"Worker {cluster.index} was told of {cluster.number} workers, and "
                f"worker 0 at {cluster.addresses[0]} of another number. Give all the "
                "same list (TF_CONFIG), but for the index."
            )
        if line != _WAIT:
            return "another program answers" if line else "it was there, but has left"
    return "it is there, and waits for others"


def _hello(cluster: Cluster) -> bytes:
    return f"gcnet_tf worker {cluster.index} of {cluster.number}\n".encode()


def _numbers_in(hello: bytes) -> tuple[int, int]:
    """Returns index and number of workers in a hello; 0 and 0 in other bytes."""
    match = re.fullmatch(rb"gcnet_tf worker (\d+) of (\d+)\n", hello)
    return (int(match[1]), int(match[2])) if match else (0, 0)


def _listener(cluster: Cluster) -> socket.socket:
    _, port = _place(cluster, 0)
    try:
        if socket.has_dualstack_ipv6():
            family = socket.AF_INET6
            return socket.create_server(("", port), family=family, dualstack_ipv6=True)
        return socket.create_server(("", port))
    except OSError as error:
        raise UserError(
            f"Worker 0 cannot listen at its address {cluster.addresses[0]}: "
            f"{error.strerror or error}. End the program that uses the port, or give "
            "all workers another one (TF_CONFIG)."
        ) from error


def _place(cluster: Cluster, index: int) -> tuple[str, int]:
    host, _, port = cluster.addresses[index].rpartition(":")
    return host.removeprefix("[").removesuffix("]"), int(port)


def _named(cluster: Cluster, indices: Iterable[int]) -> str:
    """Names workers and their addresses; of many, the first ones."""
    texts = [f"worker {index} at {cluster.addresses[index]}" for index in indices]
    return some(texts)


def _late(
    cluster: Cluster, seconds: float, missing: Iterable[int], reason: str
) -> WorkerLost:
    return WorkerLost(
        f"Worker {cluster.index} has waited {seconds:g} s for "
        f"{_named(cluster, missing)}: {reason}. Start all workers within that time, "
        "and let each reach the others' ports; to wait longer: --set "
        "train.join_timeout=SECONDS."
    )


@contextmanager
def _sigterm_stops() -> Iterator[None]:
    """Ends the process in a sentence after SIGTERM, in the main thread."""

    def stop(signal_number: int, frame: FrameType | None) -> None:
        signal.signal(signal_number, before)
        print("\nStopped while waiting for other workers.", flush=True)
        raise SystemExit(128 + signal_number)

    try:
        before = signal.getsignal(signal.SIGTERM) or signal.SIG_DFL
        signal.signal(signal.SIGTERM, stop)
    except ValueError:  # not the main thread, which alone may set a handler
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)

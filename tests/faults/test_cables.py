"""Two hosts on one machine; the whole table is `make network`."""

import os
import socket
import subprocess
import sys

import pytest
from cables import CABLES, WHOLE, Site, survive

from benchmarks.network.hosts import ADDRESSES, Hosts, why_no_relay, why_not
from benchmarks.network.relay import Relay

NO_HOSTS, NO_RELAY = why_not(), why_no_relay()
needs_hosts = pytest.mark.skipif(bool(NO_HOSTS), reason=NO_HOSTS)
needs_relay = pytest.mark.skipif(bool(NO_RELAY), reason=NO_RELAY)


class Ends:
    """A relay between two sockets that keep packets apart."""

    def __init__(self):
        self.sockets = [
            socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM) for _ in range(2)
        ]
        (self.first, first), (self.second, second) = self.sockets
        for end in (self.first, self.second, first, second):
            end.setblocking(False)
        self.relay = Relay(first.fileno(), second.fileno())
        self.inner = first

    def send(self, packet):
        self.first.send(packet)
        self.relay.take(self.inner.fileno())

    def arrived(self):
        self.relay.give()
        packets = []
        while True:
            try:
                packets.append(self.second.recv(100))
            except BlockingIOError:
                return packets

    def close(self):
        for pair in self.sockets:
            for end in pair:
                end.close()


@pytest.fixture
def ends():
    ends = Ends()
    yield ends
    ends.close()


@pytest.fixture
def clock(monkeypatch):
    now = [100.0]
    monkeypatch.setattr("benchmarks.network.relay.time.monotonic", lambda: now[0])
    return now


def test_a_relay_holds_packets_up(ends, clock):
    ends.relay.obey("delay 0.5")
    assert ends.relay.patience() is None
    ends.send(b"a")
    clock[0] += 0.25
    ends.send(b"b")
    assert ends.relay.patience() == 0.25
    assert ends.arrived() == []
    clock[0] += 0.25
    assert ends.arrived() == [b"a"]
    clock[0] += 0.25
    assert ends.arrived() == [b"b"]


def test_a_relay_loses_packets(ends, clock):
    ends.relay.obey("loss 0.25")
    arrived = 0
    for _ in range(1000):
        ends.send(b"a")
        arrived += len(ends.arrived())
    assert 700 < arrived < 800


def test_a_cut_relay_swallows_packets_also_those_under_way(ends, clock):
    ends.relay.obey("delay 0.5")
    ends.send(b"under way")
    ends.relay.obey("cut")
    ends.send(b"during the cut")
    ends.relay.obey("mend")
    ends.send(b"after it")
    clock[0] += 1
    assert ends.arrived() == [b"after it"]


ECHO = f"""
import socket
with socket.create_server(({ADDRESSES[0]!r}, 999)) as listener:
    print("ready", flush=True)
    connection, _ = listener.accept()
    while data := connection.recv(100):
        connection.sendall(data)
"""
SPEAK = f"""
import socket, sys
connection = socket.create_connection(({ADDRESSES[0]!r}, 999), 60)
for line in sys.stdin:
    connection.sendall(line.encode())
    connection.settimeout(float(line))
    try:
        print(connection.recv(100).decode().split(), flush=True)
    except TimeoutError:
        print("nothing", flush=True)
"""


@pytest.mark.parametrize(
    "relayed",
    [pytest.param(False, marks=needs_hosts), pytest.param(True, marks=needs_relay)],
)
def test_a_cable_between_two_hosts_is_cut_and_mended(relayed):
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with Hosts(relayed) as hosts:
        first = hosts.start(0, [sys.executable, "-c", ECHO], **pipes)
        assert first.stdout.readline() == "ready\n"
        second = hosts.start(1, [sys.executable, "-c", SPEAK], **pipes)

        def say(line):
            second.stdin.write(f"{line}\n")
            second.stdin.flush()
            return second.stdout.readline().strip()

        assert say("60") == "['60']"
        hosts.cut()
        assert say("0.3") == "nothing"
        hosts.mend()
        assert "0.3" in say("60")  # TCP sends again what was lost
        for process in (first, second):
            process.kill()
            process.communicate()
        names = subprocess.run(["ip", "netns"], capture_output=True, text=True).stdout
        assert all(name in names for name in hosts.names)
    names = subprocess.run(["ip", "netns"], capture_output=True, text=True).stdout
    assert not any(name in names for name in hosts.names)


def test_who_may_not_make_hosts_is_told_why(monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert why_not() == why_no_relay() == "only root may make network namespaces"
    monkeypatch.setenv("PATH", "")
    assert why_not() == "ip (iproute2) is not installed"


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    site = Site(tmp_path_factory.mktemp("site"))
    assert survive(site, WHOLE, WHOLE.name).problem == ""
    return site


@pytest.mark.slow
@needs_hosts
def test_a_training_survives_a_cut(site):
    """One cable of all: the others take minutes, and are those of `make network`."""
    (cable,) = [cable for cable in CABLES if cable.name == "cut for good"]
    assert not cable.relayed
    assert survive(site, cable, "cut_for_good").problem == ""

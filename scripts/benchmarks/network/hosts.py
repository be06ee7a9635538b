"""Two hosts with a cable: namespaces joined by a veth pair, or by a relay."""

import json
import os
import shutil
import subprocess
import sys
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.workers import environment
from gcnet_tf.errors import UserError

ADDRESSES = ("10.77.0.1", "10.77.0.2")
_PORT = 2222


def why_not() -> str:
    """Says why this process cannot make hosts; "" where it can."""
    if shutil.which("ip") is None:
        return "ip (iproute2) is not installed"
    if os.geteuid() != 0:
        return "only root may make network namespaces"
    try:
        with Hosts():
            pass
    except UserError as error:
        return str(error)
    return ""


def why_no_relay() -> str:
    """Says why this process cannot delay packets; "" where it can."""
    if reason := why_not():
        return reason
    if not os.access("/dev/net/tun", os.R_OK | os.W_OK):
        return "there is no /dev/net/tun, through which packets are delayed"
    return ""


class Hosts:
    """Two network namespaces, a context that removes them and ends their processes.

    Attributes:
        delay: seconds that a packet takes one way; set by `set_delay`.
    """

    def __init__(self, relayed: bool = False):
        """Prepares; entering the context makes the namespaces.

        Args:
            relayed: joins them by `relay`, which can delay and lose packets, in place
                of a veth pair, which cannot.
        """
        tag = uuid.uuid4().hex[:6]
        self.names = tuple(f"gcnet-{tag}-{index}" for index in range(2))
        self._devices = tuple(f"gc{tag}{index}" for index in range(2))
        self._relayed = relayed
        self._relay: subprocess.Popen[str] | None = None
        self._processes: list[subprocess.Popen] = []

    def __enter__(self) -> "Hosts":
        try:
            for name in self.names:
                _ip("netns", "add", name)
                _ip("-n", name, "link", "set", "lo", "up")
            self._lay_cable()
            for name, device, own in zip(self.names, self._devices, ADDRESSES):
                _ip("link", "set", device, "netns", name)
                _ip("-n", name, "address", "add", f"{own}/24", "dev", device)
                _ip("-n", name, "link", "set", device, "up")
        except BaseException:
            self.__exit__()
            raise
        return self

    def _lay_cable(self) -> None:
        first, second = self._devices
        if not self._relayed:
            _ip("link", "add", first, "type", "veth", "peer", "name", second)
            return
        self._relay = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.network.relay", first, second],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            env=environment(),
        )
        assert self._relay.stdout
        if self._relay.stdout.readline() != "ready\n":
            raise UserError("The relay between the hosts could not start; see above.")
        for device in self._devices:
            # As many packets as one round of a relay on a busy machine may find.
            _ip("link", "set", device, "txqueuelen", "10000")

    def __exit__(self, *error: object) -> None:
        for process in self._processes:
            if process.poll() is None:
                process.kill()
            process.wait()
        if self._relay:
            self._relay.kill()
            self._relay.communicate()
        for name in self.names:
            # With the namespace goes its end of the cable, and so the other end.
            subprocess.run(["ip", "netns", "delete", name], capture_output=True)

    def cut(self) -> None:
        """Cuts the cable: a veth pair loses its carrier, a relay swallows packets."""
        if self._relay:
            self._tell("cut")
        else:
            _ip("-n", self.names[1], "link", "set", self._devices[1], "down")

    def mend(self) -> None:
        """Undoes `cut`."""
        if self._relay:
            self._tell("mend")
        else:
            _ip("-n", self.names[1], "link", "set", self._devices[1], "up")

    def set_delay(self, seconds: float) -> None:
        """Lets each packet take so long, one way."""
        self._tell(f"delay {seconds}")

    def set_loss(self, share: float) -> None:
        """Loses this share of the packets, each way."""
        self._tell(f"loss {share}")

    def _tell(self, line: str) -> None:
        assert self._relay and self._relay.stdin and self._relay.stdout
        self._relay.stdin.write(f"{line}\n")
        self._relay.stdin.flush()
        self._relay.stdout.readline()

    def start(
        self, index: int, command: Sequence[object], **options: Any
    ) -> subprocess.Popen:
        """Starts a command on a host, as the worker of that number.

        Args:
            index: number of the host, 0 or 1.
            command: the command and its arguments.
            options: options of `subprocess.Popen`; `env` is added to the variables.
        """
        more: Mapping[str, str] = options.pop("env", {})
        variables = {
            **environment(),
            "TF_CONFIG": tf_config(index),
            # Workers cannot share a GPU.
            "CUDA_VISIBLE_DEVICES": "-1",
            "PYTHONUNBUFFERED": "1",
            **more,
        }
        words = ["ip", "netns", "exec", self.names[index], *map(str, command)]
        process = subprocess.Popen(words, env=variables, **options)
        self._processes.append(process)
        return process


def tf_config(index: int) -> str:
    """Returns the TF_CONFIG of the worker on a host."""
    workers = [f"{address}:{_PORT}" for address in ADDRESSES]
    task = {"type": "worker", "index": index}
    return json.dumps({"cluster": {"worker": workers}, "task": task})


def _ip(*words: str) -> None:
    result = subprocess.run(
        ["ip", *words], capture_output=True, text=True, encoding="utf-8"
    )
    if result.returncode:
        raise UserError(
            f"ip {' '.join(words)}: {' '.join(result.stderr.split())}. Two hosts need "
            "root, with the right to make network namespaces."
        )

"""A cable between two network devices, which delays and loses packets and can be cut.

python -m benchmarks.network.relay FIRST SECOND

It makes the TUN devices FIRST and SECOND and says "ready"; whoever starts it moves them
into their namespaces. Then it obeys lines: "delay SECONDS" and "loss SHARE" (of each
packet, one way), "cut" and "mend". Each line is answered by "ok". Kernels have
`tc … netem` for this, but as a module that many lack.
"""

import fcntl
import os
import random
import select
import struct
import sys
import time
from collections import deque

_TUNSETIFF = 0x400454CA
_IFF_TUN, _IFF_NO_PI = 0x0001, 0x1000
_LONGEST_PACKET = 2**16
# Packets that are read before those that are due are sent.
_AT_ONCE = 64


def open_device(name: str) -> int:
    """Makes a TUN device, which carries bare IP packets; returns its descriptor."""
    descriptor = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    request = struct.pack("16sH22x", name.encode(), _IFF_TUN | _IFF_NO_PI)
    fcntl.ioctl(descriptor, _TUNSETIFF, request)
    return descriptor


class Relay:
    """Packets on their way between two descriptors."""

    def __init__(self, first: int, second: int, seed: int = 0):
        self.delay, self.loss, self.is_cut = 0.0, 0.0, False
        self._other = {first: second, second: first}
        self._random = random.Random(seed)
        # (due time, descriptor, packet), in the order of the times.
        self._under_way: deque[tuple[float, int, bytes]] = deque()

    def obey(self, line: str) -> None:
        """Changes the cable; see the module."""
        name, *value = line.split()
        if name in ("delay", "loss"):
            setattr(self, name, float(value[0]))
        else:
            self.is_cut = name == "cut"
            self._under_way.clear()

    def patience(self) -> float | None:
        """Returns the seconds until a packet is due; None without packets."""
        if not self._under_way:
            return None
        return max(self._under_way[0][0] - time.monotonic(), 0.0)

    def take(self, descriptor: int) -> None:
        """Reads what has arrived at one end."""
        for _ in range(_AT_ONCE):
            try:
                packet = os.read(descriptor, _LONGEST_PACKET)
            except BlockingIOError:
                return
            if self.is_cut or self.loss and self._random.random() < self.loss:
                continue
            due = time.monotonic() + self.delay
            self._under_way.append((due, self._other[descriptor], packet))

    def give(self) -> None:
        """Sends what is due."""
        while self._under_way and self._under_way[0][0] <= time.monotonic():
            _, descriptor, packet = self._under_way.popleft()
            try:
                os.write(descriptor, packet)
            except OSError:
                pass  # a device that is not up, or a full queue: the packet is lost


def main() -> None:
    descriptors = [open_device(name) for name in sys.argv[1:3]]
    relay = Relay(*descriptors)
    print("ready", flush=True)
    while True:
        readable, _, _ = select.select([0, *descriptors], [], [], relay.patience())
        for descriptor in descriptors:
            if descriptor in readable:
                relay.take(descriptor)
        relay.give()
        if 0 in readable:
            lines = os.read(0, _LONGEST_PACKET).decode().splitlines()
            if not lines:
                return  # whoever started it has ended
            for line in lines:
                relay.obey(line)
                print("ok", flush=True)


if __name__ == "__main__":
    main()

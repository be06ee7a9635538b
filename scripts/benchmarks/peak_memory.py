"""How much memory a computation takes, to the byte, from TensorFlow's own profiler.

The processor's memory is counted where it is asked for: every tensor and every scratch
buffer of a kernel, as large as it was asked to be. What the process takes from the
system is coarser: the allocator keeps what it once had, and rounds up to a power of 2.
"""

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

# All of the allocations must be seen, small ones as well: set before TensorFlow starts.
ENVIRONMENT = {"TF_CPU_ALLOCATOR_USE_BFC": "true"}


class Event(NamedTuple):
    """Memory that is given or taken back."""

    time: int
    """Picoseconds."""
    size: int
    """Bytes; 0 when it is taken back."""
    address: int


def peak_bytes(function: Callable[[], Any]) -> int:
    """The most memory that a call has at a time, beside what it returns.

    The inputs are there before, and so do not count either. The function is called
    twice, because the first call does more than later ones.

    Args:
        function: gives a structure of tensors, each with memory of its own.

    Raises:
        RuntimeError: when the profiler has not seen all of the memory, for instance
            because `ENVIRONMENT` was not set.
    """
    import tensorflow as tf

    assert ENVIRONMENT.items() <= os.environ.items(), "set it before TensorFlow starts"
    function()
    with tempfile.TemporaryDirectory() as folder:
        tf.profiler.experimental.start(folder)
        try:
            results = function()
        finally:
            tf.profiler.experimental.stop()
        (file,) = Path(folder).rglob("*.xplane.pb")
        events = _read(file)
    returned = sum(
        tensor.dtype.size * tensor.shape.num_elements()
        for tensor in tf.nest.flatten(results)
    )
    return _peak(events, returned)


def _read(file: Path) -> list[Event]:
    """The allocations in a profile, in the order of time."""
    from tensorflow.tsl.profiler.protobuf import xplane_pb2

    space = xplane_pb2.XSpace.FromString(file.read_bytes())
    events = []
    for plane in space.planes:
        names = {number: data.name for number, data in plane.event_metadata.items()}
        fields = {number: data.name for number, data in plane.stat_metadata.items()}
        for line in plane.lines:
            for event in line.events:
                if not names[event.metadata_id].startswith("Memory"):
                    continue
                found = {
                    fields[stat.metadata_id]: stat.int64_value or stat.uint64_value
                    for stat in event.stats
                }
                given = names[event.metadata_id] == "MemoryAllocation"
                size = found["requested_bytes"] if given else 0
                time = 1000 * line.timestamp_ns + event.offset_ps
                events.append(Event(time, size, found["addr"]))
    return sorted(events)


def _peak(events: list[Event], returned: int) -> int:
    """The most bytes at a time that are taken back in the end.

    What is there at the end are the results; they do not count at any time.
    """
    last: dict[int, Event] = {}
    for event in events:
        last[event.address] = event
    results = {event for event in last.values() if event.size}
    if not returned <= sum(event.size for event in results) <= 1.01 * returned + 1024:
        raise RuntimeError(
            f"The profiler has seen {sum(event.size for event in results):,} bytes "
            f"that stay, and {returned:,} are returned."
        )
    live: dict[int, int] = {}
    total = peak = 0
    for event in events:
        total -= live.pop(event.address, 0)
        if event.size and event not in results:
            live[event.address] = event.size
            total += event.size
            peak = max(peak, total)
    return peak

"""Peak memory of a computation, to the byte, from TensorFlow's own profiler.

The processor's memory is counted where it is asked for: every tensor and every scratch
buffer of a kernel, with the size that was asked for. The memory that the process takes
from the system is coarser: the allocator keeps what it once had, and rounds up to a
power of 2.
"""

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

# With this allocator the profiler sees all allocations, small ones as well. To be set
# before TensorFlow starts.
ENVIRONMENT = {"TF_CPU_ALLOCATOR_USE_BFC": "true"}


class Event(NamedTuple):
    """An allocation, or its end."""

    time: int
    """Time of the event, in picoseconds."""
    size: int
    """Bytes; 0 when the memory is freed."""
    address: int


def peak_bytes(function: Callable[[], Any]) -> int:
    """Measures the peak memory of a call in bytes, without the results.

    The inputs exist before the call and do not count either. The function is called
    twice, because the first call does more than later ones.

    Args:
        function: returns a structure of tensors, each with memory of its own.

    Raises:
        RuntimeError: when the profiler has not seen all memory, for instance
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
    """Reads the allocations from a profile, in the order of time."""
    from tensorflow.tsl.profiler.protobuf import xplane_pb2

    space = xplane_pb2.XSpace.FromString(file.read_bytes())
    events = []
    for plane in space.planes:
        names = {id: data.name for id, data in plane.event_metadata.items()}
        fields = {id: data.name for id, data in plane.stat_metadata.items()}
        for line in plane.lines:
            for event in line.events:
                if not names[event.metadata_id].startswith("Memory"):
                    continue
                values = {
                    fields[stat.metadata_id]: stat.int64_value or stat.uint64_value
                    for stat in event.stats
                }
                allocates = names[event.metadata_id] == "MemoryAllocation"
                size = values["requested_bytes"] if allocates else 0
                time = 1000 * line.timestamp_ns + event.offset_ps
                events.append(Event(time, size, values["addr"]))
    return sorted(events)


def _peak(events: list[Event], returned: int) -> int:
    """Returns the largest number of bytes in use, of memory that is freed in the end.

    Memory that is not freed in the end holds the results, which never count.

    Args:
        events: allocations in the order of time.
        returned: bytes of the results, to check that the profiler has seen them.
    """
    last_events = {event.address: event for event in events}
    results = {event for event in last_events.values() if event.size}
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

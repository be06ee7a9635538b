"""How many processor cores there are to share out."""

import os


def num_cores() -> int:
    """The cores that this process may use, fewer than the machine's in a container."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1

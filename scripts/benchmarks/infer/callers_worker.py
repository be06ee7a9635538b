"""Worker that runs an exported file for several threads at once.

    python -m benchmarks.infer.callers_worker WAY FILE HEIGHT WIDTH THREADS CALLERS

WAY is "shared": the callers share one opened file, which uses THREADS threads; or
"own": each has opened the file for itself, with one thread. See
`turns.serve_candidate` for the streams; a run infers one image for each caller.
"""

import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np

from benchmarks.infer.worker import INTERPRETERS
from benchmarks.turns import serve_candidate
from gcnet_tf.runtime.backends import format_of, open_backend
from gcnet_tf.runtime.manifest import read_manifest


def open_for(
    way: str, path: Path, size: tuple[int, int], threads: int, callers: int
) -> Callable[[], object]:
    """Returns the function that infers one image for each caller at the same time."""
    manifest = read_manifest(path)
    if way == "own":
        backends = [open_backend(path, manifest, 1) for _ in range(callers)]
    else:
        backends = [open_backend(path, manifest, threads)] * callers
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 256, (1, *size, 3), np.uint8) for _ in range(callers)]
    pool = ThreadPoolExecutor(callers)

    def run() -> object:
        return list(
            pool.map(lambda backend, image: backend.run(image), backends, images)
        )

    return run


def main() -> None:
    way, path = sys.argv[1], Path(sys.argv[2])
    height, width, threads, callers = map(int, sys.argv[3:])
    serve_candidate(
        INTERPRETERS[str(format_of(path))],
        partial(open_for, way, path, (height, width), threads, callers),
        batch=callers,
    )


if __name__ == "__main__":
    main()

"""Work on many items by a few threads, in order and in bounded memory."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

from gcnet_tf.processor import num_cores

# Items that wait or are finished, for each thread. `Executor.map` submits all at once,
# which takes 1,600 bytes for each, and keeps results until they are fetched.
_AHEAD = 4


@contextmanager
def threads(
    number: int | None = None,
) -> Iterator[Callable[[Callable, Iterable], Iterator[Any]]]:
    """Provides a `map` over threads, which takes only a few items ahead.

    At the end, after an error and after Ctrl-C, waiting items are dropped and running
    ones end. Reading files, decoding and hashing release the interpreter's lock, so
    that threads can share such work.

    Args:
        number: number of threads; None for one per core.
    """
    number = number or num_cores()
    pool = ThreadPoolExecutor(number)

    def in_order(function: Callable, items: Iterable) -> Iterator[Any]:
        waiting: deque[Future] = deque()
        for item in items:
            waiting.append(pool.submit(function, item))
            if len(waiting) >= _AHEAD * number:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()

    try:
        yield in_order
    finally:
        pool.shutdown(cancel_futures=True)

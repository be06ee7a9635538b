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
    most: int | None = None,
    size_of: Callable[[Any], int] = lambda item: 0,
    most_bytes: int = 0,
) -> Iterator[Callable[[Callable, Iterable], Iterator[Any]]]:
    """Provides a `map` over threads, which takes only a few items ahead.

    At the end, after an error and after Ctrl-C, waiting items are dropped and running
    ones end. Reading files, decoding and hashing release the interpreter's lock, so
    that threads can share such work.

    Args:
        number: number of threads; None for one per core.
        most: limit on the items that are worked on or wait; None for four a thread.
        size_of: bytes that the result of an item takes.
        most_bytes: limit on the bytes of all results that are worked on or wait; a
            single one may be larger.
    """
    number = number or num_cores()
    most = most or _AHEAD * number
    pool = ThreadPoolExecutor(number)

    def in_order(function: Callable, items: Iterable) -> Iterator[Any]:
        waiting: deque[tuple[int, Future]] = deque()
        for item in items:
            size = size_of(item)
            while waiting and (
                len(waiting) == most
                or sum(other for other, _ in waiting) + size > most_bytes
            ):
                yield waiting.popleft()[1].result()
            waiting.append((size, pool.submit(function, item)))
        while waiting:
            yield waiting.popleft()[1].result()

    try:
        yield in_order
    finally:
        pool.shutdown(cancel_futures=True)


@contextmanager
def side_by_side(
    number: int,
) -> Iterator[Callable[[Callable, Iterable], Iterator[Any]]]:
    """Provides a `map` that makes so many calls at once; its results are in order.

    One result more may wait, so that no device does while the caller takes another.
    """
    if number == 1:
        yield map
        return
    with threads(number, most=number + 1) as in_order:
        yield in_order

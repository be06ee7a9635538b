"""Threads work in order, take few items ahead, and stop at an error."""

import itertools
import threading

import pytest

from gcnet_tf.data.records.threads import threads


def test_results_come_in_order_and_few_items_are_taken_ahead():
    """A list of all results and tasks would not fit for millions of items."""
    taken = itertools.count()
    with threads(2) as in_order:
        squares = in_order(lambda number: number * number, (next(taken) for _ in "a"))
        assert list(squares) == [0]
        # An endless stream: whoever takes all items first never returns.
        squares = in_order(lambda number: number * number, taken)
        for index in range(1, 1000):
            assert next(squares) == index * index
        assert next(taken) < 1000 + 20


def test_items_behind_an_error_are_not_begun():
    begun, go = [], threading.Event()

    def work(number):
        begun.append(number)
        go.wait(5)
        if number == 0:
            raise KeyError(number)

    with pytest.raises(KeyError):
        with threads(1) as in_order:
            results = in_order(work, range(100))
            threading.Timer(0.05, go.set).start()
            next(results)
    assert len(begun) < 10

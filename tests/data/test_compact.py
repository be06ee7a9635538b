"""Packed rows, sets and views hold what plain tuples, sets and lists hold."""

import hashlib
import os
import random

import numpy as np
import pytest

from gcnet_tf.data import compact
from gcnet_tf.data.compact import Names, Rows, View, hashes, in_order

ODD = [
    os.fsdecode(b"t\xe9"),
    "e\u0301",
    "\u00e9",
    "\U0001f600",
    "a\nb",
    "",
    "a/b",
    "a-b",
]


def texts(number: int) -> list[str]:
    rng = random.Random(number)
    return [f"{rng.choice(ODD)}{rng.randrange(number)}" for _ in range(number)]


@pytest.mark.parametrize("number", [0, 1, 63, 64, 65, 1000])
def test_rows_are_read_in_every_way(number):
    rows = [(text, text[::-1], "") for text in texts(number)]
    packed = Rows(rows)
    assert list(packed) == rows and len(packed) == number
    assert bool(packed) == bool(rows)
    order = random.Random(0).sample(range(number), number)
    assert [packed[index] for index in order] == [rows[index] for index in order]
    assert [packed[-1 - index] for index in order] == [rows[-1 - i] for i in order]
    assert list(packed[2:70:3]) == rows[2:70:3]
    with pytest.raises(IndexError):
        packed[number]


@pytest.mark.parametrize("number", [0, 7, 8, 100, 1000])
def test_rows_are_sorted_by_parts_as_python_sorts_them(number, monkeypatch):
    monkeypatch.setattr(compact, "_RUN", 8)
    rows = [(text, str(index)) for index, text in enumerate(texts(number))]
    assert list(in_order(iter(rows))) == sorted(rows)


@pytest.mark.parametrize("number", [0, 1, 64, 200, 1000])
def test_names_are_a_set_in_order(number):
    names = texts(number)
    packed = Names(names)
    assert packed == set(names) and list(packed) == sorted(set(names))
    assert all(name in packed for name in names)
    assert not any(f"{name}." in packed for name in names) and 1 not in packed


def test_a_view_makes_items_in_an_order():
    items = list(range(100))
    order = np.random.RandomState(0).permutation(100)[:50]
    view = View(items, str, order)
    expected = [str(index) for index in order]
    assert list(view) == expected and view[-1] == expected[-1]
    assert list(view[5::7]) == expected[5::7] and list(view[::-1]) == expected[::-1]
    both = view[:3] + View(items) + [1, 2]
    assert list(both) == [*expected[:3], *items, 1, 2] and len(both) == 105
    assert [both[i] for i in (0, 2, 3, 102, 103, -1)] == [*expected[0:3:2], 0, 99, 1, 2]
    assert list(both[2:5]) == [expected[2], 0, 1]


def test_hashes_order_texts_as_whole_digests_do():
    names = list(set(texts(5000)))

    def digest(name):
        return hashlib.sha256(name.encode("utf-8", "surrogateescape")).digest()

    mixed = np.argsort(hashes(names), kind="stable")
    assert [names[index] for index in mixed] == sorted(names, key=digest)

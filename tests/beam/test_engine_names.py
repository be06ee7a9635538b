"""The order and the packets of pairs, for which Beam need not be installed."""

import sys
from itertools import chain
from operator import itemgetter

import pytest
from helpers import CLASSES, call_script

from gcnet_tf.beam.names import group_bits, grouped, packed, unpacked, write_pairs
from gcnet_tf.data.catalog import dataset_facts
from gcnet_tf.data.records import shards
from gcnet_tf.data.sources.pairs import Pair
from gcnet_tf.errors import UserError

FACTS = [dataset_facts("folder", CLASSES), dataset_facts("folder", CLASSES[:2])]


def make_pairs(folder, number):
    """Pairs of two kinds of facts and of none; names may be any bytes."""
    image = folder / "image.jpg"
    image.write_bytes(b"1")
    facts = [*FACTS, None]
    return [
        Pair(f"sub\udce9/{i * 7919 % number}", image, image, facts[i % 3])
        for i in range(number)
    ]


@pytest.mark.parametrize("number", [1, 9000])
def test_the_order_is_that_of_the_local_conversion(tmp_path, number):
    pairs = make_pairs(tmp_path, number)
    files, facts = write_pairs(pairs, tmp_path / "pairs")
    bits = group_bits(number)
    groups = {}
    for file in files:
        for group, rows in grouped(file, bits).items():
            groups.setdefault(group, []).extend(unpacked(packed(rows)))
    assert max(groups) < 2**bits
    in_groups = (sorted(groups[group], key=itemgetter(0)) for group in sorted(groups))
    ordered = [row.pair(facts) for _, row in chain.from_iterable(in_groups)]
    # A single shard has all pairs in order.
    dealt = shards._deal_out(pairs, 2**40)
    expected = [dealt[i % len(dealt)][i // len(dealt)] for i in range(number)]
    assert ordered == expected
    # The fingerprint of a shard tells facts apart by their identity.
    assert {id(pair.facts) for pair in ordered} == {id(pair.facts) for pair in pairs}


@pytest.mark.parametrize(
    "number, bits", [(1, 4), (2**20 - 1, 4), (2**20, 5), (10**9, 14), (10**12, 16)]
)
def test_groups_fit_the_memory(number, bits):
    assert group_bits(number) == bits


def test_files_of_pairs_take_few_bytes(tmp_path):
    pairs = make_pairs(tmp_path, 9000)
    files, _ = write_pairs(pairs, tmp_path / "pairs")
    assert len(files) == 3
    assert sum(map(len, map(str.encode, files))) < 10_000


def test_without_beam_one_sentence_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "apache_beam", None)
    arguments = ["--cfg", "shapes_r18", "--runner", "DirectRunner"]
    with pytest.raises(UserError, match=r"needs Apache Beam, which .*'gcnet_tf\[beam"):
        call_script("make_tfrecords", *arguments)


@pytest.mark.parametrize("script", ["make_tfrecords", "predict"])
def test_without_a_runner_options_of_beam_are_unknown(script, capsys):
    known = {
        "make_tfrecords": ["--cfg", "shapes_r18"],
        "predict": ["--model", "x", "--image", "y", "--out", "z"],
    }
    with pytest.raises(SystemExit):
        call_script(script, *known[script], "--direct_num_workers", "2")
    assert "unrecognized arguments: --direct_num_workers 2" in capsys.readouterr().err

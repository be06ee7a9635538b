"""Order, shares and fingerprints are those of plain lists of all pairs in memory."""

import dataclasses
import hashlib
import json
import os
import random
import unicodedata
from collections import defaultdict
from pathlib import PurePosixPath

import pytest
from helpers import CLASSES, make_folder_tree

from gcnet_tf.data.catalog import dataset_facts, remapped
from gcnet_tf.data.records.finished import fingerprint
from gcnet_tf.data.records.shards import _deal_out
from gcnet_tf.data.sources.folders import find_pairs
from gcnet_tf.data.sources.share import names_of_share

FACTS = dataset_facts("folder", CLASSES)
ODD = os.fsdecode(b"t\xe9 ")
DECOMPOSED = unicodedata.normalize("NFD", "é")


def digest(name: str) -> bytes:
    return hashlib.sha256(name.encode("utf-8", "surrogateescape")).digest()


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    """Pairs of odd names, in sub-folders, and behind a link; two kinds of facts."""
    root = make_folder_tree(tmp_path_factory.mktemp("odd"), num_train=30)
    for kind in ("images", "labels"):
        folder = root / "train" / kind
        for place in ("a-b", "a"):
            (folder / place).mkdir()
        for index, path in enumerate(sorted(folder.glob("*.*"))):
            prefix = ("", ODD, DECOMPOSED, "a/", "a-b/")[index % 5]
            path.rename(folder / f"{prefix}{path.name}")
        (folder / "a").rename(root / f"other_{kind}")
        (folder / "a").symlink_to(root / f"other_{kind}")
    found = find_pairs("folder", root, "train")
    assert len(found) == 30 and any(ODD in pair.name for pair in found)
    other = remapped(FACTS, [(2, 1)], "")
    return [
        dataclasses.replace(pair, facts=other if index % 3 == 0 else None)
        for index, pair in enumerate(found)
    ]


def test_pairs_are_in_the_order_of_their_names(pairs):
    names = [pair.name for pair in pairs]
    assert names == sorted(names) and "a-b/train_004" in names
    assert names == [unicodedata.normalize("NFC", name) for name in names]


def test_a_fingerprint_is_the_hash_of_one_json_text(pairs):
    facts_of = [pair.facts or FACTS for pair in pairs]
    kinds = list({id(facts): facts for facts in facts_of}.values())
    sources = [
        [
            pair.name,
            [[p.name, p.stat().st_size, p.stat().st_mtime_ns] for p in pair.files],
            kinds.index(facts),
        ]
        for pair, facts in zip(pairs, facts_of, strict=True)
    ]
    readings = [[kind.classes, kind.id_map, kind.label_colours] for kind in kinds]
    text = json.dumps([2, readings, sources])
    assert fingerprint(pairs, FACTS) == hashlib.sha256(text.encode()).hexdigest()


def test_shards_are_dealt_from_the_order_of_hashes(pairs):
    mixed = sorted(pairs, key=lambda pair: digest(pair.name))
    shards = _deal_out(pairs, 2**30)
    assert [list(shard) for shard in shards] == [mixed[first::8] for first in range(8)]


def reference_share(names, split, share):
    """Divides names as the first version did, by sets and dictionaries."""
    folder_of = {name: str(PurePosixPath(name).parent) for name in names}
    groups = defaultdict(list)
    for name, folder in folder_of.items():
        is_alone = folder == "." or len(set(folder_of.values())) == 1
        groups[name if is_alone else folder].append(name)
    mixed = sorted(groups, key=digest)
    num_val, num_names = 0, 0
    for group in mixed:
        num_names += len(groups[group])
        if num_names > round(share * len(names)):
            break
        num_val += 1
    if 0 < share < 1:
        num_val = min(max(num_val, 1), len(mixed) - 1)
    chosen = mixed[:num_val] if split == "val" else mixed[num_val:]
    return {name for group in chosen for name in groups[group]}


@pytest.mark.parametrize("num_folders", [1, 2, 30])
@pytest.mark.parametrize("share", [0.01, 0.2, 0.9, 1.0])
def test_shares_are_those_of_whole_groups(num_folders, share):
    rng = random.Random(num_folders)
    names = {f"s{rng.randrange(num_folders)}/{ODD}{i}" for i in range(200)}
    if num_folders == 30:
        names |= {f"{i}" for i in range(50)}
    for split in ("val",) if share == 1 else ("train", "val"):
        expected = reference_share(names, split, share)
        assert names_of_share(names, split, share, None) == expected

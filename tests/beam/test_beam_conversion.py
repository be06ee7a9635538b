"""Conversion by engines of Beam: the files of the local one, bit for bit."""

import json
import os
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from export_trees import make_coco
from helpers import (
    CLASSES,
    call_script,
    make_cityscapes_tree,
    make_folder_config,
    save_image,
)

from gcnet_tf.data.catalog import dataset_facts
from gcnet_tf.data.records import shards
from gcnet_tf.data.records.finished import NOTE, write_records
from gcnet_tf.data.sources.folders import find_pairs
from gcnet_tf.errors import UserError

# Beam's programs warn of one another.
pytestmark = pytest.mark.filterwarnings("default")
HERE = Path(__file__).parent


@pytest.fixture
def config(tmp_path):
    """Path of a configuration of a folder data set with 40 and 2 images."""
    return make_folder_config(tmp_path / "config.json", num_train=40)


def convert(config, records, *words):
    call_script(
        "make_tfrecords", "--cfg", config, "--set", f"data.records={records}", *words
    )


def contents(folder):
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder): path.read_bytes() for path in paths}


def test_an_engine_writes_the_files_of_the_local_conversion(engine, config, tmp_path):
    convert(config, tmp_path / "local")
    program = [sys.executable, HERE.parents[1] / "scripts" / "make_tfrecords.py"]
    records = f"data.records={tmp_path / 'records'}"
    command = [*program, "--cfg", config, "--set", records, *engine]
    ended = subprocess.run(command, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    assert "train: 40 images in 8 files\n" in ended.stdout
    # Every file, and so names, order and checksums of the samples, and the manifest.
    assert contents(tmp_path / "records") == contents(tmp_path / "local")
    assert len(contents(tmp_path / "local")) == 12


@pytest.mark.parametrize("kind", ["cityscapes", "coco"])
def test_other_kinds_of_labels(kind, direct, tmp_path):
    """Labels of two kinds of ids, and labels that are drawn."""
    root = tmp_path / "source"
    if kind == "coco":
        make_coco(root)
        data = {"classes": ["background", "cat", "dog"]}
    else:
        make_cityscapes_tree(root)
        data = {"allow_partial": True}
    data |= {"dataset": kind, "root": str(root), "records": "unused"}
    config = tmp_path / "config.json"
    config.write_text(json.dumps({"data": data}))
    convert(config, tmp_path / "local")
    convert(config, tmp_path / "records", *direct)
    assert contents(tmp_path / "records") == contents(tmp_path / "local")


def test_the_number_of_shards_follows_the_bytes(direct, config, tmp_path):
    from gcnet_tf.beam.convert import conversion_by
    from gcnet_tf.beam.engine import Engine

    pairs = find_pairs("folder", tmp_path / "source", "train")
    facts = dataset_facts("folder", CLASSES)
    write = partial(
        write_records, pairs, split="train", facts=facts, shard_bytes=2000, limit=30
    )
    local = write(directory=tmp_path / "local", progress=False)
    convert = conversion_by(Engine("DirectRunner", ()))
    assert write(directory=tmp_path / "records", convert=convert) == local
    assert len(local.shards) > shards.shards_of(30, 0, 2000)
    assert contents(tmp_path / "records") == contents(tmp_path / "local")


def test_a_bad_label_ends_as_locally_and_the_rest_is_kept(direct, config, tmp_path):
    label = tmp_path / "source" / "train" / "labels" / "train_007.png"
    good = label.read_bytes()
    save_image(label, np.full((24, 32), 9, np.uint8))
    with pytest.raises(UserError) as local:
        convert(config, tmp_path / "local")
    records = tmp_path / "records"
    with pytest.raises(UserError) as by_engine:
        convert(config, records, *direct)
    assert str(by_engine.value) == str(local.value)
    assert "holds the value 9; allowed are 0..2" in str(local.value)
    assert not list(records.glob("*/manifest.json"))

    done = sorted((records / "train").glob("*.tfrecord"))
    assert len(done) == 7 == len(list((records / "train").glob(f"*{NOTE}")))
    before = [path.stat().st_ino for path in done]
    label.write_bytes(good)
    # What a killed process has left goes.
    left = records / "train" / "partial-beam-left" / "pairs"
    left.mkdir(parents=True)
    convert(config, records, *direct)
    assert [path.stat().st_ino for path in done] == before
    assert not left.exists()
    convert(config, tmp_path / "local")
    names = contents(tmp_path / "local").keys()
    assert contents(records).keys() == names


def test_several_bad_files_are_counted(direct, config, tmp_path):
    for path in (tmp_path / "source" / "train" / "labels").iterdir():
        path.write_bytes(b"no label")
    with pytest.raises(UserError, match="There are bad files in 7 more shard"):
        convert(config, tmp_path / "records", *direct)


@pytest.mark.parametrize(
    "words, message",
    [
        ("--runner Nonsense", "received Nonsense; allowed are .*DirectRunner.*class"),
        ("--runner no.such.Runner", "no.such.Runner is not installed here"),
        ("--runner DirectRunner --nonsense 3", "--nonsense: neither this command nor"),
        ("--runner DirectRunner --direct_num_workers x", "refuses.*invalid int value"),
        (
            "--runner DirectRunner --direct_running_mode y",
            "refuses its options: .*invalid choice: 'y'",
        ),
        ("--runner DataflowRunner", "DataflowRunner gave up: .*region"),
        (
            "--runner DaskRunner --dask_connection_timeout 1 "
            "--dask_client_address tcp://127.0.0.1:1",
            "DaskRunner gave up: .*tcp://127.0.0.1:1",
        ),
    ],
)
def test_bad_engines_end_in_one_sentence(has_beam, config, tmp_path, words, message):
    with pytest.raises(UserError, match=message) as error:
        convert(config, tmp_path / "records", *words.split())
    assert "\n" not in str(error.value)
    assert not list(tmp_path.glob("records/*/*"))


def test_threads_are_not_for_engines(direct, config, tmp_path, capsys):
    with pytest.raises(SystemExit):
        convert(config, tmp_path / "records", *direct, "--workers", 2)
    assert "--workers is for threads" in capsys.readouterr().err


@pytest.mark.slow
def test_a_million_names_fit_the_memory(has_beam, tmp_path):
    command = [sys.executable, HERE / "many_names.py", tmp_path, "1000000"]
    paths = os.pathsep.join([str(HERE.parent), str(HERE.parents[1])])
    environment = {**os.environ, "PYTHONPATH": paths}
    ended = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert ended.returncode == 0, ended.stderr
    found = json.loads(ended.stdout)
    assert found["num_samples"] == 1_000_000
    assert found["SELF"] < 1e9 and found["CHILDREN"] < 1.5e9

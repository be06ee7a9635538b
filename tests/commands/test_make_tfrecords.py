"""scripts/make_tfrecords.py, run as a user does: bad labels, kill -9, success."""

import signal
import time

import numpy as np
import pytest
from helpers import (
    call_script,
    exit_code,
    make_folder_config,
    make_voc_tree,
    save_image,
)

from gcnet_tf.commands import make_tfrecords
from gcnet_tf.data.records.shards import read_manifest
from gcnet_tf.errors import UserError

# Runs the script with an encoder that hangs at the 13th sample, in the middle of a
# shard, where the run is killed.
HANGING = """
import itertools, threading
from gcnet_tf.commands import cli
from gcnet_tf.data.records import shards
encode_pair, count = shards.encode_pair, itertools.count(1)
def encode(pair, facts):
    if next(count) == 13:
        print("hangs", flush=True)
        threading.Event().wait()
    return encode_pair(pair, facts)
shards.encode_pair = encode
cli.run(lambda: cli.load_main("make_tfrecords")(None))
"""


@pytest.fixture
def config(tmp_path):
    """Path of a configuration of a folder data set with 20 and 2 images."""
    return make_folder_config(tmp_path / "config.json", num_train=20)


def contents(folder):
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder): path.read_bytes() for path in paths}


@pytest.fixture
def convert(capsys):
    """A function that runs the script in this process and returns its output."""

    def converted(*arguments):
        call_script("make_tfrecords", *arguments)
        return capsys.readouterr().out

    return converted


def test_a_bad_label_ends_with_one_message(scripts, config, tmp_path):
    label = tmp_path / "source" / "train" / "labels" / "train_007.png"
    save_image(label, np.full((24, 32), 9, np.uint8))
    text = scripts.run("make_tfrecords", "--cfg", config, code=2).stderr
    assert f"{label} holds the value 9; allowed are 0..2" in text
    assert not list(tmp_path.glob("records/*/manifest.json"))


def test_a_run_after_kill_9_resumes(scripts, config, tmp_path, convert):
    """It ends with the bytes of a run that was never killed."""
    program = tmp_path / "hanging.py"
    program.write_text(HANGING)
    with scripts.start(program, "--cfg", config, "--workers", 1) as process:
        while process.stdout != "hangs\n":
            assert process.poll() is None, process.wait().stderr
            time.sleep(0.01)
        process.kill()
        assert process.wait().code == -signal.SIGKILL
    left = [path.name for path in (tmp_path / "records" / "train").iterdir()]
    assert any(name.startswith("partial-") for name in left)
    assert "manifest.json" not in left

    done = sorted((tmp_path / "records" / "train").glob("train-*.tfrecord"))
    assert done
    before = [path.stat().st_ino for path in done]
    output = convert("--cfg", config)
    assert "train: 20 images in 8 files\n" in output
    assert read_manifest(tmp_path / "records", "train").num_samples == 20
    assert len(done) == 4 and [path.stat().st_ino for path in done] == before

    elsewhere = tmp_path / "elsewhere"
    arguments = ["--cfg", config, "--set", f"data.records={elsewhere}"]
    convert(*arguments)
    assert contents(tmp_path / "records") == contents(elsewhere)


def test_the_output(config, convert):
    output = convert("--cfg", config, "--set", "train.seed=1")
    assert "train: 20 images in 8 files\nval: 2 images in 2 files\n" in output
    assert "ground            25.00%    25.00%\n" in output
    assert (
        f"Next:    python scripts/train.py --cfg {config} --set train.seed=1" in output
    )
    assert "Warning" not in output

    again = convert("--cfg", config)
    assert again.count("they were there already, --overwrite makes them again") == 2
    overwritten = convert("--cfg", config, "--overwrite")
    assert "already" not in overwritten


def test_a_class_without_pixels_is_mentioned(config, tmp_path, convert):
    """Masks of 0 and 255, which people intend as two classes."""
    for path in (tmp_path / "source" / "train" / "labels").iterdir():
        save_image(path, np.resize(np.array([0, 255], np.uint8), (24, 32)))
    output = convert("--cfg", config)
    assert "Warning: no training pixel has the class tree, house." in output


@pytest.mark.parametrize("name", ["--workers", "--limit"])
def test_numbers_must_be_positive(config, convert, name):
    with pytest.raises(UserError, match=f"{name}: received 0"):
        convert("--cfg", config, name, 0)


def test_a_partial_data_set(tmp_path, convert):
    make_voc_tree(tmp_path / "VOC2012")
    settings = [f"data.root={tmp_path / 'VOC2012'}", f"data.records={tmp_path / 'r'}"]
    arguments = ["--cfg", "voc_r50_20k", "--set", *settings]
    with pytest.raises(UserError, match="5 images here; there should be 10582"):
        convert(*arguments)
    output = convert(*arguments, "--allow-partial")
    assert "train: 5 images in 5 files; the whole data set has 10582 images" in output
    words = " ".join([*settings, "data.allow_partial=true"])
    assert f"--set {words}\n" in output  # in the command to train


def test_a_limit(config, convert):
    output = convert("--cfg", config, "--limit", 4)
    assert "train: 4 images in 4 files\nval: 2 images in 2 files\n" in output
    with pytest.warns(UserWarning, match="only the first 4 images"):
        again = convert("--cfg", config)
    assert "train: 4 images in 4 files; they were there already" in again


def test_two_lists(config, tmp_path, convert):
    """The lists exchange the splits."""
    source = tmp_path / "source"
    for split, other_split in (("train", "val"), ("val", "train")):
        for kind in ("images", "labels"):
            paths = sorted((source / other_split / kind).iterdir())
            lines = [str(path.relative_to(source)) for path in paths]
            (source / f"{split}_{kind}.txt").write_text("\n".join(lines))
        lists = [source / f"{split}_{kind}.txt" for kind in ("images", "labels")]
        arguments = ["--cfg", config, "--split", split, "--list", *lists]
        output = convert(*arguments)
        assert ("Next:" in output) == (split == "val")
    assert read_manifest(tmp_path / "records", "train").num_samples == 2
    assert read_manifest(tmp_path / "records", "val").num_samples == 20


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["--list", "a.txt", "b.txt"], "--list needs --split"),
        (["--split", "../x"], "not ../x"),
    ],
)
def test_arguments_that_do_not_fit(config, convert, capsys, arguments, words):
    with pytest.raises(SystemExit):
        convert("--cfg", config, *arguments)
    assert words in capsys.readouterr().err


def test_a_download_comes_first(config, tmp_path, monkeypatch, convert):
    calls = []
    monkeypatch.setattr(make_tfrecords, "download_dataset", lambda *a: calls.append(a))
    convert("--cfg", config, "--download")
    assert calls == [("folder", tmp_path / "source")]


def test_the_message_tells_how_to_get_cityscapes(capsys):
    cityscapes = ["--cfg", "cityscapes_r50_512x1024_40k"]
    assert exit_code("make_tfrecords", *cityscapes, "--download") == 2
    assert "After registering, gtFine_trainvaltest.zip" in capsys.readouterr().err

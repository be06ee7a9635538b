"""TFRecords: writing, checking and decoding them."""

import dataclasses
import hashlib
import io
import json
import re
import shutil
import threading
import time

import cv2
import numpy as np
import pytest
import tensorflow as tf
from helpers import CLASSES, make_folder_tree, random_image, random_label, save_image
from PIL import Image

from gcnet_tf.data.catalog import dataset_facts
from gcnet_tf.data.records import shards
from gcnet_tf.data.records.manifest import write_manifest
from gcnet_tf.data.sources.folders import find_pairs
from gcnet_tf.errors import UserError

FACTS = dataset_facts("folder", CLASSES)


def write(pairs, directory, **options):
    options = {"progress": False, "num_workers": 2} | options
    return shards.write_records(pairs, directory, "train", FACTS, **options)


def read_samples(directory, manifest):
    paths = [str(directory / "train" / shard.file) for shard in manifest.shards]
    dataset = tf.data.TFRecordDataset(paths).map(shards.parse_example)
    return list(dataset.map(shards.decode_sample).as_numpy_iterator())


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    return make_folder_tree(tmp_path_factory.mktemp("tree"), num_train=20)


@pytest.fixture
def pairs(tree):
    return find_pairs("folder", tree, "train")


def test_every_sample_is_read_back(tmp_path, pairs):
    manifest = write(pairs, tmp_path)
    samples = read_samples(tmp_path, manifest)
    assert sorted(s["name"].decode() for s in samples) == [p.name for p in pairs]
    for sample in samples:
        number = int(sample["name"][-3:])
        assert np.array_equal(sample["label"], random_label(number))
        assert sample["image"].dtype == sample["label"].dtype == np.uint8
        path = next(p.image for p in pairs if p.name == sample["name"].decode())
        assert np.array_equal(sample["image"], np.asarray(Image.open(path)))


def test_the_manifest_tells_the_truth(tmp_path, pairs):
    manifest = write(pairs, tmp_path)
    assert manifest == shards.read_manifest(tmp_path, "train")
    assert (manifest.dataset, manifest.split) == ("folder", "train")
    assert manifest.classes == CLASSES
    assert manifest.num_samples == 20 == sum(s.num_samples for s in manifest.shards)
    labels = np.stack([random_label(number) for number in range(20)])
    assert manifest.class_histogram == tuple(np.sum(labels == k) for k in range(3))
    assert manifest.num_ignored_pixels == np.sum(labels == 255)
    for shard in manifest.shards:
        file_bytes = (tmp_path / "train" / shard.file).read_bytes()
        assert shard.num_bytes == len(file_bytes)
        assert shard.sha256 == hashlib.sha256(file_bytes).hexdigest()
    files = [shard.file for shard in manifest.shards]
    assert sorted([*files, "manifest.json"]) == sorted(contents(tmp_path / "train"))


def test_the_bytes_depend_on_the_files_alone(tmp_path, pairs):
    write(pairs, tmp_path / "one", num_workers=1)
    write(pairs[::-1], tmp_path / "many", num_workers=5)
    assert contents(tmp_path / "one" / "train") == contents(tmp_path / "many" / "train")


@pytest.mark.parametrize(
    "num_samples, shard_bytes, sizes",
    [
        (1, 2**27, [1]),
        (5, 2**27, [1] * 5),
        (8, 2**27, [1] * 8),
        (20, 2**27, [3] * 4 + [2] * 4),
        (20, 1, [1] * 20),
    ],
)
def test_shards_are_several_and_equally_long(
    tmp_path, pairs, num_samples, shard_bytes, sizes
):
    manifest = write(pairs[:num_samples], tmp_path, shard_bytes=shard_bytes)
    assert [shard.num_samples for shard in manifest.shards] == sizes
    for number, shard in enumerate(manifest.shards):
        name = rf"train-{number:05d}-of-{len(sizes):05d}-[0-9a-f]{{8}}\.tfrecord"
        assert re.fullmatch(name, shard.file)


def test_shard_bytes_sets_the_number_of_shards(tmp_path, pairs):
    num_bytes = sum(p.image.stat().st_size + p.label.stat().st_size for p in pairs)
    manifest = write(pairs, tmp_path, shard_bytes=num_bytes // 10 + 1)
    assert len(manifest.shards) == 10


def test_the_order_is_mixed(tmp_path, pairs):
    manifest = write(pairs, tmp_path)
    numbers = [int(s["name"][-3:]) for s in read_samples(tmp_path, manifest)]
    # Sources that are stored or dealt out in order would have one or two step sizes.
    assert len(set(np.diff(numbers))) > 8


def test_records_of_an_earlier_run_are_replaced(tmp_path, pairs):
    write(pairs, tmp_path, shard_bytes=1)
    manifest = write(pairs[:2], tmp_path)
    files = [shard.file for shard in manifest.shards]
    assert sorted([*files, "manifest.json"]) == sorted(contents(tmp_path / "train"))


def test_files_of_a_killed_run_are_replaced(tmp_path, pairs):
    folder = tmp_path / "train"
    folder.mkdir()
    for name in (
        "train-00000-of-00009.tfrecord",
        "partial-train-00001-of-00009.tfrecord",
        "partial-manifest.json",
    ):
        (folder / name).write_bytes(b"half")
    (folder / "notes.txt").touch()  # not ours
    with pytest.raises(UserError, match="no records of the split 'train'"):
        shards.read_manifest(tmp_path, "train")
    manifest = write(pairs, tmp_path)
    files = [shard.file for shard in manifest.shards]
    expected = sorted([*files, "manifest.json", "notes.txt"])
    assert sorted(contents(folder)) == expected


@pytest.fixture
def bad_tree(tree, tmp_path):
    """A tree with one bad label."""
    root = shutil.copytree(tree, tmp_path / "bad")
    save_image(root / "train" / "labels" / "train_004.png", np.full((24, 32), 7, "u1"))
    return root


def test_a_bad_file_stops_the_conversion(tmp_path, tree, bad_tree):
    with pytest.raises(UserError, match=r"train_004\.png holds the value 7"):
        write(find_pairs("folder", bad_tree, "train"), tmp_path)
    assert not (tmp_path / "train" / "manifest.json").exists()
    with pytest.raises(UserError, match="make_tfrecords"):
        shards.read_manifest(tmp_path, "train")


def test_a_bad_file_leaves_the_earlier_records_whole(tmp_path, tree, bad_tree):
    manifest = write(find_pairs("folder", tree, "train"), tmp_path)
    before = contents(tmp_path / "train")
    with pytest.raises(UserError, match=r"train_004\.png holds the value 7"):
        write(find_pairs("folder", bad_tree, "train"), tmp_path)
    assert shards.read_manifest(tmp_path, "train") == manifest
    assert before.items() <= contents(tmp_path / "train").items()
    assert len(read_samples(tmp_path, manifest)) == 20
    write(find_pairs("folder", tree, "train"), tmp_path)
    assert contents(tmp_path / "train") == before  # nothing of the failed one is left


def test_new_records_never_have_a_name_of_others(tmp_path, tree, bad_tree):
    """A reader that opens a file by its name gets its own records, or none."""
    before = write(find_pairs("folder", tree, "train"), tmp_path)
    for path in (bad_tree / "train" / "labels").iterdir():
        save_image(path, np.full((24, 32), 1, np.uint8))
    after = write(find_pairs("folder", bad_tree, "train"), tmp_path)
    names = [{shard.file for shard in m.shards} for m in (before, after)]
    assert not names[0] & names[1]
    assert contents(tmp_path / "train").keys() == {*names[1], "manifest.json"}


@pytest.mark.parametrize(
    "file", ["../val/a.tfrecord", "/etc/passwd", "a/b", "..", "", "."]
)
def test_a_manifest_names_only_files_of_its_folder(tmp_path, pairs, file):
    manifest = write(pairs, tmp_path)
    outside = dataclasses.replace(manifest.shards[0], file=file)
    write_manifest(dataclasses.replace(manifest, shards=(outside,)), tmp_path / "train")
    with pytest.raises(UserError, match="not a file of its own folder.*--overwrite"):
        shards.read_manifest(tmp_path, "train")


@pytest.mark.parametrize("stop", [KeyboardInterrupt, UserError])
def test_the_rest_is_not_read_after_a_stop(tmp_path, pairs, monkeypatch, stop):
    """Two threads encode a shard of 20 samples, and the second sample raises."""
    encode_pair = shards.encode_pair
    lock, started = threading.Lock(), []

    def encode(pair, facts):
        with lock:
            started.append(pair)
            number = len(started)
        if number == 2:
            raise stop("stop")
        time.sleep(0.02)
        return encode_pair(pair, facts)

    monkeypatch.setattr(shards, "encode_pair", encode)
    monkeypatch.setattr("gcnet_tf.data.records.finished.MIN_SHARDS", 1)
    with pytest.raises(stop):
        write(pairs, tmp_path)
    assert len(started) < 8
    assert not (tmp_path / "train" / "manifest.json").exists()


def test_the_rest_is_not_read_after_ctrl_c_while_writing(tmp_path, pairs, monkeypatch):
    encode_pair = shards.encode_pair
    lock, started, finished = threading.Lock(), [], []
    has_stopped = threading.Event()

    def encode(pair, facts):
        with lock:
            started.append(pair)
            number = len(started)
        # All but those that two threads begin with end after the interrupt, however
        # busy the machine is.
        if number > 2:
            assert has_stopped.wait(60)
            time.sleep(0.1)
        finished.append(pair)
        return encode_pair(pair, facts)

    def interrupted(name, sample):
        has_stopped.set()
        raise KeyboardInterrupt

    monkeypatch.setattr(shards, "encode_pair", encode)
    monkeypatch.setattr(shards, "_serialize", interrupted)
    monkeypatch.setattr("gcnet_tf.data.records.finished.MIN_SHARDS", 1)
    with pytest.raises(KeyboardInterrupt):
        write(pairs, tmp_path)
    assert len(finished) < 8


def test_workers_share_the_work(tmp_path, pairs, monkeypatch):
    encode_pair = shards.encode_pair
    # It raises an error unless four threads wait at the same time.
    barrier = threading.Barrier(4, timeout=10)

    def encode(pair, facts):
        barrier.wait()
        return encode_pair(pair, facts)

    monkeypatch.setattr(shards, "encode_pair", encode)
    monkeypatch.setattr("gcnet_tf.data.records.finished.MIN_SHARDS", 5)
    write(pairs, tmp_path, num_workers=4)


def test_finished_shards_are_kept(tmp_path, pairs, monkeypatch):
    """A conversion goes on after a stop, and all bytes are the same as without it."""
    whole = write(pairs, tmp_path / "whole")
    encode_pair, encoded = shards.encode_pair, []

    def encode(pair, facts):
        encoded.append(pair.name)
        if len(encoded) == 13:
            raise UserError("stop")
        return encode_pair(pair, facts)

    monkeypatch.setattr(shards, "encode_pair", encode)
    with pytest.raises(UserError, match="stop"):
        write(pairs, tmp_path / "stopped", num_workers=1)
    done = list((tmp_path / "stopped" / "train").glob("*.tfrecord"))
    encoded[:] = [None] * 50
    assert write(pairs, tmp_path / "stopped") == whole
    # 20 images in 8 shards: four of 3, then four of 2.
    assert len(done) == 4 and len(encoded) == 50 + 20 - 12
    assert contents(tmp_path / "stopped/train") == contents(tmp_path / "whole/train")


def test_shards_of_other_sources_are_not_kept(tmp_path, tree, bad_tree):
    with pytest.raises(UserError, match=r"train_004"):
        write(find_pairs("folder", bad_tree, "train"), tmp_path / "records")
    assert list((tmp_path / "records" / "train").glob("*.tfrecord"))
    for path in (bad_tree / "train" / "labels").iterdir():
        save_image(path, np.full((24, 32), 1, np.uint8))
    manifest = write(find_pairs("folder", bad_tree, "train"), tmp_path / "records")
    assert manifest.class_histogram == (0, 20 * 24 * 32, 0)


def test_a_limit(tmp_path, pairs):
    manifest = write(pairs, tmp_path, limit=3)
    assert (manifest.num_samples, manifest.limit) == (3, 3)
    samples = read_samples(tmp_path, manifest)
    assert {sample["name"].decode() for sample in samples} == {
        *("train_000", "train_001", "train_002")
    }
    assert shards.read_manifest(tmp_path, "train") == manifest


def test_a_folder_that_cannot_be_written(tmp_path, pairs):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="Cannot write records to .*data.records"):
        write(pairs, tmp_path / "file")


def test_no_images(tmp_path):
    with pytest.raises(UserError, match="no images"):
        write([], tmp_path)


def test_segments_are_whole_records(tmp_path, pairs, monkeypatch):
    """Each begins where a record does, and holds at least the bytes asked for."""
    monkeypatch.setattr(shards, "SEGMENT_BYTES", 2000)
    manifest = write(pairs, tmp_path)
    for shard in manifest.shards:
        path = str(tmp_path / "train" / shard.file)
        sizes = [len(r.numpy()) + 16 for r in tf.data.TFRecordDataset(path)]
        assert sum(sizes) == shard.num_bytes
        for length, num_bytes in shard.segment_table():
            assert sum(sizes[:length]) == num_bytes
            assert sum(sizes[: length - 1]) < 2000
            del sizes[:length]
        assert not sizes
    assert max(len(shard.segment_table()) for shard in manifest.shards) > 1


def test_a_manifest_of_an_older_version_is_read(tmp_path, pairs):
    manifest = write(pairs, tmp_path)
    fields = dataclasses.asdict(manifest)
    for shard in fields["shards"]:
        del shard["segments"]
    (tmp_path / "train" / "manifest.json").write_text(json.dumps(fields))
    old = shards.read_manifest(tmp_path, "train")
    assert {shard.segments for shard in old.shards} == {""}
    assert [shard.sha256 for shard in old.shards] == [
        shard.sha256 for shard in manifest.shards
    ]


def test_segments_that_are_not_the_file_are_damage(tmp_path, pairs):
    fields = dataclasses.asdict(write(pairs, tmp_path))
    fields["shards"][0]["segments"] = [[1, 5]]
    (tmp_path / "train" / "manifest.json").write_text(json.dumps(fields))
    with pytest.raises(UserError, match="segments of train-00000.*not the whole file"):
        shards.read_manifest(tmp_path, "train")


def test_a_shard_missing_or_cut_is_noticed(tmp_path, pairs):
    shard = write(pairs, tmp_path).shards[3]
    path = tmp_path / "train" / shard.file
    file_bytes = path.read_bytes()
    path.write_bytes(file_bytes[:-1])
    message = (
        f"{shard.file} has {len(file_bytes) - 1} bytes instead of {len(file_bytes)}"
    )
    with pytest.raises(UserError, match=message + ".*--overwrite"):
        shards.read_manifest(tmp_path, "train")
    path.unlink()
    with pytest.raises(UserError, match=f"{shard.file} is missing.*--overwrite"):
        shards.read_manifest(tmp_path, "train")


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"shards": [{"file": 1}]}'])
def test_a_damaged_manifest_is_noticed(tmp_path, pairs, text):
    manifest = write(pairs, tmp_path)
    path = tmp_path / "train" / "manifest.json"
    assert json.loads(path.read_text())["num_samples"] == manifest.num_samples
    path.write_text(text)
    with pytest.raises(UserError, match=r"manifest\.json is damaged .*--overwrite"):
        shards.read_manifest(tmp_path, "train")


def test_a_manifest_with_an_unknown_field_is_damaged(tmp_path, pairs):
    manifest = dataclasses.asdict(write(pairs, tmp_path)) | {"surprise": 1}
    (tmp_path / "train" / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(UserError, match="damaged"):
        shards.read_manifest(tmp_path, "train")


def decode(file_bytes):
    """Decodes an image in a graph, as training does."""
    label = io.BytesIO()
    Image.fromarray(random_label(0)).save(label, "PNG")
    dataset = tf.data.Dataset.from_tensors(
        {
            "image": file_bytes,
            "label": label.getvalue(),
            "name": "a",
            "orientation": np.int64(1),
        }
    ).map(shards.decode_sample)
    assert dataset.element_spec["image"].shape.as_list() == [None, None, 3]
    assert dataset.element_spec["label"].shape.as_list() == [None, None]
    return next(dataset.as_numpy_iterator())["image"]


@pytest.mark.parametrize(
    "options",
    [
        {"format": "JPEG", "quality": 60},
        {"format": "JPEG", "quality": 90, "subsampling": 0},
        {"format": "JPEG", "quality": 90, "subsampling": 1},
        {"format": "JPEG", "progressive": True},
        {"format": "PNG"},
    ],
)
@pytest.mark.parametrize("grey", [False, True])
def test_decoding_equals_pillow_and_opencv(options, grey):
    # The size is no multiple of JPEG's blocks, and the image is smooth, so that errors
    # are not clipped.
    noise = random_image(3, 75, 101)
    image = Image.fromarray(cv2.GaussianBlur(noise, (0, 0), 3))
    image = image.convert("L") if grey else image
    buffer = io.BytesIO()
    image.save(buffer, **options)
    file_bytes = buffer.getvalue()
    decoded = decode(file_bytes)
    assert np.array_equal(decoded, np.asarray(Image.open(buffer).convert("RGB")))
    opencv = cv2.imdecode(np.frombuffer(file_bytes, np.uint8), cv2.IMREAD_COLOR)
    assert np.array_equal(decoded, opencv[:, :, ::-1])


def test_decoding_of_a_png_with_a_transparent_colour():
    """It is stored unchanged: its mode is RGB, and a colour is only marked."""
    image = Image.fromarray(random_image(0))
    buffer = io.BytesIO()
    image.save(buffer, "PNG", transparency=tuple(random_image(0)[0, 0].tolist()))
    assert np.array_equal(decode(buffer.getvalue()), random_image(0))


def test_turned_images_are_read_back_upright(tmp_path, tree):
    """Conversion, all orientations, and records: compared with OpenCV, which turns."""
    root = shutil.copytree(tree, tmp_path / "source")
    for value in range(1, 9):
        path = root / "train" / "images" / f"train_{value:03d}.jpg"
        exif = Image.Exif()
        exif[0x0112] = value
        height, width = (32, 24) if value > 4 else (24, 32)
        save_image(path, random_image(value, height, width), exif=exif)
    pairs = find_pairs("folder", root, "train")
    manifest = write(pairs, tmp_path)
    by_name = {s["name"].decode(): s["image"] for s in read_samples(tmp_path, manifest)}
    assert len(by_name) == 20
    for pair in pairs:
        expected = cv2.imread(str(pair.image), cv2.IMREAD_COLOR)[:, :, ::-1]
        assert np.array_equal(by_name[pair.name], expected), pair.name
    num_bytes = sum(p.image.stat().st_size + p.label.stat().st_size for p in pairs)
    assert sum(shard.num_bytes for shard in manifest.shards) < 1.5 * num_bytes


def test_a_record_of_an_upright_image_has_the_bytes_of_older_versions(tmp_path, pairs):
    """Written here by the old schema, with protobuf alone."""
    manifest = write(pairs[:1], tmp_path)
    path = tmp_path / "train" / manifest.shards[0].file
    (record,) = tf.data.TFRecordDataset(str(path)).as_numpy_iterator()
    example = tf.train.Example.FromString(record)
    assert set(example.features.feature) == {"image", "label", "name"}
    parsed = shards.parse_example(record)
    assert int(parsed["orientation"]) == 1
    decoded = shards.decode_sample(parsed)["image"].numpy()
    assert np.array_equal(decoded, np.asarray(Image.open(pairs[0].image)))

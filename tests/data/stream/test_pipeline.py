"""The training stream as a pure function of (seed, iteration); evaluation in order."""

import dataclasses
import itertools

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from gcnet_tf.config import config_from_dict
from gcnet_tf.data.catalog import dataset_facts
from gcnet_tf.data.records import shards
from gcnet_tf.data.sources.pairs import Pair
from gcnet_tf.data.stream import lanes, photometric, pipeline
from gcnet_tf.errors import UserError
from gcnet_tf.training.distributed.strategy import make_strategy

CLASSES = ("ground", "tree", "house")
NUM_SAMPLES = 10


def write_images(folder, split, num_samples):
    """Writes images of different sizes, half of them JPEG, with labels in patches."""
    folder = folder / split
    folder.mkdir(parents=True)
    pairs = []
    for number in range(num_samples):
        rng = np.random.default_rng(number)
        height, width = 40 + number, 64 - number
        image = rng.integers(0, 256, (height, width, 3), np.uint8)
        label = rng.choice([0, 1, 2, 255], (height // 8 + 1, width // 8 + 1))
        label = label.repeat(8, axis=0).repeat(8, axis=1)[:height, :width]
        image_path = folder / f"{number:02}.{'jpg' if number % 2 else 'png'}"
        label_path = folder / f"{number:02}_label.png"
        Image.fromarray(image).save(image_path)
        Image.fromarray(label.astype(np.uint8)).save(label_path)
        pairs.append(Pair(f"{number:02}", image_path, label_path))
    return pairs


@pytest.fixture(scope="module")
def records_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    facts = dataset_facts("folder", CLASSES)
    for split, num_samples in (("train", NUM_SAMPLES), ("val", 3)):
        pairs = write_images(folder / "images", split, num_samples)
        # A small shard_bytes, so that there are several shards.
        shards.write_records(
            pairs,
            folder / "records",
            split,
            facts,
            num_workers=1,
            shard_bytes=20_000,
            progress=False,
        )
    return folder / "records"


def make_config(records_folder, *, batch_size=4, seed=0, classes=CLASSES):
    return config_from_dict(
        {
            "data": {
                "dataset": "folder",
                "records": str(records_folder),
                "classes": list(classes),
            },
            "augment": {
                "base_scale": [72, 48],
                "ratio_range": [0.5, 2.0],
                "crop_size": [32, 40],
            },
            "train": {"batch_size": batch_size, "seed": seed},
        }
    )


def with_augment(config, **changes):
    augment = dataclasses.replace(config.augment, **changes)
    return dataclasses.replace(config, augment=augment)


def batches(config, num_batches, start_iteration=0):
    dataset = pipeline.training_dataset(config, start_iteration)
    return list(dataset.take(num_batches).as_numpy_iterator())


def names(config, num_batches, start_iteration=0):
    stream = batches(config, num_batches, start_iteration)
    return np.concatenate([batch["name"] for batch in stream]).tolist()


def assert_same_batches(left, right):
    assert len(left) == len(right)
    for batch, other in zip(left, right):
        assert batch.keys() == other.keys()
        for key in batch:
            np.testing.assert_array_equal(batch[key], other[key], err_msg=key)


def test_the_fixture_has_several_shards(records_folder):
    assert len(shards.read_manifest(records_folder, "train").shards) > 2


@pytest.mark.parametrize("batch_size", [4, 23])
def test_a_later_start_equals_skipping(records_folder, batch_size):
    """This holds across epochs, too, and with batches longer than an epoch."""
    config = make_config(records_folder, batch_size=batch_size)
    stream = batches(config, 7)
    for start in (1, 2, 3, 5):
        assert_same_batches(batches(config, 7 - start, start), stream[start:])


def test_each_epoch_visits_every_sample_once_in_another_order(records_folder):
    stream = names(make_config(records_folder, batch_size=5), 8)
    epochs = [stream[start : start + NUM_SAMPLES] for start in range(0, 40, 10)]
    for epoch in epochs:
        assert len(set(epoch)) == NUM_SAMPLES
    for epoch, other in itertools.combinations(epochs, 2):
        assert epoch != other


def test_a_small_buffer_still_visits_every_sample(records_folder, monkeypatch):
    monkeypatch.setattr(lanes, "SHUFFLE_BUFFER_BYTES", 15_000)
    config = make_config(records_folder, batch_size=5)
    stream = names(config, 4)
    assert len(set(stream[:NUM_SAMPLES])) == len(set(stream[NUM_SAMPLES:])) == 10
    assert stream[5:] == names(config, 3, start_iteration=1)


def test_the_seed_decides_about_order_and_augmentation(records_folder):
    first = batches(make_config(records_folder, seed=0), 2)
    again = batches(make_config(records_folder, seed=0), 2)
    other = batches(make_config(records_folder, seed=1), 2)
    assert_same_batches(first, again)
    assert any((a["name"] != b["name"]).any() for a, b in zip(first, other))


@pytest.mark.parametrize("global_seed", [0, 5])
def test_the_global_seed_changes_nothing(records_folder, global_seed):
    """This includes `tf.random.set_seed(0)`, a seed that tf.data treats specially."""
    config = make_config(records_folder)
    expected = names(config, 3)
    try:
        tf.random.set_seed(global_seed)
        assert names(config, 3) == expected
    finally:
        tf.random.set_seed(None)


def test_samples_know_their_seed_and_differ_between_epochs(records_folder):
    stream = batches(make_config(records_folder, batch_size=10, seed=3), 2)
    seeds = np.concatenate([batch["seed"] for batch in stream])
    expected = np.stack([np.full(20, 3), np.arange(20)], axis=1)
    np.testing.assert_array_equal(seeds, expected)
    images = [dict(zip(batch["name"].tolist(), batch["image"])) for batch in stream]
    assert any((images[0][name] != images[1][name]).any() for name in images[0])


def test_colours_changed_on_the_device_are_the_same(records_folder):
    config = make_config(records_folder)
    on_device = with_augment(config, photometric_on_device=True)
    plain = with_augment(config, photometric_distortion=False)
    streams = [batches(variant, 4) for variant in (config, on_device, plain)]
    for expected, batch, undistorted in zip(*streams):
        np.testing.assert_array_equal(batch["image"], undistorted["image"])
        distortion = photometric.Distortion(*batch.pop("distortion"))
        distorted = photometric.distort_batch(
            batch["image"], distortion, batch["valid_size"]
        ).numpy()
        assert (distorted != undistorted["image"]).any()
        assert_same_batches([{**batch, "image": distorted}], [expected])


def by_number(stream):
    """Returns (name, image) of each sample by its number."""
    return {
        int(seed[1]): (name, image)
        for batch in stream
        for seed, name, image in zip(batch["seed"], batch["name"], batch["image"])
    }


def test_any_order_changes_the_batches_not_the_samples(records_folder, monkeypatch):
    config = make_config(records_folder)
    data = dataclasses.replace(config.data, deterministic=False)
    orders = []
    original = tf.data.Dataset.map

    def spy(self, function, **options):
        orders.append(options.get("deterministic"))
        return original(self, function, **options)

    expected = by_number(batches(config, 25))
    monkeypatch.setattr(tf.data.Dataset, "map", spy)
    samples = by_number(batches(dataclasses.replace(config, data=data), 10))
    # The first map numbers the records and keeps their order; the second makes samples.
    assert orders == [None, False]
    assert len(samples) == 40
    for number, (name, image) in samples.items():
        assert name == expected[number][0]
        np.testing.assert_array_equal(image, expected[number][1])


def test_static_shapes_and_types(records_folder):
    spec = pipeline.training_dataset(make_config(records_folder)).element_spec
    assert spec == {
        "image": tf.TensorSpec((4, 32, 40, 3), tf.uint8),
        "label": tf.TensorSpec((4, 32, 40), tf.uint8),
        "valid_size": tf.TensorSpec((4, 2), tf.int32),
        "name": tf.TensorSpec((4,), tf.string),
        "seed": tf.TensorSpec((4, 2), tf.int32),
    }


def test_padding_lies_outside_of_the_valid_size(records_folder):
    num_padded = 0
    for batch in batches(make_config(records_folder), 10):
        for image, label, (height, width) in zip(
            batch["image"], batch["label"], batch["valid_size"]
        ):
            inside = np.zeros(label.shape, bool)
            inside[:height, :width] = True
            assert not image[~inside].any() and (label[~inside] == 255).all()
            assert set(np.unique(label)) <= {0, 1, 2, 255}
            num_padded += not inside.all()
    assert num_padded


def test_replicas_see_the_same_global_batches(records_folder):
    config = make_config(records_folder)
    expected = batches(config, 3)
    strategy = make_strategy("mirrored", 2)
    distributed = strategy.experimental_distribute_dataset(
        pipeline.training_dataset(config)
    )
    for batch, distributed_batch in zip(expected, distributed):
        parts = strategy.experimental_local_results(distributed_batch["image"])
        np.testing.assert_array_equal(np.concatenate(parts), batch["image"])


def test_evaluation_gives_the_originals_in_record_order(records_folder):
    manifest = shards.read_manifest(records_folder, "val")
    paths = [str(records_folder / "val" / shard.file) for shard in manifest.shards]
    written = [
        shards.parse_example(serialized)["name"].numpy()
        for path in paths
        for serialized in tf.data.TFRecordDataset(path)
    ]
    samples = list(pipeline.evaluation_samples(make_config(records_folder)))
    assert [sample["name"] for sample in samples] == written
    assert sorted(written) == [b"00", b"01", b"02"]
    for sample in samples:
        number = int(sample["name"])
        size = (40 + number, 64 - number)
        assert sample["image"].shape == (*size, 3) and sample["label"].shape == size
        assert sample["image"].dtype == sample["label"].dtype == np.uint8
        if number % 2 == 0:  # a PNG, which is lossless
            original = np.random.default_rng(number).integers(
                0, 256, (*size, 3), np.uint8
            )
            np.testing.assert_array_equal(sample["image"], original)


def test_evaluation_of_another_split(records_folder):
    samples = pipeline.evaluation_samples(make_config(records_folder), "train")
    assert len(list(samples)) == NUM_SAMPLES


def test_records_of_other_classes_are_refused(records_folder):
    config = make_config(records_folder, classes=("ground", "tree"))
    for read in (pipeline.training_dataset, pipeline.evaluation_samples):
        with pytest.raises(UserError, match="ground, tree, house.*ground, tree"):
            read(config)


def test_records_of_another_dataset_are_refused(records_folder):
    config = config_from_dict(
        {"data": {"dataset": "shapes", "records": str(records_folder)}}
    )
    with pytest.raises(UserError, match="'folder'.*'shapes'"):
        pipeline.training_dataset(config)


def test_missing_records_are_refused(tmp_path):
    with pytest.raises(UserError):
        pipeline.training_dataset(make_config(tmp_path / "nothing"))

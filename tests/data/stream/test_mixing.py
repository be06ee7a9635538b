"""Pixels of other samples, and crops that are chosen by a class."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf
from data.stream.test_pipeline import make_config, records_folder  # noqa: F401

from gcnet_tf.config import config_from_dict
from gcnet_tf.data.records.manifest import read_manifest
from gcnet_tf.data.stream import augmentation, balance, mixing
from gcnet_tf.data.stream.balance import Balance
from gcnet_tf.data.stream.lanes import Share
from gcnet_tf.data.stream.pipeline import training_dataset
from gcnet_tf.errors import UserError

ON = {
    "rotation": 20.0,
    "blur": 1.0,
    "grey": 0.3,
    "cut_out": 0.4,
    "balanced_crop": 0.5,
    "class_mix": 0.5,
    "copy_paste": 0.4,
}


@pytest.fixture(scope="module")
def config(records_folder):  # noqa: F811
    return make_config(records_folder)


def with_augment(config, **changes):
    augment = dataclasses.replace(config.augment, **changes)
    return dataclasses.replace(config, augment=augment)


def batches(config, number, start=0, **arguments):
    stream = training_dataset(config, start, **arguments)
    return list(stream.take(number).as_numpy_iterator())


def assert_equal(first, second):
    for key in ("image", "label", "seed", "valid_size", "name"):
        np.testing.assert_array_equal(first[key], second[key], err_msg=key)


def test_a_resumed_stream_goes_on_exactly(config):
    config = with_augment(config, **ON)
    whole = batches(config, 5)
    for start in (1, 3):
        for first, second in zip(whole[start:], batches(config, 5 - start, start)):
            assert_equal(first, second)


def test_replicas_and_workers_get_the_parts_of_the_same_batches(config):
    config = with_augment(config, **ON)
    whole = batches(config, 3)
    pieces = batches(config, 6, num_replicas=2)
    shares = [batches(config, 3, share=Share(index, 2)) for index in range(2)]
    for iteration, batch in enumerate(whole):
        for half in range(2):
            part = {key: value[2 * half :][:2] for key, value in batch.items()}
            assert_equal(part, pieces[2 * iteration + half])
            assert_equal(part, shares[half][iteration])


@pytest.mark.parametrize("way", ["class_mix", "copy_paste"])
def test_partners_are_the_samples_of_the_batch_before(config, way):
    plain = batches(config, 4)
    mixed = batches(with_augment(config, **{way: 1.0}), 4)
    assert_equal(plain[0], mixed[0])
    manifest = read_manifest(config.data.records, "train")
    rare = set(balance.rare_classes(manifest.class_histogram))
    pasted = 0
    for before, batch, result in zip(plain, plain[1:], mixed[1:]):
        for slot in range(4):
            label, other = batch["label"][slot], before["label"][slot]
            changed = result["label"][slot] != label
            images_differ = (result["image"][slot] != batch["image"][slot]).any(-1)
            from_other = result["label"][slot] == other
            assert from_other[changed].all()
            height, width = batch["valid_size"][slot]
            assert not changed[height:].any() and not changed[:, width:].any()
            classes = set(np.unique(other[changed])) - {255}
            assert 255 not in np.unique(other[changed])
            # Every pixel of a pasted class is there.
            for class_id in classes:
                inside = other[:height, :width] == class_id
                there = result["label"][slot][:height, :width][inside]
                assert (there == class_id).all()
                np.testing.assert_array_equal(
                    result["image"][slot][:height, :width][inside],
                    before["image"][slot][:height, :width][inside],
                )
            if way == "class_mix":
                present = len(set(np.unique(other)) - {255})
                assert len(classes) <= -(-present // 2)
            else:
                assert classes <= rare
            assert images_differ[changed].any() or not changed.any()
            pasted += changed.any()
    assert pasted > 4


def test_off_means_the_stream_of_before(config):
    """Each sample is that of `augment` with the seed, and nothing else."""
    assert not any(getattr(config.augment, name) for name in ON)
    on = with_augment(config, cut_out=0.9)
    off, other = batches(config, 2), batches(on, 2)
    for first, second in zip(off, other):
        holes = (second["label"] != first["label"]) | (
            (second["image"] != first["image"]).any(-1)
        )
        assert not second["image"][holes].any()
        assert (second["label"][holes] == 255).all()


def test_half_of_the_classes_are_drawn_evenly():
    label = np.full((6, 6), 255, np.uint8)
    label[0], label[1], label[2] = 3, 7, 250
    drawn = np.array(
        [mixing.half_of_classes(label, tf.constant([5, i])) for i in range(200)]
    )
    assert (drawn.sum(axis=1) == 2).all()
    counts = drawn.sum(axis=0)
    assert set(np.flatnonzero(counts)) == {3, 7, 250}
    assert counts[[3, 7, 250]].min() > 100  # 133 on average
    nothing = mixing.half_of_classes(
        np.full((2, 2), 255, np.uint8), tf.constant([0, 0])
    )
    assert not nothing.numpy().any()


def test_chances_and_rare_classes_follow_the_histogram():
    assert balance.class_chances([100, 0, 25]) == [0.1, 0.0, 0.2]
    assert balance.rare_classes([100, 0, 25, 3]) == [2, 3]


def test_balanced_crops_hold_the_drawn_class():
    label = np.zeros((60, 80), np.uint8)
    label[:, 70:] = 255
    label[41, 33] = 2  # a single pixel
    settings = {
        "base_scale": (80, 60),
        "ratio_range": (1.0, 1.0),
        "crop_size": (16, 20),
        "category_max_ratio": 1.0,
        "flip_probability": 0.0,
    }
    chances = Balance(1.0, (0.25, 5.0, 0.75))  # class 1 is not in the label
    corners, held = [], 0
    for number in range(120):
        plan = augmentation.make_plan(
            label, tf.constant([3, number]), **settings, balance=chances
        )
        top, left = plan.corner.numpy()
        corners.append((top, left))
        held += 2 in label[top : top + 16, left : left + 20]
        assert 0 <= top <= 44 and 0 <= left <= 60
    # Three quarters, and by chance some of the others.
    assert 75 <= held <= 110
    assert len(set(corners)) > 60
    ignored = np.full_like(label, 255)
    seed = tf.constant([3, 4])
    plain = augmentation.make_plan(ignored, seed, **settings)
    same = augmentation.make_plan(ignored, seed, **settings, balance=chances)
    np.testing.assert_array_equal(plain.corner, same.corner)


@pytest.mark.parametrize(
    "augment, message",
    [
        ({"grey": 0.5, "photometric_on_device": True}, "augment.grey: .*comes after"),
        ({"class_mix": 0.7, "copy_paste": 0.5}, "augment.copy_paste: .*at most 1 tog"),
        ({"rotation": 200}, "augment.rotation: received 200; .*at most 180"),
        ({"blur": -1}, "augment.blur: received -1; .*at least 0"),
    ],
)
def test_settings_that_mean_nothing_are_refused(augment, message):
    data = {"dataset": "folder", "classes": ["a", "b"]}
    with pytest.raises(UserError, match=message):
        config_from_dict({"data": data, "augment": augment})

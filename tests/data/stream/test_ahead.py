"""Samples are decoded ahead in order, and no more of them than fit into a limit."""

import threading

import numpy as np
import pytest
import tensorflow as tf
from helpers import random_image, random_label

from gcnet_tf.data.stream import ahead
from gcnet_tf.data.stream.ahead import decoded_ahead


def record(index, side=32):
    """A record of a PNG of side x side and its label."""
    values = {
        "image": tf.io.encode_png(random_image(index, side, side)).numpy(),
        "label": tf.io.encode_png(
            random_label(index, 3, side, side)[..., None]
        ).numpy(),
        "name": str(index).encode(),
    }
    features = {
        key: tf.train.Feature(bytes_list=tf.train.BytesList(value=[value]))
        for key, value in values.items()
    }
    example = tf.train.Example(features=tf.train.Features(feature=features))
    return example.SerializeToString()


@pytest.fixture
def counted(monkeypatch):
    """Counts the bytes of images and labels that are decoded and not yet used."""
    decode, lock = ahead._decode(), threading.Lock()
    held = {"now": 0, "most": 0, "samples": 0}

    def counting(serialized):
        sample = decode(serialized)
        with lock:
            held["now"] += sample["image"].nbytes + sample["label"].nbytes
            held["samples"] += 1
            held["most"] = max(held["most"], held["now"])
        return sample

    def use(samples):
        for sample in samples:
            with lock:
                held["now"] -= sample["image"].nbytes + sample["label"].nbytes
            yield sample

    monkeypatch.setattr(ahead, "_decode", lambda: counting)
    return held, use


@pytest.mark.parametrize("limit", [1, 4 * 32 * 32, 3 * 4 * 32 * 32, 10**9])
def test_order_values_and_limit(limit, counted):
    held, use = counted
    samples = list(use(decoded_ahead(map(record, range(9)), limit)))
    assert [sample["name"] for sample in samples] == [b"%d" % i for i in range(9)]
    for index, sample in enumerate(samples):
        np.testing.assert_array_equal(sample["image"], random_image(index, 32, 32))
        np.testing.assert_array_equal(sample["label"], random_label(index, 3, 32, 32))
    # One sample may be larger than the limit. Another one is with the caller, because
    # the next record is read before it is counted here.
    assert held["most"] <= max(limit, 4 * 32 * 32) + 4 * 32 * 32


def test_a_large_sample_waits_until_the_others_are_used(counted):
    held, use = counted
    records = (record(i, side) for i, side in enumerate([64, 64, 256, 64]))
    samples = list(use(decoded_ahead(records, 4 * 256 * 256)))
    assert [sample["image"].shape[0] for sample in samples] == [64, 64, 256, 64]
    assert held["most"] <= 2 * 4 * 256 * 256


def test_many_small_samples_are_read_as_they_are_used(counted):
    held, use = counted
    read = []

    def records():
        for index in range(500):
            read.append(index)
            yield record(index, 8)

    samples = use(decoded_ahead(records()))
    next(samples)
    assert len(read) <= 66
    samples.close()


def test_a_record_without_an_image_is_an_error():
    example = tf.train.Example.FromString(record(0))
    example.features.feature["image"].bytes_list.value[0] = b"no image"
    records = [record(0), example.SerializeToString()]
    samples = decoded_ahead(records)
    assert next(samples)["name"] == b"0"
    with pytest.raises(tf.errors.InvalidArgumentError):
        next(samples)

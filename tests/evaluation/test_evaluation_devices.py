"""Evaluation and prediction on two devices, which are parts of the CPU here."""

import itertools
import threading

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from gcnet_tf.config import config_from_dict, config_to_dict
from gcnet_tf.data.records.threads import side_by_side
from gcnet_tf.evaluation import devices, load
from gcnet_tf.evaluation.evaluate import evaluate
from gcnet_tf.evaluation.load import predictor_from_model
from gcnet_tf.evaluation.predictions import plan, write_predictions
from gcnet_tf.models import build_model

BOTH = ("CPU:0", "CPU:1")


@pytest.fixture(scope="module")
def model(tiny_config):
    """A model whose predictions are not all of one class."""
    model = build_model(tiny_config())
    rng = np.random.default_rng(0)
    for weight in model.trainable_variables:
        weight.assign(rng.normal(0, 0.5, weight.shape).astype("float32"))
    return model


@pytest.fixture(autouse=True)
def one_image_a_call(monkeypatch):
    monkeypatch.setattr(load, "PIXELS_AT_ONCE", 32 * 32)


def overlapping(function):
    """Makes the first two calls wait for each other, which needs two threads."""
    barrier, calls = threading.Barrier(2), itertools.count()

    def together(*arguments):
        if next(calls) < 2:
            barrier.wait(timeout=120)
        return function(*arguments)

    return together


@pytest.fixture
def ran_on(monkeypatch):
    """Devices of the tensors of labels, call by call; the first two overlap."""
    names = []
    run = overlapping(devices._Copy.run_labels)

    def together(copy, images):
        labels = run(copy, images)
        names.append(labels.device.rpartition("device:")[2])
        return labels

    monkeypatch.setattr(devices._Copy, "run_labels", together)
    return names


def in_mode(config, mode):
    changes = {
        "mode": mode,
        "ms_flip": mode == "ms_flip",
        "window": [24, 24],
        "stride": [16, 16],
    }
    if mode == "ms_flip":
        changes["mode"] = "whole"
    raw = config_to_dict(config)
    return config_from_dict({**raw, "evaluation": {**raw["evaluation"], **changes}})


@pytest.mark.parametrize("mode", ["whole", "slide", "ms_flip"])
def test_two_devices_count_what_one_counts(mode, model, tiny_config):
    config = in_mode(tiny_config(), mode)
    shown = {1: [], 2: []}
    metrics = {}
    for number in shown:
        predictor = predictor_from_model(model, config, devices=BOTH[:number])
        assert predictor.parallel == number

        def show(index, image, truth, labels, to=shown[number]):
            to.append((index, image, truth, labels))

        metrics[number] = evaluate(predictor, config, on_sample=show)
    for name in ("iou", "accuracy", "aacc"):
        np.testing.assert_array_equal(
            getattr(metrics[2], name), getattr(metrics[1], name)
        )
    assert len(np.unique([labels for *_, labels in shown[1]])) > 1
    assert [sample[0] for sample in shown[2]] == [0, 1, 2]
    for one, other in zip(shown[1], shown[2], strict=True):
        for array, same in zip(one[1:], other[1:], strict=True):
            np.testing.assert_array_equal(array, same)


def test_both_devices_compute_at_once(model, tiny_config, ran_on):
    config = tiny_config()
    evaluate(predictor_from_model(model, config, devices=BOTH), config)
    assert set(ran_on) == set(BOTH)


def test_a_single_thread_uses_the_first_device_alone(model, tiny_config, monkeypatch):
    def place(*arguments):
        raise AssertionError("the second device got a copy")

    monkeypatch.setattr(devices.DeviceCopies, "_placed", place)
    predictor = predictor_from_model(model, tiny_config(), devices=BOTH)
    images = np.zeros((4, 32, 32, 3), np.uint8)
    assert len([predictor.labels(image) for image in images]) == 4


def test_a_later_copy_has_the_weights_of_the_first_one(tiny_config, model, ran_on):
    trained = build_model(tiny_config())
    trained.set_weights(model.get_weights())
    predictor = predictor_from_model(trained, tiny_config(), devices=BOTH)
    for weight in trained.variables:
        weight.assign(weight * 0)
    image = np.random.default_rng(1).integers(0, 256, (32, 32, 3), np.uint8)
    with side_by_side(2) as in_order:
        one, other = in_order(predictor.labels, [image, image])
    assert set(ran_on) == set(BOTH)
    expected = predictor_from_model(model, tiny_config()).labels(image)
    np.testing.assert_array_equal(one, expected)
    np.testing.assert_array_equal(other, expected)


def test_a_device_that_fails_is_not_taken_for_damage(model, tiny_config, monkeypatch):
    def search(*arguments):
        raise AssertionError("no record is damaged")

    def fail(copies, device):
        raise tf.errors.ResourceExhaustedError(None, None, "of the second device")

    monkeypatch.setattr("gcnet_tf.data.records.repair.find_damage", search)
    monkeypatch.setattr(devices.DeviceCopies, "_placed", fail)
    copy = overlapping(devices.DeviceCopies._copy)
    monkeypatch.setattr(devices.DeviceCopies, "_copy", copy)
    config = tiny_config()
    predictor = predictor_from_model(model, config, devices=BOTH)
    with pytest.raises(tf.errors.ResourceExhaustedError, match="the second device"):
        evaluate(predictor, config)


def test_files_are_written_in_order_with_failures_named(
    model, tiny_config, tmp_path, ran_on
):
    images = tmp_path / "images"
    images.mkdir()
    rng = np.random.default_rng(2)
    for name in ("a", "b", "d", "e"):
        array = rng.integers(0, 256, (32, 32, 3), np.uint8)
        Image.fromarray(array).save(images / f"{name}.png")
    for name in ("c", "f"):
        (images / f"{name}.png").write_bytes(b"no image")
    outcomes, files = [], []
    for number in (2, 1):
        predictor = predictor_from_model(model, tiny_config(), devices=BOTH[:number])
        out = tmp_path / str(number)
        tasks = plan(images, out, "ids")
        outcomes.append(write_predictions(predictor, tasks, "model", "ids"))
        files.append({path.name: path.read_bytes() for path in out.rglob("*.png")})
    assert outcomes[0] == outcomes[1]
    for name, text in zip(("c.png", "f.png"), outcomes[0].failures, strict=True):
        assert name in text
    assert outcomes[0].num_written == 4
    assert files[0] == files[1] and len(files[0]) >= 4
    assert set(ran_on) == set(BOTH)


def test_at_most_one_result_more_than_devices_waits():
    taken, returned = [], []

    def items():
        for item in range(20):
            taken.append(item)
            yield item

    with side_by_side(3) as in_order:
        for result in in_order(lambda item: item, items()):
            returned.append(result)
            assert len(taken) <= len(returned) + 4
    assert returned == list(range(20))

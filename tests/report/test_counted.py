"""Counts of a report beside formulas and libraries that share no code with them."""

import numpy as np
import pytest
from scipy import ndimage

from gcnet_tf.report.counted.calibration import NUM_BINS, Calibration
from gcnet_tf.report.counted.findings import PackedLabels
from gcnet_tf.report.counted.objects import SIDES, ObjectSizes
from gcnet_tf.report.counted.selection import select


def drawn(seed, classes=4, size=(13, 17)):
    rng = np.random.default_rng(seed)
    probabilities = rng.dirichlet(np.full(classes, 0.3), size).astype(np.float32)
    truth = rng.integers(0, classes, size).astype(np.uint8)
    truth[rng.random(size) < 0.2] = 255
    return probabilities, truth


def test_the_calibration_error_is_its_definition():
    calibration = Calibration()
    pixels = []
    for seed in range(3):
        probabilities, truth = drawn(seed)
        calibration.update(probabilities, truth)
        for values, label in zip(probabilities.reshape(-1, 4), truth.ravel()):
            if label != 255:
                pixels.append((float(max(values)), int(np.argmax(values)) == label))
    expected = 0.0
    for number in range(NUM_BINS):
        low, high = number / NUM_BINS, (number + 1) / NUM_BINS
        last = number == NUM_BINS - 1
        inside = [(p, r) for p, r in pixels if low <= p < high or (last and p >= high)]
        if inside:
            confidence = sum(p for p, _ in inside) / len(inside)
            accuracy = sum(r for _, r in inside) / len(inside)
            expected += len(inside) / len(pixels) * abs(confidence - accuracy)
    assert calibration.error() == pytest.approx(expected, abs=1e-9)
    gap = sum(p for p, _ in pixels) / len(pixels) - sum(r for _, r in pixels) / len(
        pixels
    )
    assert calibration.confidence_gap() == pytest.approx(gap, abs=1e-9)
    assert sum(share for *_, share in calibration.points()) == pytest.approx(1)
    assert calibration.images == 3


def test_a_sure_and_right_model_has_no_calibration_error():
    calibration = Calibration()
    truth = np.array([[0, 1], [1, 255]], np.uint8)
    calibration.update(np.eye(2)[np.minimum(truth, 1)], truth)
    assert calibration.error() == calibration.confidence_gap() == 0


def test_without_labelled_pixels_there_is_no_calibration():
    calibration = Calibration()
    calibration.update(np.ones((2, 2, 1)), np.full((2, 2), 255, np.uint8))
    assert np.isnan(calibration.error()) and np.isnan(calibration.confidence_gap())
    assert calibration.points() == []


def test_objects_are_those_of_another_library():
    rng = np.random.default_rng(1)
    sizes, expected = ObjectSizes(), {}
    for _ in range(3):
        coarse = rng.integers(0, 4, (12, 15)).astype(np.uint8)
        truth = np.kron(coarse, np.ones((9, 9), np.uint8))
        truth[truth == 3] = 255
        labels = np.where(rng.random(truth.shape) < 0.6, truth % 3, 0).astype(np.uint8)
        sizes.update(truth, labels)
        for index in range(3):
            regions, number = ndimage.label(truth == index, np.ones((3, 3)))
            for region in range(1, number + 1):
                inside = regions == region
                side = np.sqrt(inside.sum())
                place = max(i for i, low in enumerate(SIDES) if low <= side)
                missed = float((labels[inside] != index).mean())
                expected.setdefault(place, []).append(missed)
    bins = sizes.bins()
    assert [one.number for one in bins] == [len(v) for _, v in sorted(expected.items())]
    for one, (place, missed) in zip(bins, sorted(expected.items())):
        assert one.title.startswith(str(SIDES[place]))
        assert one.missed == pytest.approx(np.mean(missed))
        assert one.lost == pytest.approx(np.mean([value > 0.5 for value in missed]))


def test_labels_come_back_from_the_pack():
    labels = np.random.default_rng(0).integers(0, 256, (7, 31)).astype(np.uint8)
    np.testing.assert_array_equal(
        PackedLabels(labels[:, ::2]).unpacked(), labels[:, ::2]
    )


def test_the_worst_come_first_and_the_typical_are_near_the_median():
    errors = np.array([0.5, np.nan, 0.1, 0.2, 0.9, 0.3, 0.0, 0.25])
    chosen = select(errors, None, count=2)
    assert chosen.worst == [4, 0] and chosen.typical == [3, 7]
    assert chosen.apart == [] and chosen.all == [0, 3, 4, 7]


@pytest.mark.parametrize("number", range(6))
def test_few_images_are_shown_once_each(number):
    chosen = select(np.linspace(0.1, 0.5, number), None)
    assert sorted(chosen.worst + chosen.typical) == list(range(number))


def test_without_errors_images_are_spread_and_differences_still_count():
    apart = np.array([0.0, 0.2, np.nan, 0.4] * 10)
    chosen = select(np.full(40, np.nan), apart, count=4)
    assert chosen.worst == [] and chosen.typical == [0, 10, 20, 30]
    assert chosen.apart == [3, 7, 11, 15]

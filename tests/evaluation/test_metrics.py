import json

import numpy as np
import pytest

from gcnet_tf.evaluation.metrics import ConfusionMatrix, format_table


def metrics_of(labels, predictions, num_classes):
    matrix = ConfusionMatrix(num_classes)
    matrix.update(np.array(labels), np.array(predictions))
    return matrix.metrics()


def test_a_hand_computed_example():
    # Class 0: 2 of 3 right, 3 predicted: IoU 2/4. Class 1: 1 of 2, 2 predicted: 1/3.
    metrics = metrics_of([0, 0, 0, 1, 1, 255], [0, 0, 1, 0, 1, 1], 2)
    np.testing.assert_allclose(metrics.iou, [1 / 2, 1 / 3])
    np.testing.assert_allclose(metrics.accuracy, [2 / 3, 1 / 2])
    assert metrics.miou == pytest.approx(5 / 12)
    assert metrics.macc == pytest.approx(7 / 12)
    assert metrics.aacc == pytest.approx(3 / 5)


def test_against_sets_of_pixels_over_several_images():
    rng = np.random.default_rng(0)
    matrix, pairs = ConfusionMatrix(5), []
    for size in [(4, 7), (6, 5), (1, 9)]:
        labels = rng.choice([0, 1, 2, 3, 4, 255], size).astype(np.uint8)
        predictions = rng.integers(0, 5, size).astype(np.uint8)
        matrix.update(labels, predictions)
        pairs += [(t, p) for t, p in zip(labels.flat, predictions.flat) if t != 255]
    for index, iou in enumerate(matrix.metrics().iou):
        truth = {i for i, pair in enumerate(pairs) if pair[0] == index}
        predicted = {i for i, pair in enumerate(pairs) if pair[1] == index}
        assert iou == pytest.approx(len(truth & predicted) / len(truth | predicted))


def test_a_class_that_never_occurs_stays_out_of_the_means():
    metrics = metrics_of([0, 0, 1], [0, 0, 1], 3)
    assert np.isnan(metrics.iou[2]) and np.isnan(metrics.accuracy[2])
    assert metrics.miou == metrics.macc == 1.0


def test_a_class_that_is_only_predicted_has_iou_0_and_no_accuracy():
    metrics = metrics_of([0, 0, 0, 0], [0, 0, 0, 2], 3)
    assert metrics.iou[2] == 0 and np.isnan(metrics.accuracy[2])
    assert metrics.miou == pytest.approx((0.75 + 0) / 2)
    assert metrics.macc == pytest.approx(0.75)


def test_nothing_labelled_gives_nan_not_an_error():
    metrics = metrics_of([255, 255], [0, 1], 2)
    assert np.isnan(metrics.miou) and np.isnan(metrics.aacc)


@pytest.mark.parametrize(
    "labels, predictions", [([0, 3], [0, 0]), ([0, 0], [0, 3]), ([0], [0, 1])]
)
def test_refuses_ids_that_are_no_classes_and_other_shapes(labels, predictions):
    with pytest.raises(ValueError, match="Received: "):
        metrics_of(labels, predictions, 3)


def test_json_is_unrounded_and_has_no_nan():
    values = metrics_of([0, 0, 0, 1, 1], [0, 0, 1, 0, 1], 3).to_dict(("a", "b", "c"))
    text = json.dumps(values, allow_nan=False)
    assert json.loads(text)["classes"]["b"]["IoU"] == 1 / 3
    assert values["classes"]["c"] == {"IoU": None, "Acc": None}


def test_table_is_in_percent():
    table = format_table(metrics_of([0, 0, 1], [0, 0, 0], 2), ("road", "sky"))
    assert table.splitlines()[1].split() == ["road", "66.67", "100.00"]
    assert table.splitlines()[-1] == "mIoU 33.33   mAcc 50.00   aAcc 66.67"

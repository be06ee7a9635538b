"""Metrics against the reference's own, with edge cases."""

import numpy as np
import pytest
from golden import load

from gcnet_tf.evaluation.metrics import ConfusionMatrix

GOLDEN = load("metrics")
CASES = sorted(key.split("/")[0] for key in GOLDEN if key.endswith("/label"))


def assert_metrics(matrix, case):
    metrics = matrix.metrics()
    for name in ("iou", "accuracy", "miou", "macc", "aacc"):
        expected = GOLDEN[f"{case}/{name}"]
        np.testing.assert_allclose(getattr(metrics, name), expected, rtol=1e-12)


@pytest.mark.parametrize("case", CASES)
def test_one_image(case):
    matrix = ConfusionMatrix(int(GOLDEN["num_classes"]))
    matrix.update(GOLDEN[f"{case}/label"], GOLDEN[f"{case}/prediction"])
    assert_metrics(matrix, case)


def test_three_images_add_up():
    matrix = ConfusionMatrix(int(GOLDEN["num_classes"]))
    for case in ("all_classes", "absent_class", "single_class"):
        matrix.update(GOLDEN[f"{case}/label"], GOLDEN[f"{case}/prediction"])
    assert_metrics(matrix, "three_images")


def test_all_edge_cases_are_read():
    assert len(CASES) == 7

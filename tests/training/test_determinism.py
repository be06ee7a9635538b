"""One device and two replicas: the same losses, to the last digits of float64."""

import numpy as np
import pytest
from training.runs import final_weights, records

from gcnet_tf.training import train

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("shallow")]


@pytest.fixture(scope="module")
def runs(tiny_config, tmp_path_factory):
    """The configuration, and the run folders for one and two replicas."""
    folder = tmp_path_factory.mktemp("runs")
    config = None
    for replicas in (1, 2):
        config = tiny_config(
            "train.precision=float64",
            "train.batch_size=4",
            "train.iterations=20",
            "train.evaluate_every=10",
            "train.learning_rate=0.02",
            f"train.logical_cpus={replicas}",
        )
        train(config, folder / str(replicas))
    return config, folder / "1", folder / "2"


def test_twenty_losses_agree(runs):
    _, one_replica, two_replicas = runs
    first, second = (
        [r["loss"] for r in records(run, "train")]
        for run in (one_replica, two_replicas)
    )
    assert len(first) == 20 and len(set(first)) == 20
    assert second == pytest.approx(first, rel=1e-10)


def test_the_evaluations_are_equal(runs):
    _, one_replica, two_replicas = runs
    assert [record["iteration"] for record in records(one_replica, "val")] == [10, 20]
    assert records(one_replica, "val") == records(two_replicas, "val")


def test_weights_and_running_statistics_agree(runs):
    config, *folders = runs
    weights = [final_weights(config, run) for run in folders]
    for path, value in weights[0].items():
        assert value.dtype == np.float64
        np.testing.assert_allclose(weights[1][path], value, rtol=1e-8, atol=1e-10)

import pytest
import tensorflow as tf

from gcnet_tf.errors import UserError
from gcnet_tf.training.distributed import strategy
from gcnet_tf.training.distributed.strategy import make_strategy


@pytest.mark.parametrize("parts", [1, 2])
def test_mirrored_over_logical_cpus(parts):
    assert make_strategy("mirrored", parts).num_replicas_in_sync == parts


def test_one_device():
    assert make_strategy("one_device").num_replicas_in_sync == 1


def test_more_logical_cpus_than_this_process_has():
    # The test session divides the CPU in two (conftest.py).
    with pytest.raises(UserError, match="train.logical_cpus is 3.*with 2"):
        make_strategy("mirrored", 3)


def test_a_process_has_one_strategy_object():
    """Two objects would share TensorFlow's collective operations, and mix them up."""
    assert make_strategy("mirrored", 2) is make_strategy("mirrored", 2)


def test_a_gpu_that_runs_already(monkeypatch):
    """In a notebook TensorFlow may have started: devices cannot be changed then."""

    def refuse(device, enable):
        raise RuntimeError(
            "Physical devices cannot be modified after being initialized"
        )

    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: ["a GPU"])
    monkeypatch.setattr(tf.config.experimental, "set_memory_growth", refuse)
    made = strategy._make("one_device", 0, 1)
    assert made.extended.worker_devices[0].endswith("/device:GPU:0")

import pytest

from gcnet_tf.errors import UserError
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

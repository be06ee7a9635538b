"""Errors that mean a lost worker, of TensorFlow's own exchange and of NCCL's."""

import pytest
import tensorflow as tf

from gcnet_tf.training import WorkerLost
from gcnet_tf.training.distributed.strategy import make_strategy
from gcnet_tf.training.distributed.workers import Workers

NCCL = "NCCL: unhandled system error. Set NCCL_DEBUG=WARN for detail."


@pytest.fixture
def workers():
    """One of two workers, as far as errors are concerned."""
    workers = Workers(make_strategy("one_device"))
    workers.number = 2
    return workers


@pytest.mark.parametrize(
    "error",
    [
        tf.errors.UnavailableError(None, None, "Connection reset by peer"),
        tf.errors.InternalError(None, None, NCCL),
        tf.errors.UnknownError(None, None, NCCL),
    ],
)
def test_a_lost_worker(error, workers):
    text = r"Another worker has disappeared \(.*--resume"
    with pytest.raises(WorkerLost, match=text), workers.noticing_losses():
        raise error


def test_another_internal_error_is_none(workers):
    with pytest.raises(tf.errors.InternalError), workers.noticing_losses():
        raise tf.errors.InternalError(None, None, "CUDA: illegal memory access")


def test_alone_no_worker_is_lost(workers):
    workers.number = 1
    with pytest.raises(tf.errors.InternalError), workers.noticing_losses():
        raise tf.errors.InternalError(None, None, NCCL)

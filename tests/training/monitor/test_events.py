"""TensorBoard's own reader of the files of a run that was killed and resumed."""

import pytest
import tensorflow as tf
from tensorboard.backend.event_processing.plugin_event_accumulator import (
    EventAccumulator,
)

from gcnet_tf.training.monitor.events import event_writer


def write(folder, start, values):
    """Logs values from iteration `start` + 1 on."""
    writer = event_writer(folder, start)
    with writer.as_default():
        for step, value in enumerate(values, start + 1):
            tf.summary.scalar("loss", value, step)
    writer.close()


def read(accumulator):
    accumulator.Reload()
    return [
        (event.step, float(tf.make_ndarray(event.tensor_proto)))
        for event in accumulator.Tensors("loss")
    ]


@pytest.mark.parametrize("is_running", [False, True])
def test_iterations_after_the_checkpoint_appear_once(is_running, tmp_path):
    accumulator = EventAccumulator(str(tmp_path))
    write(tmp_path, 0, [0.0, 1.0, 2.0, 3.0, 4.0])
    if is_running:  # TensorBoard has shown them already
        assert len(read(accumulator)) == 5
    write(tmp_path, 2, [7.0, 8.0])
    expected = [(1, 0.0), (2, 1.0), (3, 7.0), (4, 8.0)]
    assert read(accumulator) == expected


def test_a_run_that_was_not_killed_keeps_all(tmp_path):
    write(tmp_path, 0, [0.0, 1.0])
    write(tmp_path, 2, [2.0])
    assert read(EventAccumulator(str(tmp_path))) == [(1, 0.0), (2, 1.0), (3, 2.0)]

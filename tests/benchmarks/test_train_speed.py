"""The worker of `benchmark.py train`; its speed is not tested."""

import json

import numpy as np

from benchmarks.train import worker
from gcnet_tf.config import config_to_dict
from gcnet_tf.training import step as training_step


def test_the_worker_takes_real_steps(tiny_config, tmp_path, monkeypatch):
    file = tmp_path / "config.json"
    file.write_text(json.dumps(config_to_dict(tiny_config())))
    make_train_step, losses = training_step.make_train_step, []

    def make_recording_step(*args, **options):
        step = make_train_step(*args, **options)

        def run(batch):
            step_losses = step(batch)
            losses.append(float(step_losses["decode_loss"]))
            return step_losses

        return run

    monkeypatch.setattr(training_step, "make_train_step", make_recording_step)
    run = worker.step_function(str(file), 2, (32, 48))
    assert [run() for _ in range(8)] == [2] * 8
    assert np.isfinite(losses).all()
    # The batch is the same each time, so that the network learns it.
    assert losses[-1] < losses[0]

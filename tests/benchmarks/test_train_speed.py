"""What `benchmark.py train` runs; how fast it is, is not tested."""

import json

import numpy as np

from benchmarks import train_worker
from gcnet_tf.config import config_to_dict
from gcnet_tf.training import step as training_step


def test_the_worker_takes_real_steps(tiny_config, tmp_path, monkeypatch):
    file = tmp_path / "config.json"
    file.write_text(json.dumps(config_to_dict(tiny_config())))
    make, losses = training_step.make_train_step, []

    def make_remembering(*args):
        step = make(*args)

        def run(batch):
            found = step(batch)
            losses.append(float(found["decode_loss"]))
            return found

        return run

    monkeypatch.setattr(training_step, "make_train_step", make_remembering)
    run = train_worker.step_function(str(file), 2, (32, 48))
    assert [run() for _ in range(8)] == [2] * 8
    assert np.isfinite(losses).all()
    assert losses[-1] < losses[0]  # the same batch each time, so it learns it

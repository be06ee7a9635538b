"""A finished run that goes on with a larger train.iterations."""

import numpy as np
import pytest
from training.runs import records

from gcnet_tf.config import load_config
from gcnet_tf.errors import UserError
from gcnet_tf.training import train
from gcnet_tf.weights.files import checked_state, newest_checkpoint

pytestmark = pytest.mark.usefixtures("toy_network")

TWO, FOUR = "train.iterations=2", "train.iterations=4"


def test_with_a_constant_rate_nothing_tells_that_a_run_was_extended(
    tiny_config, tmp_path
):
    constant = ["train.learning_rate=0.01", "train.min_learning_rate=0.01"]
    config = tiny_config(FOUR, *constant)
    train(config, tmp_path / "whole")
    train(tiny_config(TWO, *constant), tmp_path / "run")
    train(config, tmp_path / "run", resume=True)
    whole, run = (
        checked_state(newest_checkpoint(tmp_path / name)) for name in ("whole", "run")
    )
    assert whole["iteration"] == run["iteration"] == 4
    # A hash of all weights and of the optimiser.
    assert whole["variables"] == run["variables"]
    losses = [
        [line["decode_loss"] for line in records(tmp_path / name, "train")]
        for name in ("whole", "run")
    ]
    assert len(losses[0]) == 4 and losses[0] == losses[1]


def test_the_rate_is_that_of_the_longer_schedule_and_is_told(tiny_config, tmp_path):
    run = tmp_path / "run"
    poly = [
        "train.learning_rate=0.5",
        "train.min_learning_rate=0.1",
        "train.poly_power=1",
    ]
    train(tiny_config(TWO, *poly), run)
    train(tiny_config(FOUR, *poly), run, resume=True)
    rates = [line["learning_rate"] for line in records(run, "train")]
    # (0.5 - 0.1) * (1 - iteration / iterations) + 0.1
    np.testing.assert_allclose(rates, [0.5, 0.3, 0.3, 0.2], rtol=1e-6)
    log = (run / "train.log").read_text()
    assert "train.iterations was 2 and is 4" in log
    assert "longer schedule, 3.000e-01 in place of 1.000e-01" in log
    assert load_config(run / "config.json").train.iterations == 4
    # It is told once: a later resume has the same length.
    train(tiny_config(FOUR, *poly), run, resume=True)
    assert (run / "train.log").read_text().count("train.iterations was") == 1


def test_a_finished_run_names_the_ways_to_train_on(tiny_config, tmp_path):
    run = tmp_path / "my run"
    train(tiny_config(TWO), run)
    before = (run / "train.log").read_text()
    assert "has finished" not in before
    train(tiny_config(TWO), run, resume=True)
    text = (run / "train.log").read_text().removeprefix(before)
    assert "has finished: all 2 iterations are done" in text
    assert "--resume --set train.iterations=N" in text
    assert f"--set 'train.init_from={run}' with another --out" in text


def test_a_run_does_not_become_shorter(tiny_config, tmp_path):
    train(tiny_config(FOUR), tmp_path / "run")
    with pytest.raises(UserError, match="train.iterations was 4 and is 2"):
        train(tiny_config(TWO), tmp_path / "run", resume=True)


def test_the_same_command_says_how_to_go_on(tiny_config, tmp_path):
    train(tiny_config(TWO), tmp_path / "run")
    with pytest.raises(UserError, match="--resume .* a larger train.iterations"):
        train(tiny_config(FOUR), tmp_path / "run")

import keras
import numpy as np
import pytest
from training.optimization.test_optimizers import Parts

from gcnet_tf import compat
from gcnet_tf.config import config_from_dict
from gcnet_tf.errors import UserError
from gcnet_tf.training.optimization.optimizers import make_optimizer
from gcnet_tf.training.optimization.schedules import make_schedule

ADAMW = {"class_name": "AdamW", "config": {"weight_decay": 0.1}}


def config_with(**train):
    data = {"dataset": "folder", "classes": ["a", "b"]}
    return config_from_dict({"data": data, "train": {"iterations": 100, **train}})


@pytest.mark.parametrize("name", ["poly", "cosine", "step", "one_cycle"])
def test_schedules_end_at_the_least_rate_and_round_trip(name):
    steps = {"step_at": [50, 60, 70]} if name == "step" else {}
    config = config_with(schedule=name, min_learning_rate=1e-4, **steps)
    schedule = make_schedule(config.train)
    assert float(schedule(200)) == pytest.approx(1e-4)
    copy = keras.optimizers.schedules.deserialize(
        keras.optimizers.schedules.serialize(schedule)
    )
    for step in (0, 1, 33, 99):
        assert float(copy(step)) == float(schedule(step))
    highest = max(float(schedule(step)) for step in range(100))
    assert highest == pytest.approx(0.01, rel=1e-3)


def test_accumulated_iterations_share_a_rate_in_the_warm_up_as_well():
    config = config_with(warmup_iterations=8, warmup_factor=0.5)
    schedule = make_schedule(config.train)
    schedule.accumulated = 4
    rates = [float(schedule(step)) for step in range(12)]
    np.testing.assert_allclose(rates[:8], [0.005] * 4 + [0.0075] * 4)
    assert rates[8:] == [0.01] * 4


def test_one_setting_each_clips_averages_and_leaves_out_norms():
    config = config_with(clip_norm=0.5, ema_momentum=0.75, norm_bias_decay=False)
    _, optimizer = make_optimizer(config)
    assert (optimizer.global_clipnorm, optimizer.use_ema) == (0.5, True)
    assert (optimizer.ema_momentum, optimizer.decay) == (0.75, 5e-4)
    assert optimizer.undecayed == ["gamma", "beta", "bias"]
    _, optimizer = make_optimizer(config_with())
    assert (optimizer.global_clipnorm, optimizer.use_ema) == (None, False)
    assert optimizer.undecayed == []


@pytest.mark.parametrize("named", [None, ADAMW])
def test_no_decay_on_norms_and_biases(named):
    """Without a gradient, decay alone changes a weight."""

    class Norm(keras.layers.Layer):
        def build(self, input_shape):
            for name in ("kernel", "gamma", "beta", "bias"):
                setattr(self, name, self.add_weight(name=name, initializer="ones"))
            self.built = True

    model = Parts([], 1.0)
    model.part = Norm(name="part", dtype="float64")
    model.part.build(())
    _, optimizer = make_optimizer(config_with(norm_bias_decay=False, optimizer=named))
    compat.build_optimizer(optimizer, model)
    weights = model.trainable_weights
    zeros = [0 * weight for weight in weights]
    compat.apply_gradients(optimizer, zeros, weights)
    changed = [float(weight.numpy()) != 1 for weight in weights]
    assert changed == [True, False, False, False]


@pytest.mark.parametrize(
    "train, message",
    [
        ({"schedule": "cosine", "poly_power": 2}, "train.poly_power: .* with poly"),
        ({"step_at": [5]}, "train.step_at: received .5., but train.schedule is poly"),
        ({"schedule": "step"}, r"train.step_at: received \[\]; allowed .*one iter"),
        ({"schedule": "step", "step_at": [60, 60]}, "in rising order, between 0"),
        ({"schedule": "step", "step_at": [100]}, "and 100 .train.iterations."),
        (
            {"schedule": "step", "step_at": [5], "warmup_iterations": 10},
            "between 10 .the end of the warm-up",
        ),
        (
            {"schedule": "one_cycle", "warmup_iterations": 9},
            "train.warmup_iterations: received 9, but one_cycle",
        ),
        ({"warmup_iterations": 100}, "below train.iterations, which is 100"),
        ({"warmup_factor": 0.5}, "train.warmup_factor: .*there is no warm-up"),
        ({"clip_norm": 1, "optimizer": ADAMW}, "global_clipnorm in train.optimizer"),
        ({"ema_momentum": 0.9, "optimizer": ADAMW}, "use_ema in train.optimizer"),
        ({"norm_bias_decay": False, "weight_decay": 0}, "weight_decay is 0 for all"),
    ],
)
def test_combinations_that_mean_nothing_are_refused(train, message):
    with pytest.raises(UserError, match=message):
        config_with(**train)


def test_an_optimizer_without_decay_has_nothing_to_leave_out():
    adam = {"class_name": "Adam", "config": {}}
    config = config_with(norm_bias_decay=False, optimizer=adam)
    with pytest.raises(UserError, match="Adam of train.optimizer has no weight_decay"):
        make_optimizer(config)

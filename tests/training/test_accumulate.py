"""Batches that are computed in parts, one after the other, and steps of XLA."""

import keras
import numpy as np
import oracles
import pytest
import tensorflow as tf
from training.conftest import Toy
from training.runs import Do, final_weights, records, stop

from gcnet_tf import compat
from gcnet_tf.errors import UserError
from gcnet_tf.training import train
from gcnet_tf.training.distributed.strategy import make_strategy
from gcnet_tf.training.step import make_train_step

STEPS, SAMPLES, CLASSES = 3, 8, 3
RNG = np.random.default_rng(0)
# Models take their inputs in float32.
IMAGES = 255 * RNG.normal(size=(STEPS, SAMPLES, 2, 2, 3)).astype(np.float32)
LABELS = RNG.integers(0, CLASSES, (STEPS, SAMPLES, 2, 2)).astype(np.int32)
KERNEL = RNG.normal(size=(3, CLASSES))
RATE = 0.5


class Exact(Toy):
    """The network of four weights in float64."""

    def __init__(self):
        super().__init__(CLASSES)
        self.decode_head = keras.layers.Dense(
            CLASSES, name="decode_head", dtype="float64"
        )

    def call(self, images, valid_size=None, dropout_seeds=None, training=False):
        return {"logits": self.decode_head(tf.cast(images, tf.float64) / 255)}


def trained(replicas, **options):
    """Returns the weights after steps of plain SGD, and the losses."""
    strategy = make_strategy("mirrored", replicas)
    with strategy.scope():
        model = Exact()
        model.build((None, None, None, 3))
        model.auxiliary_head.trainable = False
        model.decode_head.kernel.assign(KERNEL)
        optimizer = keras.optimizers.SGD(RATE)
        compat.build_optimizer(optimizer, model)
    step = make_train_step(model, optimizer, strategy, 0.0, **options)
    share = SAMPLES // replicas

    def batch_of(number):
        def part(context):
            begin = share * context.replica_id_in_sync_group
            mine = slice(begin, begin + share)
            return {
                "image": tf.constant(IMAGES[number, mine]),
                "label": tf.constant(LABELS[number, mine]),
                "valid_size": tf.fill((share, 2), 2),
                "seed": tf.zeros((share, 2), tf.int32),
            }

        return strategy.experimental_distribute_values_from_function(part)

    losses = [float(step(batch_of(n))["decode_loss"]) for n in range(STEPS)]
    return [weight.numpy() for weight in model.trainable_weights], losses


def steps_of_whole_batches():
    """Computes the same by the formulas."""
    kernel, bias, losses = KERNEL, np.zeros(CLASSES), []
    for images, labels in zip(IMAGES.astype(np.float64) / 255, LABELS):
        probabilities = oracles.softmax(images @ kernel + bias)
        truth = np.eye(CLASSES)[labels]
        losses.append(-np.log((probabilities * truth).sum(-1)).mean())
        error = (probabilities - truth) / labels.size
        kernel = kernel - RATE * np.einsum("nhwi,nhwo->io", images, error)
        bias = bias - RATE * error.sum((0, 1, 2))
    return [kernel, bias], losses


@pytest.mark.parametrize("replicas", [1, 2])
@pytest.mark.parametrize("accumulate", [1, 2, 4])
def test_parts_make_the_step_of_the_whole_batch(accumulate, replicas):
    check(*trained(replicas, accumulate=accumulate))


@pytest.mark.parametrize("accumulate", [1, 2])
def test_xla_makes_the_same_step(accumulate):
    check(*trained(1, accumulate=accumulate, jit_compile=True))


def check(weights, losses):
    """Compares weights and losses with those of `steps_of_whole_batches`."""
    expected, expected_losses = steps_of_whole_batches()
    # TensorFlow keeps the rate of its optimisers in float32, which 0.5 fits into.
    for weight, value in zip(weights, expected):
        np.testing.assert_allclose(weight, value, rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(losses, expected_losses, rtol=1e-12)


@pytest.mark.usefixtures("shallow", "plain_predictor")
def test_a_resumed_run_equals_an_uninterrupted_one(tiny_config, tmp_path):
    """Normalisation moves its statistics with each part, and all is in checkpoints."""
    config = tiny_config("train.accumulate=2", "train.iterations=3")
    train(config, tmp_path / "whole")
    train(config, tmp_path / "resumed", callbacks=[Do(1, stop)])
    train(config, tmp_path / "resumed", resume=True)
    expected = final_weights(config, tmp_path / "whole")
    for path, value in final_weights(config, tmp_path / "resumed").items():
        np.testing.assert_array_equal(value, expected[path], path)
    lines = [records(tmp_path / name, "train") for name in ("whole", "resumed")]
    assert [[line["loss"] for line in part] for part in lines][0] == [
        line["loss"] for line in lines[1]
    ]


def test_parts_must_be_equal(tiny_config, tmp_path):
    config = tiny_config("train.accumulate=2", "train.logical_cpus=2")
    with pytest.raises(UserError, match="batch_size is 2.*in 2 parts.*multiple of 4"):
        train(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_keras_accumulates_in_another_way(tiny_config):
    optimizer = '{"class_name": "SGD", "config": {"gradient_accumulation_steps": 3}}'
    with pytest.raises(UserError, match="accumulate: received 2 beside .*steps 3"):
        tiny_config(f"train.optimizer={optimizer}", "train.accumulate=2")


def test_xla_compiles_one_replica_only(tiny_config, tmp_path):
    config = tiny_config("train.jit_compile=true", "train.logical_cpus=2")
    with pytest.raises(UserError, match="jit_compile: received true with 2 replicas"):
        train(config, tmp_path / "run")

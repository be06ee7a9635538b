"""One replica and two make the same steps, with every option of Keras' optimizers."""

import keras
import numpy as np
import oracles
import pytest
import tensorflow as tf
from training.conftest import Toy

from gcnet_tf import compat
from gcnet_tf.training.distributed.strategy import make_strategy
from gcnet_tf.training.optimization.optimizers import CoupledSGD
from gcnet_tf.training.optimization.schedules import PolynomialDecay
from gcnet_tf.training.step import make_train_step

STEPS, SAMPLES, CLASSES = 6, 4, 3
RNG = np.random.default_rng(0)
# The samples differ, so that a replica's gradient is far from that of the batch.
IMAGES = 255 * RNG.normal(size=(STEPS, SAMPLES, 2, 2, 3)).astype(np.float32)
LABELS = RNG.integers(0, CLASSES, (STEPS, SAMPLES, 2, 2)).astype(np.int32)
KERNEL = RNG.normal(size=(3, CLASSES)).astype(np.float32)

keras_3 = pytest.mark.skipif(compat.MAY_HAVE_ADDONS, reason="Keras 2.15 lacks it")
traced = pytest.mark.skipif(
    compat.MAY_HAVE_ADDONS,
    reason="in Keras 2.15 its momentum depends on how often a function was traced",
)


class Logits(Toy):
    """The network for Keras' own training."""

    def call(self, images, training=False):
        return super().call(images)["logits"]


def toy(cls=Toy):
    """The network without its auxiliary head."""
    model = cls(CLASSES)
    model.build((None, None, None, 3))
    model.auxiliary_head.trainable = False
    model.decode_head.kernel.assign(KERNEL)
    return model


def batch_of(strategy, images, labels):
    """Distributes samples to the replicas."""
    share = SAMPLES // strategy.num_replicas_in_sync

    def part(context):
        begin = share * context.replica_id_in_sync_group
        mine = slice(begin, begin + share)
        return {
            "image": tf.constant(images[mine]),
            "label": tf.constant(labels[mine]),
            "valid_size": tf.fill((share, 2), 2),
            "seed": tf.zeros((share, 2), tf.int32),
        }

    return strategy.experimental_distribute_values_from_function(part)


def trained(make_optimizer, replicas, float16=False):
    """Returns the weights after our steps; fails where the replicas' copies differ."""
    strategy = make_strategy("mirrored", replicas)
    with strategy.scope():
        model, optimizer = toy(), make_optimizer()
        if float16:
            optimizer = compat.with_loss_scale(optimizer)
        compat.build_optimizer(optimizer, model)
    step = make_train_step(model, optimizer, strategy, auxiliary_weight=0.0)
    for images, labels in zip(IMAGES, LABELS):
        step(batch_of(strategy, images, labels))
    for variable in [*model.trainable_weights, *compat.optimizer_variables(optimizer)]:
        value = variable.value if compat.KERAS_3 else variable
        copies = strategy.experimental_local_results(value)
        for copy in copies:
            np.testing.assert_array_equal(copy, copies[0])
    return [weight.numpy() for weight in model.trainable_weights]


def clipped(gradients, clipnorm=None, global_clipnorm=None, clipvalue=None):
    """Clips gradients by the formulas of Keras' documentation."""
    norms = [np.linalg.norm(gradient) for gradient in gradients]
    if clipvalue is not None:
        return [np.clip(gradient, -clipvalue, clipvalue) for gradient in gradients]
    if clipnorm is not None:
        factors = [min(1, clipnorm / norm) for norm in norms]
    else:
        factors = [min(1, global_clipnorm / np.linalg.norm(norms))] * len(norms)
    return [factor * gradient for factor, gradient in zip(factors, gradients)]


def steps_of_sgd(rate, **limits):
    """Computes steps of plain SGD with clipped gradients of the whole batch."""
    kernel, bias = KERNEL.astype(np.float64), np.zeros(CLASSES)
    for images, labels in zip(IMAGES.astype(np.float64) / 255, LABELS):
        probabilities = oracles.softmax(images @ kernel + bias)
        error = (probabilities - np.eye(CLASSES)[labels]) / labels.size
        gradients = [np.einsum("nhwi,nhwo->io", images, error), error.sum((0, 1, 2))]
        step = clipped(gradients, **limits)
        kernel, bias = kernel - rate * step[0], bias - rate * step[1]
    return [kernel, bias]


@pytest.mark.parametrize("replicas", [1, 2])
@pytest.mark.parametrize("limit", ["clipnorm", "global_clipnorm", "clipvalue"])
@pytest.mark.parametrize("float16", [False, True])
def test_the_gradient_of_the_batch_is_clipped(limit, replicas, float16):
    limits = {limit: 0.05}
    weights = trained(lambda: keras.optimizers.SGD(1.0, **limits), replicas, float16)
    for weight, expected in zip(weights, steps_of_sgd(1.0, **limits)):
        np.testing.assert_allclose(weight, expected, rtol=1e-5, atol=1e-6)


AVERAGES = {"use_ema": True, "ema_momentum": 0.5}
OVERWRITTEN = {**AVERAGES, "ema_overwrite_frequency": 2}


@pytest.mark.parametrize("replicas", [1, 2])
@pytest.mark.parametrize(
    "name, options",
    [
        ("SGD", {"momentum": 0.9, "weight_decay": 0.1}),
        ("SGD", {"momentum": 0.9, **OVERWRITTEN}),
        ("AdamW", {"global_clipnorm": 0.01, **AVERAGES}),
        ("Adagrad", {"clipnorm": 0.01, **OVERWRITTEN}),
        pytest.param("Nadam", {"clipnorm": 0.01}, marks=traced),
        pytest.param("SGD", {"gradient_accumulation_steps": 2}, marks=keras_3),
        pytest.param(
            "AdamW",
            {"gradient_accumulation_steps": 3, "clipvalue": 0.01, **OVERWRITTEN},
            marks=keras_3,
        ),
        pytest.param("Adam", {"loss_scale_factor": 64.0}, marks=keras_3),
    ],
)
def test_steps_are_those_of_keras_on_one_device(name, options, replicas):
    check_steps(name, options, replicas)


OTHERS = ("RMSprop", "Adadelta", "Adamax", "Adafactor", "Ftrl", "Lion", "Lamb", "Muon")


@keras_3
@pytest.mark.slow
@pytest.mark.parametrize("name", OTHERS)
@pytest.mark.parametrize(
    "options",
    [
        {"global_clipnorm": 0.01, **OVERWRITTEN},
        {"clipnorm": 0.01, "gradient_accumulation_steps": 2},
    ],
)
def test_every_optimizer_has_every_option_on_two_replicas(name, options):
    check_steps(name, options, replicas=2)


def check_steps(name, options, replicas):
    """Compares our steps with those of Keras' own training on one device."""

    def make_optimizer():
        return getattr(keras.optimizers, name)(0.1, **options)

    oracle = toy(Logits)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    oracle.compile(make_optimizer(), loss)
    for images, labels in zip(IMAGES, LABELS):
        oracle.train_on_batch(images, labels)
    weights = trained(make_optimizer, replicas)
    for weight, expected in zip(weights, oracle.trainable_weights):
        np.testing.assert_allclose(weight, expected.numpy(), rtol=1e-4, atol=2e-6)


@keras_3
@pytest.mark.parametrize("replicas", [1, 2])
def test_accumulated_gradients_make_the_steps_of_larger_batches(replicas):
    """Two batches a step have the rate and the result of one that is twice as large."""
    schedule = PolynomialDecay(0.5, 0.1, STEPS, 0.9, accumulated=2)
    weights = trained(
        lambda: keras.optimizers.SGD(schedule, gradient_accumulation_steps=2), replicas
    )
    kernel, bias = KERNEL.astype(np.float64), np.zeros(CLASSES)
    for step in range(STEPS // 2):
        images = np.concatenate(IMAGES[2 * step :][:2]).astype(np.float64) / 255
        labels = np.concatenate(LABELS[2 * step :][:2])
        error = oracles.softmax(images @ kernel + bias) - np.eye(CLASSES)[labels]
        rate = 0.4 * (1 - step / (STEPS // 2)) ** 0.9 + 0.1
        error *= rate / labels.size
        kernel = kernel - np.einsum("nhwi,nhwo->io", images, error)
        bias = bias - error.sum((0, 1, 2))
    for weight, expected in zip(weights, [kernel, bias]):
        np.testing.assert_allclose(weight, expected, rtol=1e-5, atol=1e-6)


@keras_3
def test_an_optimizer_inside_another_one_sums_once():
    """A wrapper of the user's own hands its gradients to the optimizer inside it."""

    class Wrapper(keras.optimizers.Optimizer):
        def __init__(self):
            super().__init__(learning_rate=0.0)
            self.inside = keras.optimizers.SGD(0.5)

        def build(self, variables):
            super().build(variables)
            self.inside.build(variables)

        def apply(self, grads, trainable_variables=None):
            self.inside.apply(grads, trainable_variables)

    expected = trained(lambda: keras.optimizers.SGD(0.5), 1)
    for weight, value in zip(trained(Wrapper, 2), expected):
        np.testing.assert_allclose(weight, value, rtol=1e-5)


@pytest.mark.parametrize(
    "options", [{}, {"undecayed": ("bias",), "global_clipnorm": 0.05, **AVERAGES}]
)
def test_our_sgd_makes_the_same_steps(options):
    first, second = (
        trained(lambda: CoupledSGD(0.1, **options), replicas) for replicas in (1, 2)
    )
    for values in zip(first, second):
        np.testing.assert_allclose(*values, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("replicas", [1, 2])
def test_our_sgd_clips_the_gradient_of_the_batch(replicas):
    weights = trained(
        lambda: CoupledSGD(1.0, momentum=0.0, decay=0.0, global_clipnorm=0.05), replicas
    )
    for weight, expected in zip(weights, steps_of_sgd(1.0, global_clipnorm=0.05)):
        np.testing.assert_allclose(weight, expected, rtol=1e-5, atol=1e-6)


class Regularised(Toy):
    """The network with a layer that adds losses between two that synchronise."""

    def __init__(self, num_classes):
        super().__init__(num_classes)
        norms = [
            keras.layers.BatchNormalization(synchronized=True, name=f"norm{index}")
            for index in (1, 2)
        ]
        penalties = {"kernel_regularizer": "l2", "activity_regularizer": "l1"}
        self.inside = [norms[0], keras.layers.Dense(3, **penalties), norms[1]]

    def build(self, input_shape):
        for layer in self.inside:
            layer.build((None, None, None, 3))
        super().build(input_shape)

    def call(self, images, training=False, **arguments):
        for layer in self.inside:
            images = layer(images, training=training)
        return super().call(255 * images, training=training)


@pytest.mark.parametrize("replicas", [1, 2])
def test_losses_of_layers_count_once(replicas):
    """Losses of activations are means over the samples, as Keras' own."""
    strategy = make_strategy("mirrored", replicas)
    with strategy.scope():
        model, optimizer = toy(Regularised), keras.optimizers.SGD(1.0)
        dense = model.inside[1]
        dense.kernel.assign(KERNEL)
        compat.build_optimizer(optimizer, model)
    step = make_train_step(
        model,
        optimizer,
        strategy,
        0.0,
        lambda logits, labels: 0 * tf.reduce_sum(logits),
    )
    losses = step(batch_of(strategy, IMAGES[0], LABELS[0]))
    images = IMAGES[0].astype(np.float64)
    images -= images.mean((0, 1, 2))
    images /= np.sqrt(images.var((0, 1, 2)) + model.inside[0].epsilon)
    kernel = KERNEL.astype(np.float64)
    outputs = images @ kernel
    expected = 0.01 * np.sum(kernel**2) + 0.01 * np.sum(np.abs(outputs)) / SAMPLES
    np.testing.assert_allclose(losses["regularization_loss"], expected, rtol=1e-5)
    gradient = 0.02 * kernel
    gradient += 0.01 * np.einsum("nhwi,nhwo->io", images, np.sign(outputs)) / SAMPLES
    np.testing.assert_allclose(dense.kernel.numpy(), kernel - gradient, atol=1e-5)

import keras
import numpy as np
import pytest
import tensorflow as tf

from gcnet_tf.compat import apply_gradients, build_optimizer
from gcnet_tf.training.optimization.optimizers import CoupledSGD
from gcnet_tf.training.optimization.schedules import PolynomialDecay


class Part(keras.layers.Layer):
    def build(self, input_shape):
        self.kernel = self.add_weight(
            name="kernel", shape=np.shape(input_shape), initializer="zeros"
        )
        self.kernel.assign(input_shape)
        self.built = True


class Parts(keras.Model):
    """Layers that have one weight each, "kernel"."""

    def __init__(self, names, start):
        super().__init__(name="gcnet", dtype="float64")
        for name in names:
            setattr(self, name, Part(name=name, dtype="float64"))
            getattr(self, name).build(start)


# docs/reference.md, section 4, column 0.x: iterations T, rate at t = 1, T / 2, T - 1.
@pytest.mark.parametrize(
    "total, second, middle, last",
    [
        (20000, 0.00999955449888623, 0.005405278639554652, 1.0133262574e-4),
        (40000, 0.009999777249721559, 0.005405278639554652, 1.0071413645e-4),
        (80000, 0.00999988862493039, 0.005405278639554652, 1.0038269625e-4),
        (160000, 0.009999944312482597, 0.005405278639554652, 1.0020508184e-4),
    ],
)
def test_poly_rates_of_the_reference(total, second, middle, last):
    schedule = PolynomialDecay(0.01, 1e-4, total, 0.9)
    assert float(schedule(0)) == 0.01
    assert float(schedule(1)) == pytest.approx(second, rel=1e-12)
    assert float(schedule(total // 2)) == pytest.approx(middle, rel=1e-12)
    # The table gives this rate with eleven digits.
    assert float(schedule(total - 1)) == pytest.approx(last, rel=1e-10)
    assert float(schedule(total + 5)) == 1e-4


def reference_steps(weight, gradients, rates, momentum, decay):
    """Computes steps of PyTorch's SGD by its formulas."""
    velocity = 0.0
    for gradient, rate in zip(gradients, rates):
        velocity = momentum * velocity + (gradient + decay * weight)
        weight = weight - rate * velocity
    return weight


def test_equals_pytorchs_update_with_a_changing_rate():
    rng = np.random.default_rng(0)
    start, gradients = rng.normal(size=3), rng.normal(size=(6, 3))
    schedule = PolynomialDecay(0.1, 1e-3, 6, 0.9)
    model = Parts(["head"], start)
    optimizer = CoupledSGD(schedule, momentum=0.9, decay=0.01)
    build_optimizer(optimizer, model)
    (variable,) = model.trainable_weights
    for gradient in gradients:
        apply_gradients(optimizer, [tf.constant(gradient)], [variable])
    rates = [(0.1 - 1e-3) * (1 - t / 6) ** 0.9 + 1e-3 for t in range(6)]
    expected = reference_steps(start, gradients, rates, 0.9, 0.01)
    np.testing.assert_allclose(variable.numpy(), expected, rtol=1e-14)


def test_configuration_round_trips():
    optimizer = CoupledSGD(PolynomialDecay(0.1, 1e-3, 6, 0.9), 0.8, 0.01)
    copy = keras.optimizers.deserialize(keras.optimizers.serialize(optimizer))
    assert isinstance(copy, CoupledSGD)
    assert (copy.momentum, copy.decay) == (0.8, 0.01)


def test_a_part_of_the_model_has_its_own_rate():
    head = PolynomialDecay(0.1, 1e-4, 10, 0.9)
    optimizer = CoupledSGD(0.01, momentum=0.0, decay=0.0, rates={"decode_head": head})
    model = Parts(["backbone", "decode_head", "decode_head2"], 1.0)
    build_optimizer(optimizer, model)
    variables = model.trainable_weights
    for step in range(3):
        before = [float(variable.numpy()) for variable in variables]
        gradients = [tf.constant(1.0, tf.float64)] * 3
        apply_gradients(optimizer, gradients, variables)
        moved = [b - float(v.numpy()) for b, v in zip(before, variables)]
        np.testing.assert_allclose(moved, [0.01, float(head(step)), 0.01], rtol=1e-5)
    copy = CoupledSGD.from_config(optimizer.get_config())
    assert float(copy.rates["decode_head"](3)) == float(head(3))

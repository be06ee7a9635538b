"""Numbers of parameters at full depth and width (docs/reference.md, section 2.3).

The weights are zeros, because to draw a hundred million numbers would take longest.
"""

import keras
import numpy as np
import pytest

from gcnet_tf.models import ResNet, Segmentor


@pytest.fixture(autouse=True)
def zeros(monkeypatch):
    monkeypatch.setattr(
        "gcnet_tf.layers.convolution.conv.he_normal_fan_out", keras.initializers.Zeros
    )


def size_of(weights):
    return sum(int(np.prod(weight.shape)) for weight in weights)


@pytest.mark.parametrize(
    "depth, parameters",
    [(18, 11_195_744), (34, 21_303_904), (50, 23_527_264), (101, 42_519_392)],
)
def test_backbones(depth, parameters):
    model = ResNet(depth)
    model.build((None, None, None, 3))
    assert size_of(model.trainable_weights) == parameters


# Trainable parameters, running statistics.
@pytest.mark.parametrize(
    "depth, num_classes, trainable, running",
    [
        (50, 19, 49_630_215, 56_832),
        (50, 21, 49_631_755, 56_832),
        (50, 150, 49_731_085, 56_832),
        (101, 19, 68_622_343, 109_056),
        (101, 21, 68_623_883, 109_056),
        (101, 150, 68_723_213, 109_056),
    ],
)
def test_whole_networks(depth, num_classes, trainable, running):
    model = Segmentor(num_classes, backbone={"depth": depth}, auxiliary={})
    model.build((None, None, None, 3))
    assert size_of(model.trainable_weights) == trainable
    assert size_of(model.non_trainable_weights) == running


@pytest.mark.parametrize(
    "depth, ratio, parameters",
    [
        (50, 1 / 16, 2_521_741),
        (50, 1 / 4, 10_000_909),
        (101, 1 / 16, 4_788_062),
        (101, 1 / 4, 18_961_694),
    ],
)
def test_parameters_of_context_blocks_at_full_width(depth, ratio, parameters):
    """The additional parameters equal those of the paper exactly."""
    context = {"block": "gc", "stages": (2, 3, 4), "ratio": ratio}
    units = [unit for stage in ResNet(depth, context=context).stages for unit in stage]
    assert [unit.context is None for unit in units[:4]] == [True, True, True, False]
    blocks = [(unit.context, unit.filters) for unit in units if unit.context]
    for block, channels in blocks:
        block.build((None, None, None, channels))
    assert sum(block.count_params() for block, _ in blocks) == parameters

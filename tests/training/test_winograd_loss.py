"""Training with Winograd's convolutions has the losses of direct convolutions."""

import numpy as np
import pytest
from training.runs import records

from gcnet_tf.layers.convolution import trainable
from gcnet_tf.training import train

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("shallow", "plain_predictor")]

ITERATIONS = 48


def test_losses_are_those_of_direct_convolutions(tiny_config, tmp_path, monkeypatch):
    """With all images in each batch the losses are smooth and easy to compare.

    Up to rounding, 2e-7 here, the losses are equal at first, until a ReLU somewhere
    changes its side. A gradient of a kernel or an input that is a tenth, or a
    hundredth, too small makes a difference of 0.002 to 0.06 within ten iterations. In
    the end, the losses of two seeds differ by 0.08 to 0.10.
    """
    config = tiny_config(
        "train.batch_size=6",
        f"train.iterations={ITERATIONS}",
        f"train.evaluate_every={ITERATIONS}",
        f"train.checkpoint_every={ITERATIONS}",
    )
    losses = {}
    for winograd in (False, True):
        monkeypatch.setattr(trainable, "pays", lambda channels, filters: winograd)
        monkeypatch.setattr(trainable, "fills_tiles", lambda shape, dilation: True)
        run = train(config, tmp_path / str(winograd))
        losses[winograd] = np.array([r["loss"] for r in records(run, "train")])
    direct = losses[False]
    assert len(direct) == ITERATIONS
    assert direct[-6:].mean() < 0.8 * direct[:6].mean()
    difference = np.abs(losses[True] - direct)
    assert 0 < difference.mean() < 0.05
    assert difference[:10].max() < 1e-3

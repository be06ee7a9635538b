"""Training with Winograd's convolutions learns what training with direct ones does."""

import json

import numpy as np
import pytest

from gcnet_tf.layers import conv
from gcnet_tf.training import train

ITERATIONS = 200


def losses(config, run):
    train(config, run)
    lines = (run / "metrics.jsonl").read_text().splitlines()
    records = [record for record in map(json.loads, lines) if record["kind"] == "train"]
    return np.array([record["loss"] for record in records])


@pytest.fixture(scope="module")
def curves(tiny_config, tmp_path_factory):
    """Mean losses of ten iterations: direct, Winograd, and direct with another seed."""
    found = {}
    for name, seed, winograd in (
        ("direct", 0, False),
        ("winograd", 0, True),
        ("seed", 1, False),
    ):
        config = tiny_config(
            f"train.seed={seed}",
            f"train.iterations={ITERATIONS}",
            f"train.evaluate_every={ITERATIONS}",
            f"train.checkpoint_every={ITERATIONS}",
            "train.log_every=10",
        )
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(conv, "pays", lambda channels, filters: winograd)
            found[name] = losses(config, tmp_path_factory.mktemp(name) / "run")
    return found


def test_losses_differ_less_than_those_of_two_seeds(curves):
    assert len(curves["direct"]) == ITERATIONS // 10
    assert curves["direct"][-5:].mean() < 0.8 * curves["direct"][:5].mean()
    difference = np.abs(curves["winograd"] - curves["direct"])
    spread = np.abs(curves["seed"] - curves["direct"])
    assert 0 < difference.mean() < spread.mean()
    # At first there is only rounding between them.
    assert difference[0] < 1e-3

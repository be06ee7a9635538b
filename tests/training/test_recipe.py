"""A run with all that a recipe may set, stopped and resumed."""

import json

import numpy as np
import pytest
from training.runs import Do, records, stop

from gcnet_tf.training import train
from gcnet_tf.weights.files import WEIGHTS_FILE, list_checkpoints

TERMS = [
    {"kind": "lovasz", "weight": 0.5},
    {"kind": "hausdorff", "weight": 0.01},
    {"label_smoothing": 0.1},
]
RECIPE = (
    f"train.losses={json.dumps(TERMS)}",
    "train.schedule=cosine",
    "train.warmup_iterations=2",
    "train.warmup_factor=0.5",
    "train.clip_norm=0.1",
    "train.ema_momentum=0.5",
    "train.norm_bias_decay=false",
    "train.class_weights=auto",
    "augment.balanced_crop=0.5",
    "augment.rotation=20",
    "augment.blur=1",
    "augment.grey=0.5",
    "augment.cut_out=0.5",
    "augment.class_mix=0.5",
    "augment.copy_paste=0.5",
)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:train.losses. hausdorff counts pixels")
def test_a_resumed_run_ends_with_the_same_weights(tiny_config, toy_network, tmp_path):
    config = tiny_config(*RECIPE)
    whole = train(config, tmp_path / "whole")
    parts = train(config, tmp_path / "parts", callbacks=[Do(3, stop)])
    assert len(records(parts, "train")) == 3
    train(config, parts, resume=True)
    for first, second in zip(records(whole, "train"), records(parts, "train")):
        assert first["loss"] == second["loss"]
    rates = [record["learning_rate"] for record in records(whole, "train")]
    np.testing.assert_allclose(rates, [0.05, 0.075, 0.1, 0.05005], rtol=1e-6)
    # The best weights are the averages; those of the checkpoint are not.
    files = [list_checkpoints(run)[-1] / WEIGHTS_FILE for run in (whole, parts)]
    assert files[0].read_bytes() == files[1].read_bytes()
    assert (whole / "best.weights.h5").read_bytes() != files[0].read_bytes()

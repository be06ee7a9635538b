"""Colours changed in the training step give the same training."""

import json

import numpy as np

from gcnet_tf.training import train


def losses(run):
    lines = (run / "metrics.jsonl").read_text().splitlines()
    rows = map(json.loads, lines)
    return [row["loss"] for row in rows if row["kind"] == "train"]


def test_the_device_changes_colours_as_the_pipeline_does(tiny_config, tmp_path):
    """On two replicas, so that the draws are shared out with the images."""
    on = "augment.photometric_distortion=true"
    runs = {}
    for name, settings in {
        "pipeline": (on,),
        "device": (on, "augment.photometric_on_device=true", "train.logical_cpus=2"),
        "none": (),
    }.items():
        train(tiny_config("train.iterations=2", *settings), tmp_path / name)
        runs[name] = losses(tmp_path / name)
    # Sums over two replicas are rounded in another order.
    np.testing.assert_allclose(runs["device"], runs["pipeline"], rtol=1e-5)
    assert not np.allclose(runs["none"], runs["pipeline"], rtol=1e-3)

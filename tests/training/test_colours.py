"""Training with colours changed in the step instead of the pipeline."""

import numpy as np
import pytest
from training.runs import records

from gcnet_tf.training import train

pytestmark = pytest.mark.usefixtures("toy_network")


def test_the_device_changes_colours_as_the_pipeline_does(tiny_config, tmp_path):
    """Two replicas check that the draws are divided like the images."""
    on = "augment.photometric_distortion=true"
    runs = {}
    for name, settings in {
        "pipeline": (on,),
        "device": (on, "augment.photometric_on_device=true", "train.logical_cpus=2"),
        "none": (),
    }.items():
        train(tiny_config("train.iterations=2", *settings), tmp_path / name)
        runs[name] = [r["loss"] for r in records(tmp_path / name, "train")]
    # Sums over two replicas round in another order.
    np.testing.assert_allclose(runs["device"], runs["pipeline"], rtol=1e-5)
    assert not np.allclose(runs["none"], runs["pipeline"], rtol=1e-3)

"""The steps of `benchmark.py network`; the speed itself is not tested."""

import pytest

from benchmarks.network import command
from benchmarks.network.worker import make_step, own_statistics
from gcnet_tf.config import load_config


@pytest.mark.slow
@pytest.mark.usefixtures("shallow")
def test_own_statistics_need_no_exchange():
    """Two replicas of this process in place of two hosts."""
    config = load_config(
        "voc_r18_20k",
        [
            *command._SETTINGS,
            "train.strategy=mirrored",
            "train.logical_cpus=2",
        ],
    )
    run, synchronised = make_step(config)
    run()
    with own_statistics():
        run, own = make_step(config)
    run()
    from gcnet_tf.layers import BatchNorm
    from gcnet_tf.models import build_model

    layers = build_model(config)._flatten_layers()
    num_norms = sum(isinstance(layer, BatchNorm) for layer in layers)
    # Two of each layer in both replicas.
    assert synchronised - own == 4 * num_norms
    assert own > 0

import keras
import numpy as np

import gcnet_tf
from gcnet_tf import build_model, load_config
from gcnet_tf.layers import NonLocalBlock
from gcnet_tf.models import Segmentor


def test_builds_what_a_shipped_configuration_says():
    config = load_config(
        "cityscapes_r50_769x769_40k",
        ["model.backbone.base_channels=4", "model.head.channels=16"],
    )
    model = build_model(config)
    assert model.num_classes == 19
    assert model.align_corners
    assert model.backbone.depth == 50
    assert model.decode_head.context.ratio == 0.25
    assert model.auxiliary_head.channels == 256
    assert model(np.zeros((1, 17, 17, 3), np.uint8))["logits"].shape == (1, 17, 17, 19)


def test_blocks_that_a_configuration_names():
    config = load_config(
        "voc_r50_20k_gc_c3c5_r4",
        [
            "model.backbone.base_channels=4",
            "model.head.channels=16",
            "model.head.context.block=nl",
            "model.head.context.mode=dot_product",
        ],
    )
    model = build_model(config)
    assert isinstance(model.decode_head.context, NonLocalBlock)
    assert model.decode_head.context.mode == "dot_product"
    ratios = [
        [unit.context and unit.context.ratio for unit in stage[:2]]
        for stage in model.backbone.stages
    ]
    assert ratios == [[None, None]] + [[0.25, 0.25]] * 3
    config = load_config("camvid_r18_none", ["model.backbone.base_channels=4"])
    model = build_model(config)
    assert model.decode_head.context is None
    again = Segmentor.from_config(model.get_config())
    assert again.decode_head.context is None


def test_same_seed_same_weights():
    config = load_config("shapes_r18", ["model.backbone.base_channels=4"])

    def weights():
        keras.utils.set_random_seed(3)
        return build_model(config).get_weights()

    for first, second in zip(weights(), weights(), strict=True):
        np.testing.assert_array_equal(first, second)


def test_the_package_names_its_public_parts():
    for name in gcnet_tf.__all__:
        assert getattr(gcnet_tf, name) is not None

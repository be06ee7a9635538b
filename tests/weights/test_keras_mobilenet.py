"""Keras' weights in our MobileNets, against the features of Keras' networks."""

import keras
import numpy as np
import pytest
from helpers import draw_weights

from gcnet_tf.config import load_config
from gcnet_tf.errors import UserError
from gcnet_tf.models import MobileNet, Segmentor, build_model
from gcnet_tf.training.initial import initialise
from gcnet_tf.weights.files import assign_weights, weights_by_path
from gcnet_tf.weights.keras_mobilenet import keras_name, keras_weights

WIDTH = 0.35
# Our backbone ends before the convolution that only classification needs.
ENDS = {"mobilenet_v2": "block_16_project_BN"}
NETWORKS = {
    "mobilenet_v2": keras.applications.MobileNetV2,
    "mobilenet_v3_large": keras.applications.MobileNetV3Large,
    "mobilenet_v3_small": keras.applications.MobileNetV3Small,
}
SMALL = "mobilenet_v3_small"


def drawn(architecture, size=(32, 32), **arguments):
    """Makes Keras' network with drawn weights and statistics, none of them neutral."""
    rng = np.random.default_rng(0)
    options = {"include_top": False, "input_shape": (*size, 3), "alpha": WIDTH}
    network = NETWORKS[architecture](weights=None, **options | arguments)
    draw_weights(network, rng, spread=0.3)
    return network


def segmentor(architecture, width=WIDTH):
    model = Segmentor(
        3,
        backbone={"architecture": architecture, "width": width, "output_stride": 32},
        head={"channels": 8, "separable": True},
    )
    model.build((None, None, None, 3))
    return model


# Sizes that are even at every stride, odd at every stride, and both.
@pytest.mark.parametrize(
    "architecture, size",
    [
        (SMALL, (64, 96)),
        (SMALL, (65, 97)),
        ("mobilenet_v2", (65, 96)),
        ("mobilenet_v3_large", (75, 110)),
    ],
)
def test_features_are_those_of_keras(architecture, size, tmp_path):
    network = drawn(architecture, size)
    network.save_weights(tmp_path / "network.weights.h5")
    model = segmentor(architecture)
    values = keras_weights(model.backbone, str(tmp_path / "network.weights.h5"))
    assign_weights(model.backbone, values)
    images = np.random.default_rng(1).integers(0, 256, (2, *size, 3))
    images = images.astype(np.float32)
    # V3 contains the step from 0-255 to -1..1.
    inputs = images / 127.5 - 1 if architecture == "mobilenet_v2" else images
    end = ENDS.get(architecture, network.layers[-1].name)
    expected = keras.Model(network.input, network.get_layer(end).output)(inputs)
    actual = model.backbone(model._normalise(images, None))["stage4"]
    assert np.abs(expected).max() > 0.5
    np.testing.assert_allclose(actual, expected, atol=1e-5)


@pytest.mark.parametrize(
    "architecture, path, name",
    [
        ("mobilenet_v3_large", "stem1/conv/kernel", "conv/kernel"),
        ("mobilenet_v2", "stem1/norm/beta", "bn_Conv1/beta"),
        (
            "mobilenet_v2",
            "stem2/project/norm/gamma",
            "expanded_conv_project_BN/gamma",
        ),
        (
            "mobilenet_v3_large",
            "stage2_block1/squeeze/channel_mul/expand/bias",
            "expanded_conv_3_squeeze_excite_conv_1/bias",
        ),
        ("mobilenet_v2", "stage1_block1/expand/conv/kernel", "block_1_expand/kernel"),
        ("mobilenet_v3_small", "stage4_block4/norm/gamma", "conv_1_bn/gamma"),
    ],
)
def test_names(architecture, path, name):
    backbone = MobileNet(architecture, WIDTH)
    layers = [*backbone.stem, *(b for stage in backbone.stages for b in stage)]
    blocks = [layer.name for layer in layers]
    assert keras_name(path, architecture, blocks) == name


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    """A file with the classifier, in the older format."""
    path = tmp_path_factory.mktemp("keras") / "small.h5"
    drawn(SMALL, include_top=True).save(path)
    return path


def test_a_training_starts_from_a_file_with_a_classifier(file):
    settings = [
        f"model.backbone.architecture={SMALL}",
        f"model.backbone.width={WIDTH}",
        f"model.backbone.pretrained={file}",
        "model.head.channels=8",
    ]
    config = load_config("voc_mobilenetv3_20k", settings)
    model = build_model(config)
    before = {path: w.numpy() for path, w in weights_by_path(model).items()}
    assert "mobilenet_v3_small" in initialise(model, config)
    weights = weights_by_path(model)
    layers = drawn(SMALL, include_top=True).layers
    # By order, because Keras 2.15 has other names.
    norms = [x for x in layers if isinstance(x, keras.layers.BatchNormalization)]
    for ours, theirs in (("stem1", norms[0]), ("stage4_block4", norms[-1])):
        value = weights[f"backbone/{ours}/norm/moving_mean"]
        np.testing.assert_array_equal(value, theirs.moving_mean)
    for path, value in before.items():
        if not path.startswith("backbone/"):
            np.testing.assert_array_equal(weights[path], value)


@pytest.mark.parametrize(
    "architecture, width, message",
    [
        (SMALL, 0.5, "does not hold.*MobileNetV3Small.alpha=0.5.: .*shape"),
        ("mobilenet_v2", WIDTH, "does not hold the weights of .*MobileNetV2.*Layer"),
    ],
)
def test_another_network_is_refused(file, architecture, width, message):
    with pytest.raises(UserError, match=message):
        keras_weights(segmentor(architecture, width).backbone, str(file))


def test_wrong_files_are_refused(tmp_path):
    backbone = segmentor(SMALL).backbone
    with pytest.raises(UserError, match="allowed: imagenet, an existing .h5 file"):
        keras_weights(backbone, str(tmp_path / "gone.h5"))
    broken = tmp_path / "broken.h5"
    broken.write_text("no weights")
    with pytest.raises(UserError, match="broken.h5 does not hold"):
        keras_weights(backbone, str(broken))


def test_imagenet_weights_are_downloaded_by_keras(monkeypatch):
    received = {}

    def network(weights, alpha, **arguments):
        received.update(weights=weights, alpha=alpha)
        return drawn(SMALL, alpha=alpha)

    monkeypatch.setattr(keras.applications, "MobileNetV3Small", network)
    backbone = segmentor(SMALL, 0.75).backbone
    values = keras_weights(backbone, "imagenet")
    assert received == {"weights": "imagenet", "alpha": 0.75}
    assert len(values) == len(backbone.weights)


def test_no_imagenet_weights(monkeypatch):
    with pytest.raises(UserError, match="at width 0.35; allowed: .*0.75, 1.0, or null"):
        keras_weights(segmentor(SMALL).backbone, "imagenet")

    def network(**arguments):
        raise Exception("URL fetch failure on https://host/file: None -- no network")

    monkeypatch.setattr(keras.applications, "MobileNetV3Small", network)
    with pytest.raises(UserError, match="no network. .*pretrained=null"):
        keras_weights(segmentor(SMALL, 0.75).backbone, "imagenet")

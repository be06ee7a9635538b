"""Files of a ResNet-vd, whose shortcut takes means of positions."""

import keras
import numpy as np
import pytest
from helpers import draw_weights

from gcnet_tf.export.onnx import export_onnx
from gcnet_tf.export.saved_model import export_saved_model
from gcnet_tf.export.tflite.export import export_tflite
from gcnet_tf.models import build_model
from gcnet_tf.runtime import open_network

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("write", [export_onnx, export_saved_model, export_tflite])
@pytest.mark.parametrize("size", [(32, 48), (33, 41)])
def test_files_give_the_logits_of_the_model(write, size, tiny_config, tmp_path):
    config = tiny_config("model.backbone.architecture=resnet_vd")
    keras.utils.set_random_seed(0)
    model = build_model(config)
    rng = np.random.default_rng(0)
    draw_weights(model, rng)
    (path,) = write(model, config, tmp_path, size=size)[:1]
    images = rng.integers(0, 256, (1, *size, 3), np.uint8)
    expected = model(images)["logits"].numpy()
    actual = open_network(path)[0].logits(images)
    # The files give probabilities: their logarithms are logits up to a constant.
    difference = (actual - expected) - (actual - expected).mean(-1, keepdims=True)
    assert np.ptp(expected) > 0.1
    assert np.abs(difference).max() < 1e-4 * np.ptp(expected)

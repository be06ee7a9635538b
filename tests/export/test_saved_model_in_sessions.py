"""SavedModels as TensorFlow Serving and Triton run them: in a session of their own."""

import gc

import keras
import numpy as np
import pytest
import tensorflow as tf

from gcnet_tf.export.saved_model import export_saved_model
from gcnet_tf.models import build_model

pytestmark = pytest.mark.usefixtures("shallow")

v1 = tf.compat.v1
RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (2, 33, 47, 3), np.uint8)


def export(config, out, seed=0, **options):
    keras.utils.set_random_seed(seed)
    model = build_model(config)
    classifier = model.decode_head.classifier
    classifier.kernel.assign(
        np.random.default_rng(seed).normal(size=classifier.kernel.shape)
    )
    (path,) = export_saved_model(model, config, out, **options)
    return model, path


def run_in_session(path, name="network", **inputs):
    with tf.Graph().as_default(), v1.Session() as session:
        graph = v1.saved_model.loader.load(session, ["serve"], str(path))
        serve = graph.signature_def[name]
        fetches = {name: info.name for name, info in serve.outputs.items()}
        feeds = {serve.inputs[name].name: value for name, value in inputs.items()}
        return session.run(fetches, feeds)


@pytest.mark.parametrize("target", ["portable", "cpu-fp32"])
def test_a_session_computes_what_the_model_does(tiny_config, tmp_path, target):
    """The head has a convolution of 256 to 256 channels: Winograd's for "cpu-fp32"."""
    model, path = export(
        tiny_config("model.head.channels=256"), tmp_path, target=target
    )
    expected = tf.nn.softmax(model(IMAGES)["logits"]).numpy()
    outputs = run_in_session(path, images=IMAGES)
    np.testing.assert_allclose(outputs["probabilities"], expected, atol=1e-5)
    loaded = tf.saved_model.load(str(path))
    files = np.array([tf.io.encode_png(image).numpy() for image in IMAGES])
    for name, inputs in {
        "serving_default": {"images": IMAGES},
        "serving_probabilities": {"images": IMAGES},
        "serving_encoded": {"image_bytes": files},
        "serving_png": {"image_bytes": files},
    }.items():
        actual = run_in_session(path, name, **inputs)
        expected = loaded.signatures[name](**tf.nest.map_structure(tf.constant, inputs))
        assert actual.keys() == expected.keys()
        for key, value in expected.items():
            if value.dtype == tf.float32:
                np.testing.assert_allclose(actual[key], value, atol=1e-6)
            else:
                np.testing.assert_array_equal(actual[key], value)


def test_files_in_one_process_keep_their_kernels_apart(tiny_config, tmp_path):
    config = tiny_config("model.head.channels=256")
    loaded, expected = [], []
    for seed in (1, 2):
        out = tmp_path / str(seed)
        model, path = export(config, out, seed, target="cpu-fp32")
        loaded.append(tf.saved_model.load(str(path)))
        expected.append(tf.nn.softmax(model(IMAGES)["logits"]).numpy())
    for file, probabilities in zip(loaded, expected):
        outputs = file.signatures["network"](images=tf.constant(IMAGES))
        np.testing.assert_allclose(outputs["probabilities"], probabilities, atol=1e-5)
    assert np.abs(expected[0] - expected[1]).max() > 0.1


def test_kernels_are_freed_with_their_file(tiny_config, tmp_path):
    _, path = export(
        tiny_config("model.head.channels=256"), tmp_path, target="cpu-fp32"
    )
    loaded = tf.saved_model.load(str(path))
    handle = loaded.loaded[0].resource_handle
    assert tf.raw_ops.VarIsInitializedOp(resource=handle)
    del loaded
    gc.collect()
    assert not tf.raw_ops.VarIsInitializedOp(resource=handle)


def test_transformed_kernels_are_not_in_the_file(tiny_config, tmp_path):
    """They are four times as large as the kernels."""
    config = tiny_config("model.head.channels=256")
    sizes = []
    for target in ("portable", "cpu-fp32"):
        _, path = export(config, tmp_path, target=target)
        (data,) = path.glob("variables/variables.data*")
        sizes.append(data.stat().st_size)
    assert sizes[1] < 1.01 * sizes[0]


def test_small_features_of_one_size_keep_no_kernels(tiny_config, tmp_path):
    config = tiny_config("model.head.channels=256")
    model, path = export(config, tmp_path, target="cpu-fp32", size=(24, 24))
    images = IMAGES[:, :24, :24]
    assert not tf.saved_model.load(str(path)).loaded
    expected = tf.nn.softmax(model(images)["logits"]).numpy()
    outputs = run_in_session(path, images=images)
    np.testing.assert_allclose(outputs["probabilities"], expected, atol=1e-5)

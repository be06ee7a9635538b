import keras
import numpy as np
import pytest
import tensorflow as tf

from gcnet_tf.models import ResNet, Segmentor

pytestmark = pytest.mark.usefixtures("shallow")

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (2, 65, 97, 3), np.uint8)


def tiny(**arguments):
    keras.utils.set_random_seed(0)
    model = Segmentor(
        5,
        backbone={"depth": 18, "base_channels": 4},
        head={"channels": 8},
        auxiliary={"channels": 8},
        name="gcnet",
        **arguments,
    )
    model.build((None, None, None, 3))
    return model


def test_logits_have_the_size_of_the_input_and_aux_comes_in_training_only():
    model = tiny()
    outputs = model(IMAGES)
    assert list(outputs) == ["logits"]
    assert outputs["logits"].shape == (2, 65, 97, 5)
    assert outputs["logits"].dtype == tf.float32
    training = model(IMAGES, training=True)
    assert sorted(training) == ["aux_logits", "logits"]
    assert training["aux_logits"].shape == (2, 65, 97, 5)


def test_uint8_and_float_images_are_the_same():
    model = tiny()
    as_float = model(IMAGES.astype(np.float32))["logits"]
    np.testing.assert_array_equal(model(IMAGES)["logits"], as_float)


def test_normalisation():
    images = tiny()._normalise(IMAGES, None).numpy()
    expected = (IMAGES - np.array(ResNet.mean)) / np.array(ResNet.standard_deviation)
    np.testing.assert_allclose(images, expected, atol=1e-5)


def test_padding_is_zero_after_the_normalisation():
    images = tiny()._normalise(IMAGES, tf.constant([[65, 97], [30, 40]])).numpy()
    assert not images[1, 30:].any() and not images[1, :, 40:].any()
    whole = tiny()._normalise(IMAGES, None).numpy()
    np.testing.assert_array_equal(images[0], whole[0])
    np.testing.assert_array_equal(images[1, :30, :40], whole[1, :30, :40])


def test_align_corners_changes_the_enlargement():
    plain, aligned = tiny(), tiny(align_corners=True)
    aligned.set_weights(plain.get_weights())
    assert not np.allclose(
        plain(IMAGES)["logits"], aligned(IMAGES)["logits"], atol=1e-4
    )


@pytest.mark.parametrize("dtype", ["float32", "mixed_bfloat16"])
def test_keras_file_round_trips(dtype, tmp_path):
    model = tiny(dtype=dtype, align_corners=True)
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    assert again.decode_head.conv_after.conv.compute_dtype == model.compute_dtype
    np.testing.assert_array_equal(model(IMAGES)["logits"], again(IMAGES)["logits"])


@pytest.mark.parametrize("dtype", ["mixed_bfloat16", "mixed_float16"])
def test_mixed_precision_stays_close_and_returns_float32(dtype):
    plain, mixed = tiny(), tiny(dtype=dtype)
    mixed.set_weights(plain.get_weights())
    exact, actual = (model(IMAGES)["logits"].numpy() for model in (plain, mixed))
    assert actual.dtype == np.float32
    assert all(weight.dtype == "float32" for weight in mixed.weights)
    assert np.abs(actual - exact).max() < 0.05 * np.abs(exact).max()


def test_summary_names_the_parts(capsys):
    tiny().summary()
    text = capsys.readouterr().out
    for part in ("backbone (ResNet)", "decode_head (ContextHead)", "auxiliary_head"):
        assert part in text
    assert "?" not in text


def test_dropout_seeds_make_training_repeatable():
    model = tiny()
    for head in (model.decode_head, model.auxiliary_head):
        head.classifier.kernel.assign(RNG.normal(size=head.classifier.kernel.shape))
        head.dropout.rate = 0.5

    def logits(seeds, name):
        return model(IMAGES, dropout_seeds=tf.constant(seeds), training=True)[name]

    for name in ("logits", "aux_logits"):
        first = logits([[0, 1], [0, 2]], name)
        np.testing.assert_array_equal(first, logits([[0, 1], [0, 2]], name))
        assert not np.allclose(first, logits([[0, 3], [0, 4]], name))

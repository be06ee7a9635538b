"""Photos sent to a SavedModel's signatures, beside `Predictor`, which is numpy."""

import io

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from gcnet_tf.export.saved_model import export_saved_model
from gcnet_tf.export.server.decode import decode_photo
from gcnet_tf.models import build_model
from gcnet_tf.runtime import Predictor
from gcnet_tf.runtime.image_files import read_image

pytestmark = pytest.mark.usefixtures("shallow")

RNG = np.random.default_rng(0)
EXIF_ORIENTATION = 0x0112


def photo(height, width, *shape):
    """Draws a smooth picture, in which most pixels have a clear label."""
    small = RNG.integers(0, 256, (-(-height // 8), -(-width // 8), *shape), np.uint8)
    return np.asarray(Image.fromarray(small).resize((width, height), Image.BILINEAR))


def encoded(pixels, format="PNG", orientation=None, **settings):
    file = io.BytesIO()
    exif = Image.Exif()
    if orientation is not None:
        exif[EXIF_ORIENTATION] = orientation
        settings["exif"] = exif
    Image.fromarray(pixels).save(file, format, **settings)
    return file.getvalue()


def load(path):
    loaded = tf.saved_model.load(str(path))

    def call(name, **inputs):
        outputs = loaded.signatures[name](
            **{key: tf.constant(value) for key, value in inputs.items()}
        )
        return {key: value.numpy() for key, value in outputs.items()}

    return call


def make_model(config):
    keras.utils.set_random_seed(0)
    model = build_model(config)
    kernel = model.decode_head.classifier.kernel
    kernel.assign(RNG.normal(size=kernel.shape))
    return model


@pytest.fixture(scope="module")
def exported(tiny_config, tmp_path_factory):
    """Folder, and a function that calls its signatures."""
    config = tiny_config("evaluation.scale=[96,64]")
    folder = tmp_path_factory.mktemp("photos")
    (path,) = export_saved_model(make_model(config), config, folder)
    return path, load(path)


def assert_same_labels(actual, expected):
    """Checks labels that rounding may change where two classes are equally likely."""
    assert actual.shape == expected.shape
    assert (actual == expected).mean() > 0.999


MODES = {
    "whole": (["evaluation.scale=[96,64]"], None),
    "one size": (["evaluation.scale=[96,64]"], (48, 64)),
    "corners": (["evaluation.scale=[96,64]", "model.align_corners=true"], None),
    "slide": (
        [
            "evaluation.scale=[96,64]",
            "evaluation.mode=slide",
            "evaluation.window=[48,40]",
            "evaluation.stride=[32,24]",
        ],
        None,
    ),
    "slide in one size": (
        [
            "evaluation.scale=[96,64]",
            "evaluation.mode=slide",
            "evaluation.window=[48,48]",
            "evaluation.stride=[32,32]",
        ],
        (40, 40),
    ),
    "ms_flip": (
        [
            "evaluation.scale=[64,48]",
            "evaluation.ms_flip=true",
            "evaluation.ratios=[0.5,1.25]",
        ],
        None,
    ),
}


@pytest.mark.parametrize("mode", MODES)
def test_every_protocol_is_that_of_the_predictor(mode, tiny_config, tmp_path):
    overrides, size = MODES[mode]
    config = tiny_config(*overrides)
    (path,) = export_saved_model(make_model(config), config, tmp_path, size=size)
    call, predictor = load(path), Predictor(path)
    # Smaller than the scale, six times as large, upright, and a line.
    for height, width in [(40, 50), (387, 580), (200, 90), (1, 70)]:
        images = np.stack([photo(height, width, 3) for _ in range(2)])
        labels = call("serving_default", images=images)["labels"]
        assert_same_labels(labels, predictor(images))
        probabilities = call("serving_probabilities", images=images)["probabilities"]
        expected = predictor.probabilities(images)
        np.testing.assert_allclose(probabilities, expected, atol=2e-5)
        files = [encoded(image) for image in images]
        outputs = call("serving_encoded", image_bytes=files)
        assert_same_labels(outputs["labels"], predictor(images))


def test_a_batch_of_different_photos(exported):
    path, call = exported
    predictor = Predictor(path)
    photos = [photo(300, 200, 3), photo(60, 400, 3), photo(64, 96, 3)]
    files = [encoded(image) for image in photos]
    outputs = call("serving_encoded", image_bytes=files)
    assert outputs["labels"].shape == (3, 300, 400)
    assert outputs["labels"].dtype == np.uint8
    assert outputs["sizes"].tolist() == [[300, 200], [60, 400], [64, 96]]
    assert outputs["errors"].tolist() == [b""] * 3
    pngs = call("serving_png", image_bytes=files)["png_bytes"]
    for image, labels, png in zip(photos, outputs["labels"], pngs):
        height, width, _ = image.shape
        assert_same_labels(labels[:height, :width], predictor(image))
        assert (labels[height:] == 255).all() and (labels[:, width:] == 255).all()
        in_png = np.asarray(Image.open(io.BytesIO(png)))
        np.testing.assert_array_equal(in_png, labels[:height, :width])


def test_one_bad_file_fails_alone(exported):
    _, call = exported
    good = encoded(photo(40, 60, 3))
    bad = {
        b"": "not a readable",
        b"no image": "not a readable",
        good[: len(good) // 2]: "not a readable",
        encoded(RNG.integers(0, 2**16, (40, 60), np.uint16)): "more than 8 bits",
    }
    files = [good, *bad, good]
    outputs = call("serving_encoded", image_bytes=files)
    alone = call("serving_encoded", image_bytes=[good])["labels"][0]
    for place in (0, -1):
        np.testing.assert_array_equal(outputs["labels"][place], alone)
        assert outputs["errors"][place] == b""
    for labels, size, error, words in zip(
        outputs["labels"][1:], outputs["sizes"][1:], outputs["errors"][1:], bad.values()
    ):
        assert (labels == 255).all() and size.tolist() == [0, 0]
        assert words in error.decode()
    pngs = call("serving_png", image_bytes=files)
    assert [bool(png) for png in pngs["png_bytes"]] == [True, *[False] * 4, True]
    assert pngs["errors"].tolist() == outputs["errors"].tolist()
    only_bad = call("serving_encoded", image_bytes=[b"no image"])
    assert only_bad["labels"].shape == (1, 0, 0)


@pytest.fixture(scope="module")
def decode():
    spec = tf.TensorSpec([], tf.string)
    function = tf.function(decode_photo, input_signature=[spec], autograph=False)

    def call(file):
        image, error = function(tf.constant(file))
        return image.numpy(), error.numpy().decode()

    return call


FILES = {
    "grey": encoded(photo(20, 30)),
    "alpha": encoded(photo(20, 30, 4)),
    "grey with alpha": encoded(photo(20, 30, 2)),
    "JPEG": encoded(photo(21, 31, 3), "JPEG"),
    "grey JPEG": encoded(photo(21, 31), "JPEG"),
    "progressive": encoded(photo(21, 31, 3), "JPEG", progressive=True),
    "BMP": encoded(photo(20, 30, 3), "BMP"),
    "GIF": encoded(photo(20, 30), "GIF"),
    "black and white": encoded(photo(20, 30) > 128),
    **{
        f"{format} turned {value}": encoded(photo(24, 40, 3), format, value)
        for format in ("JPEG", "PNG")
        for value in (*range(1, 9), 0, 9, 300)
    },
}


@pytest.mark.parametrize("kind", FILES)
def test_decodes_as_training_does(kind, decode, tmp_path):
    path = tmp_path / "photo"
    path.write_bytes(FILES[kind])
    image, error = decode(FILES[kind])
    assert error == ""
    np.testing.assert_array_equal(image, read_image(path))


def test_reads_exif_in_either_order_of_bytes(decode, tmp_path):
    little = FILES["JPEG turned 6"]
    start = little.index(b"Exif\0\0") + 6
    entry = b"\x01\x12\x00\x03\x00\x00\x00\x01\x00\x06\x00\x00"
    big = b"MM\x00\x2a\x00\x00\x00\x08\x00\x01" + entry + b"\x00\x00\x00\x00"
    # Pillow writes either; both stand in a segment of the same length.
    header = little[start : start + len(big)]
    assert header[:2] in (b"MM", b"II") and little.count(header) == 1
    swapped = b"II\x2a\x00\x08\x00\x00\x00\x01\x00"
    swapped += b"\x12\x01\x03\x00\x01\x00\x00\x00\x06\x00\x00\x00" + b"\x00" * 4
    for tiff in (big, swapped):
        file = little.replace(header, tiff)
        path = tmp_path / "photo"
        path.write_bytes(file)
        expected = read_image(path)
        assert expected.shape == (40, 24, 3)
        np.testing.assert_array_equal(decode(file)[0], expected)


def test_damaged_exif_is_no_error(decode):
    """Any bytes in the header give an image, or a sentence, and always an end."""
    plain = decode(FILES["JPEG turned 1"])[0].shape
    for kind, mark in (("JPEG turned 6", b"Exif"), ("PNG turned 6", b"eXIf")):
        start = FILES[kind].index(mark)
        for _ in range(150):
            file = bytearray(FILES[kind])
            for place in RNG.integers(start - 8, start + 40, 4):
                file[place] = RNG.choice([0, 255, RNG.integers(256)])
            image, error = decode(bytes(file))
            assert error or image.shape in (plain, (plain[1], plain[0], 3))

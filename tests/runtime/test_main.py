"""The runtime's own command, `python -m gcnet_tf.runtime`."""

import json

import numpy as np
import pytest
from exported_files import SIZE, logits, write_tflite
from helpers import random_image
from PIL import Image

from gcnet_tf.runtime.__main__ import main

IMAGE = random_image(1, *SIZE)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return write_tflite(
        tmp_path_factory.mktemp("model"), settings=["evaluation.scale=[32,24]"]
    )


@pytest.fixture
def photo(tmp_path):
    """An image that EXIF turns: its rows are stored as columns."""
    image = Image.fromarray(IMAGE).transpose(Image.Transpose.ROTATE_90)
    exif = Image.Exif()
    exif[0x0112] = 6
    image.save(tmp_path / "photo.png", exif=exif)
    return tmp_path / "photo.png"


def run(*paths):
    return main([str(path) for path in paths])


def test_class_ids_with_the_palette_of_the_manifest(model, photo, tmp_path, capsys):
    assert run(model, photo, tmp_path / "ids.png") == 0
    written = Image.open(tmp_path / "ids.png")
    expected = logits(IMAGE).argmax(-1)
    np.testing.assert_array_equal(np.asarray(written), expected)
    manifest = json.loads(model.with_name(model.name + ".json").read_text())
    colours = np.array(manifest["palette"], np.uint8)[expected]
    np.testing.assert_array_equal(np.asarray(written.convert("RGB")), colours)
    assert capsys.readouterr().out.startswith(f"Wrote {tmp_path / 'ids.png'}: ")


@pytest.mark.parametrize(
    "paths, words",
    [
        (("no.tflite", "photo.png", "ids.png"), "no.tflite does not exist"),
        (("", "no.png", "ids.png"), "Cannot read"),
        (("", "photo.png", "ids.jpg"), "ends in .png"),
        (("", "photo.png", "photo.png"), "is the image itself"),
        (("", "photo.png", "."), "ends in .png"),
        (("", "photo.png", "folder.png"), "is a folder"),
        (("", "photo.png", "no/ids.png"), "Cannot write"),
        (("", "photo.png", "photo.png/ids.png"), "Cannot write"),
    ],
)
def test_one_sentence_for_wrong_paths(model, photo, tmp_path, capsys, paths, words):
    (tmp_path / "folder.png").mkdir()
    before = photo.read_bytes()
    named = [tmp_path / paths[0] if paths[0] else model]
    assert run(*named, *(tmp_path / path for path in paths[1:])) == 2
    error = capsys.readouterr().err
    assert error.startswith("Error: ") and words in error and error.count("\n") == 1
    assert photo.read_bytes() == before and not (tmp_path / "ids.png").exists()

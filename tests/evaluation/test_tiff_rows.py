"""TIFFs that prediction reads by rows, in the mode "tiled"."""

import subprocess
import sys

import numpy as np
import pytest
from helpers import random_image
from PIL import Image

from gcnet_tf.evaluation import prediction_files
from gcnet_tf.evaluation.predictions import plan, write_predictions
from gcnet_tf.evaluation.tiff_rows import open_rows
from gcnet_tf.runtime import Predictor, image_files
from gcnet_tf.runtime.image_files import read_image
from gcnet_tf.runtime.predict import Network
from gcnet_tf.runtime.protocol import Protocol

tifffile = pytest.importorskip("tifffile")

SIZE = (150, 230)
RGB = random_image(0, *SIZE)
TILED = {"photometric": "rgb", "tile": (48, 64)}
PALETTE = ((255, 0, 0), (0, 255, 0), (0, 0, 255))


def with_bands(kind, number):
    bands = [RGB.astype(kind), *[RGB[..., :1].astype(kind)] * number]
    return np.concatenate(bands, axis=2)


READABLE = {
    "plain": (RGB, TILED),
    "big": (RGB, {**TILED, "bigtiff": True}),
    "lzw": (RGB, {**TILED, "compression": "lzw", "predictor": True}),
    "deflate": (RGB, {**TILED, "compression": "deflate"}),
    "zstd": (RGB, {**TILED, "compression": "zstd"}),
    "jpeg": (RGB, {**TILED, "compression": "jpeg", "photometric": "ycbcr"}),
    "strips": (RGB, {"photometric": "rgb", "rowsperstrip": 7}),
    "grey": (RGB[..., 0], {**TILED, "photometric": "minisblack"}),
    "infrared": (with_bands(np.uint8, 1), {**TILED, "extrasamples": [0]}),
    "alpha": (with_bands(np.uint8, 1), {**TILED, "extrasamples": [2]}),
    "five": (with_bands(np.uint8, 2), {**TILED, "extrasamples": [0, 0]}),
}
OTHERS = {
    "deep": (RGB.astype(np.uint16), TILED),
    "inverted": (RGB[..., 0], {**TILED, "photometric": "miniswhite"}),
    "turned": (RGB, {**TILED, "extratags": [(274, "H", 1, 6, True)]}),
    "planar": (RGB.transpose(2, 0, 1), {**TILED, "planarconfig": "separate"}),
    "premultiplied": (with_bands(np.uint8, 1), {**TILED, "extrasamples": [1]}),
    "one_strip": (RGB, {"photometric": "rgb", "rowsperstrip": SIZE[0]}),
}


def write_tiff(path, pixels, options):
    tifffile.imwrite(path, pixels, **options)
    return path


@pytest.mark.parametrize("name", READABLE)
def test_rows_are_those_of_the_whole_image(name, tmp_path):
    path = write_tiff(tmp_path / "a.tif", *READABLE[name])
    whole = read_image(path)
    with open_rows(path) as rows:
        assert rows.size == SIZE
        for start, stop in ((0, 150), (0, 1), (47, 49), (48, 96), (100, 150), (7, 90)):
            part = rows.read(slice(start, stop))
            np.testing.assert_array_equal(part, whole[None, start:stop])
        for step in (1, 2, 5, 100):
            np.testing.assert_array_equal(rows.picture(step), whole[::step, ::step])


@pytest.mark.parametrize("name", OTHERS)
def test_other_kinds_are_left_to_the_reader_of_whole_images(name, tmp_path):
    with open_rows(write_tiff(tmp_path / "a.tif", *OTHERS[name])) as rows:
        assert rows is None


def test_files_that_are_no_tiff(tmp_path):
    Image.fromarray(RGB).save(tmp_path / "a.png")
    (tmp_path / "b.tif").write_bytes(b"II*\0 and then nothing")
    for name in ("a.png", "b.tif", "missing.tif"):
        with open_rows(tmp_path / name) as rows:
            assert rows is None


def test_a_tile_that_was_left_out_is_black(tmp_path):
    path = write_tiff(tmp_path / "a.tif", RGB, TILED)
    with tifffile.TiffFile(path, mode="r+") as file:
        tag = file.pages.first.tags["TileByteCounts"]
        tag.overwrite([0, *tag.value[1:]])
    with open_rows(path) as rows:
        pixels = rows.read(slice(0, SIZE[0]))[0]
    assert not pixels[:48, :64].any()
    np.testing.assert_array_equal(pixels[48:], RGB[48:])
    np.testing.assert_array_equal(pixels[:, 64:], RGB[:, 64:])


def strongest(images):
    return images.argmax(axis=-1).astype(np.uint8)


def segment(source, out):
    protocol = Protocol("tiled", (1, 1), (64, 64), (40, 40), False, (1.0,), False)
    predictor = Predictor.of_network(
        Network(None, strongest), protocol, ("r", "g", "b"), PALETTE
    )
    return write_predictions(predictor, plan(source, out, "ids"), "a" * 64, "ids")


def test_the_predictions_are_those_of_the_whole_image(tmp_path, monkeypatch):
    folder = tmp_path / "in"
    folder.mkdir()
    Image.fromarray(RGB).save(folder / "whole.png")
    assert segment(folder, tmp_path / "out") == (1, 0, [])
    (folder / "whole.png").unlink()
    write_tiff(folder / "rows.tif", RGB, TILED)
    # Neither our limit of pixels nor the reader of whole images is in the way.
    monkeypatch.setattr(image_files, "MAX_PIXELS", 100)
    assert segment(folder, tmp_path / "out") == (1, 0, [])
    for end in (".png", "_overlay.png"):
        rows, whole = (
            np.asarray(Image.open(tmp_path / "out" / f"{name}{end}"))
            for name in ("rows", "whole")
        )
        np.testing.assert_array_equal(rows, whole)


def test_the_limit_names_the_way_around_it(tmp_path, monkeypatch):
    Image.fromarray(RGB).save(tmp_path / "a.png")
    monkeypatch.setattr(image_files, "MAX_PIXELS", 100)
    (failure,) = segment(tmp_path / "a.png", tmp_path / "out").failures
    assert "--mode tiled" in failure and "gcnet_tf[tiff]" in failure


def test_without_the_library_images_are_read_as_a_whole(tmp_path, monkeypatch):
    path = write_tiff(tmp_path / "a.tif", RGB, TILED)
    monkeypatch.setitem(sys.modules, "tifffile", None)
    with open_rows(path) as rows:
        assert rows is None
    assert segment(path, tmp_path / "out") == (1, 0, [])


def test_a_tile_that_is_damaged_is_named(tmp_path):
    path = write_tiff(tmp_path / "a.tif", RGB, {**TILED, "compression": "lzw"})
    path.write_bytes(path.read_bytes()[:-2000])
    (failure,) = segment(path, tmp_path / "out").failures
    assert str(path) in failure and "damaged or cut short" in failure
    assert not list((tmp_path / "out").glob("*"))


def test_an_image_beyond_the_memory_is_named(tmp_path, monkeypatch):
    def fail(self, rows_of, size):
        np.empty((2**20, 2**30))

    path = write_tiff(tmp_path / "a.tif", RGB, TILED)
    monkeypatch.setattr(Predictor, "labels_by_rows", fail)
    (failure,) = segment(path, tmp_path / "out").failures
    assert failure.startswith(f"{path}: 230x150 pixels") and "memory" in failure


@pytest.mark.parametrize("name", ["a.png", "a.tif"])
def test_the_overlay_of_a_large_image_is_smaller(name, tmp_path, monkeypatch):
    if name == "a.tif":
        write_tiff(tmp_path / name, RGB, TILED)
    else:
        Image.fromarray(RGB).save(tmp_path / name)
    monkeypatch.setattr(prediction_files, "MAX_OVERLAY_PIXELS", SIZE[0] * SIZE[1] // 4)
    assert segment(tmp_path / name, tmp_path / "out") == (1, 0, [])
    ids = np.asarray(Image.open(tmp_path / "out" / "a.png"))
    np.testing.assert_array_equal(ids, strongest(RGB))
    with Image.open(tmp_path / "out" / "a_overlay.png") as overlay:
        # Half of the pixels, each twice: small pictures are enlarged.
        assert overlay.width == SIZE[1]


# In a process of its own, because the peak of a process never falls.
PEAK = """
import resource, sys
from pathlib import Path
from gcnet_tf.evaluation.predictions import plan, write_predictions
from gcnet_tf.runtime import Predictor
from gcnet_tf.runtime.predict import Network
from gcnet_tf.runtime.protocol import Protocol

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

network = Network(None, lambda images: images.argmax(axis=-1).astype("uint8"))
protocol = Protocol("tiled", (1, 1), (512, 512), (400, 400), False, (1.0,), False)
colours = ((255, 0, 0), (0, 255, 0), (0, 0, 255))
predictor = Predictor.of_network(network, protocol, ("r", "g", "b"), colours)
tasks = plan(Path(sys.argv[1]), Path(sys.argv[2]), "ids")
before = peak()
assert write_predictions(predictor, tasks, "a" * 64, "ids") == (1, 0, [])
print(peak() - before)
"""


@pytest.mark.slow
def test_the_memory_that_400_million_pixels_take(tmp_path):
    """The image alone, decoded, would take 1.2 GB, and once more in Pillow."""
    side, tile = 20_000, 512
    path = tmp_path / "a.tif"

    def tiles():
        for index in range((-(-side // tile)) ** 2):
            yield np.full((tile, tile, 3), (index % 7, index % 5, 3), np.uint8)

    options = {**TILED, "tile": (tile, tile), "compression": "deflate"}
    tifffile.imwrite(path, tiles(), shape=(side, side, 3), dtype=np.uint8, **options)
    words = [sys.executable, "-c", PEAK, str(path), str(tmp_path / "out")]
    result = subprocess.run(words, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert int(result.stdout) < 3 * side * side

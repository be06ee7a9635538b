"""Parts of an image file that training does not see are named by the check."""

import struct

import numpy as np
import pytest
from helpers import CLASSES, make_folder_tree, random_image
from PIL import Image

from gcnet_tf.config import config_from_dict
from gcnet_tf.data.check.inspect import check_data


def write_tiff(path, pixels):
    """Writes uint8 (height, width, bands); Pillow writes at most four bands."""
    height, width, bands = pixels.shape
    offset = 8 + 2 + 11 * 12 + 4
    values = offset + pixels.nbytes, offset + pixels.nbytes + 2 * bands
    entries = [
        (256, 3, 1, width),
        (257, 3, 1, height),
        (258, 3, bands, values[0]),
        (259, 3, 1, 1),
        (262, 3, 1, 2),
        (273, 4, 1, offset),
        (277, 3, 1, bands),
        (278, 3, 1, height),
        (279, 4, 1, pixels.nbytes),
        (284, 3, 1, 1),
        (338, 3, bands - 3, values[1] if bands > 5 else 0),
    ]
    table = b"".join(struct.pack("<HHII", *entry) for entry in entries)
    bits = struct.pack(f"<{bands}H", *[8] * bands) + bytes(2 * bands)
    header = b"II*\0" + struct.pack("<IH", 8, len(entries))
    path.write_bytes(header + table + bytes(4) + pixels.tobytes() + bits)


@pytest.fixture
def findings_of(tmp_path):
    """Function from a writer of train_000's image to the findings about it."""
    root = make_folder_tree(tmp_path / "source")
    data = {
        "dataset": "folder",
        "root": str(root),
        "records": str(tmp_path / "records"),
        "classes": list(CLASSES),
    }
    augment = {"base_scale": [32, 24], "crop_size": [12, 12]}

    def findings(ending, write):
        (root / "train" / "images" / "train_000.jpg").unlink()
        write(root / "train" / "images" / f"train_000.{ending}")
        config = config_from_dict({"data": data, "augment": augment})
        report = check_data(config, progress=False)
        return {
            (kind, report.num_items("warning"), item.detail)
            for kind, items in report.findings.items()
            for item in items
        }

    return findings


@pytest.mark.parametrize("bands", [4, 5, 6])
def test_bands_that_are_left_out_are_a_warning(bands, findings_of):
    more = np.zeros((24, 32, bands - 3), np.uint8)
    pixels = np.concatenate([random_image(0), more], axis=2)
    assert findings_of("tif", lambda path: write_tiff(path, pixels)) == {
        ("bands_left_out", 1, f"{bands - 3} of {bands} bands")
    }


@pytest.mark.parametrize("mode, text", [("RGBA", "alpha"), ("LA", "grey, alpha")])
def test_alpha_is_noted(mode, text, findings_of):
    image = Image.fromarray(random_image(0)).convert(mode)
    assert findings_of("png", image.save) == {("converted_image", 0, text)}


def test_transparent_colours_are_noted(findings_of):
    image = Image.fromarray(random_image(0)).quantize(7)
    assert findings_of("png", lambda path: image.save(path, transparency=3)) == {
        ("converted_image", 0, "palette, transparent colours")
    }


@pytest.mark.parametrize("ending", ["tif", "png"])
def test_further_pictures_are_noted(ending, findings_of):
    first, second = (Image.fromarray(random_image(seed)) for seed in (0, 1))
    options = {"save_all": True, "append_images": [second]}
    assert findings_of(ending, lambda path: first.save(path, **options)) == {
        ("converted_image", 0, "the first of its pictures")
    }


def test_rgb_files_are_not_noted(findings_of):
    assert findings_of("tif", Image.fromarray(random_image(0)).save) == set()

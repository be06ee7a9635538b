"""Drawn images have the sizes, bytes and labels of Pascal VOC's."""

import io

import numpy as np
from PIL import Image

from benchmarks.pipeline.voc_like import NUM_CLASSES, voc_like, write_voc_like


def decoded(pair):
    return tuple(Image.open(io.BytesIO(encoded)) for encoded in pair)


def test_sizes_bytes_and_labels():
    pairs = list(voc_like(8))
    for index, pair in enumerate(pairs):
        image, label = decoded(pair)
        size = (375, 500) if index % 4 == 3 else (500, 375)  # width, height
        assert image.size == label.size == size
        assert (image.format, image.mode) == ("JPEG", "RGB")
        assert (label.format, label.mode) == ("PNG", "P")
        shares = np.bincount(np.asarray(label).ravel(), minlength=256) / label.width
        assert set(np.flatnonzero(shares)) <= {*range(NUM_CLASSES), 255}
        assert shares[0] == shares.max() and shares[255] > 0
        assert np.count_nonzero(shares[1:NUM_CLASSES]) >= 1
    mean_bytes = np.mean([len(image) for image, _ in pairs])
    assert 80_000 < mean_bytes < 120_000


def test_images_are_a_function_of_the_seed():
    assert list(voc_like(2)) == list(voc_like(2))
    assert list(voc_like(1, seed=1)) != list(voc_like(1))


def test_files_have_the_folder_layout(tmp_path):
    write_voc_like(tmp_path / "set", 2, size=(40, 60))
    files = sorted(path.name for path in tmp_path.rglob("*.*"))
    assert files == ["00000.jpg", "00000.png", "00001.jpg", "00001.png"]

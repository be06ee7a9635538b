"""Photos six times as large as those of training, turned by EXIF, in every signature.

The model is trained here, on what makes each fault visible: classes are the direction
of stripes, so that a photo that stays turned has them the wrong way round, and of one
period, so that a photo that is not scaled has none that the model knows.
"""

import io

import keras
import numpy as np
import pytest
import tensorflow as tf
from helpers import save_image
from PIL import Image

from gcnet_tf.config import load_config
from gcnet_tf.evaluation.load import load_model
from gcnet_tf.export.saved_model import export_saved_model
from gcnet_tf.runtime import Predictor
from gcnet_tf.runtime.image_files import read_image
from gcnet_tf.training import train

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("shallow")]

HEIGHT, WIDTH, PERIOD, TIMES = 48, 64, 6, 6
CLASSES = ("plain", "lying stripes", "standing stripes")
EXIF_ORIENTATION = 0x0112
# What a camera has done to the upright picture when it writes an orientation.
STORED = {
    1: lambda upright: upright,
    2: np.fliplr,
    3: lambda upright: np.rot90(upright, 2),
    4: np.flipud,
    5: lambda upright: upright.swapaxes(0, 1),
    6: np.rot90,
    7: lambda upright: np.rot90(upright, 2).swapaxes(0, 1),
    8: lambda upright: np.rot90(upright, -1),
}


def scene(rng):
    """Draws an image, and its ids: a rectangle of either stripes, somewhere."""
    ids = np.zeros((HEIGHT, WIDTH), np.uint8)
    for class_id in rng.permutation([1, 2]):
        height, width = rng.integers(22, 36, 2)
        top, left = rng.integers(0, (HEIGHT - height, WIDTH - width))
        ids[top : top + height, left : left + width] = class_id
    rows, columns = np.indices(ids.shape) + rng.integers(0, PERIOD, (2, 1, 1))
    bright = np.select(
        [ids == 1, ids == 2], [rows % PERIOD < 3, columns % PERIOD < 3], 0.5
    )
    pixels = 60 + 130 * bright[..., np.newaxis] + rng.normal(0, 6, (*ids.shape, 3))
    return pixels.clip(0, 255).astype(np.uint8), ids


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Returns a trained model, and its configuration."""
    folder, rng = tmp_path_factory.mktemp("stripes"), np.random.default_rng(0)
    for split, number in (("train", 64), ("val", 2)):
        for index in range(number):
            for kind, pixels in zip(("images", "labels"), scene(rng)):
                save_image(folder / "data" / split / kind / f"{index}.png", pixels)
    config = load_config(
        "shapes_r18",
        [
            "data.dataset=folder",
            f"data.root={folder / 'data'}",
            f"data.records={folder / 'records'}",
            f"data.classes={list(CLASSES)}".replace("'", '"'),
            "model.backbone.base_channels=16",
            "model.head.channels=16",
            "model.auxiliary.channels=16",
            f"augment.crop_size=[{HEIGHT},{WIDTH}]",
            f"augment.base_scale=[{WIDTH},{HEIGHT}]",
            "augment.ratio_range=[0.9,1.1]",
            f"evaluation.scale=[{WIDTH},{HEIGHT}]",
            "train.batch_size=8",
            "train.iterations=150",
            "train.evaluate_every=150",
            "train.checkpoint_every=150",
        ],
    )
    keras.utils.set_random_seed(0)
    run = train(config, folder / "run")
    return load_model(None, None, str(run), [])


def files_and_truths(folder):
    """Writes a large photo for each orientation; returns their bytes and true ids."""
    rng, files, truths = np.random.default_rng(1), [], []
    for orientation, store in STORED.items():
        pixels, ids = scene(rng)
        size = (TIMES * WIDTH, TIMES * HEIGHT)
        large = Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC)
        stored = Image.fromarray(np.ascontiguousarray(store(np.asarray(large))))
        exif, file = Image.Exif(), io.BytesIO()
        exif[EXIF_ORIENTATION] = orientation
        stored.save(file, "JPEG", quality=95, exif=exif)
        (folder / f"{orientation}.jpg").write_bytes(file.getvalue())
        files.append(file.getvalue())
        truths.append(ids.repeat(TIMES, axis=0).repeat(TIMES, axis=1))
    return files, truths


def miou(all_labels, truths):
    """Computes mIoU without the package's metrics."""
    labels, truth = np.stack(all_labels), np.stack(truths)
    return np.mean(
        [
            ((labels == id_) & (truth == id_)).sum()
            / ((labels == id_) | (truth == id_)).sum()
            for id_ in range(len(CLASSES))
        ]
    )


@pytest.mark.parametrize("size", [None, (64, 64)])
def test_miou_of_every_signature_is_that_of_the_predictor(size, trained, tmp_path):
    model, config = trained
    (path,) = export_saved_model(model, config, tmp_path, size=size)
    files, truths = files_and_truths(tmp_path)
    photos = [read_image(tmp_path / f"{orientation}.jpg") for orientation in STORED]
    loaded = tf.saved_model.load(str(path))

    def call(name, output, **inputs):
        tensors = {key: tf.constant(value) for key, value in inputs.items()}
        return loaded.signatures[name](**tensors)[output].numpy()

    predictor = Predictor(path)
    expected = miou([predictor(photo) for photo in photos], truths)
    assert expected > 0.8
    images = np.stack(photos)
    pngs = call("serving_png", "png_bytes", image_bytes=files)
    answers = {
        "serving_default": call("serving_default", "labels", images=images),
        "serving_probabilities": call(
            "serving_probabilities", "probabilities", images=images
        ).argmax(-1),
        "serving_encoded": call("serving_encoded", "labels", image_bytes=files),
        "serving_png": [np.asarray(Image.open(io.BytesIO(png))) for png in pngs],
    }
    for name, labels in answers.items():
        assert miou(labels, truths) == pytest.approx(expected, abs=0.005), name
    # Neither fault can hide: not that of a missing scale, nor that of a missing turn.
    if size is None:
        unscaled = call("network", "labels", images=images)
        assert miou(unscaled, truths) < expected - 0.3
    turned = [np.rot90(predictor(np.rot90(photo)), -1) for photo in photos]
    assert miou(turned, truths) < expected - 0.3

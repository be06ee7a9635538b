"""Drawn models and data, for measurements of configurations without a training."""

import io
from pathlib import Path

import keras
import numpy as np
from PIL import Image

from benchmarks.pipeline.voc_like import voc_like
from gcnet_tf.config import Config, config_from_dict, config_to_dict
from gcnet_tf.data.catalog import facts_of
from gcnet_tf.data.prepare import ensure_records
from gcnet_tf.models import Segmentor, build_model
from gcnet_tf.weights.files import weights_by_path

# They calibrate the int8 file, whose speed does not depend on their number.
NUM_IMAGES = 8


def drawn_model(config: Config) -> Segmentor:
    """Builds a new model in which no weights are all zero.

    Speed depends on the weights in two ways only. Branches that end in zeros, as they
    do before training, and biases of zero could be left out (TensorFlow's optimiser
    does leave those out); and numbers near zero slow processors down.
    """
    keras.utils.set_random_seed(0)
    model = build_model(config)
    rng = np.random.default_rng(0)
    for path, weight in weights_by_path(model).items():
        if np.any(weight):
            continue
        if path.endswith("gamma"):
            weight.assign(np.full(weight.shape, 0.3))
        elif path.endswith("kernel"):
            fan_in = int(np.prod(weight.shape[:-1]))
            weight.assign(rng.normal(0, fan_in**-0.5, weight.shape))
        else:
            weight.assign(rng.normal(0, 0.1, weight.shape))
    return model


def with_drawn_images(config: Config, root: Path) -> Config:
    """Draws and converts images, and returns the configuration that reads them.

    The data has as many classes as before; all pixels are of one class.

    Args:
        config: configuration of a model.
        root: new folder for images and records.
    """
    for name in ("images", "labels"):
        (root / "train" / name).mkdir(parents=True)
    for index, (image, label) in enumerate(voc_like(NUM_IMAGES)):
        (root / "train" / "images" / f"{index:05}.jpg").write_bytes(image)
        blank = Image.new("L", Image.open(io.BytesIO(label)).size)
        blank.save(root / "train" / "labels" / f"{index:05}.png")
    num_classes = facts_of(config.data).num_classes
    classes = [f"class {index}" for index in range(num_classes)]
    drawn = with_folder_data(config_to_dict(config), root, classes)
    ensure_records(drawn, ["train"])
    return drawn


def with_folder_data(raw: dict, root: Path, classes: list[str]) -> Config:
    """Returns a configuration on images of the `folder` layout.

    Args:
        raw: configuration as a dict.
        root: folder of the images; records go into its folder `records`.
        classes: names of the classes.
    """
    data = {
        "dataset": "folder",
        "root": str(root),
        "records": str(root / "records"),
        "classes": classes,
    }
    return config_from_dict({**raw, "data": data})

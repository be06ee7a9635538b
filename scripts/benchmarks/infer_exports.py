"""Exports to measure, of a run or of a configuration with drawn weights and images."""

import io
from pathlib import Path

import keras
import numpy as np
from PIL import Image

from benchmarks.voc_like import voc_like
from gcnet_tf.config import Config, config_from_dict, config_to_dict, load_config
from gcnet_tf.data.catalog import facts_of
from gcnet_tf.data.prepare import ensure_records
from gcnet_tf.errors import UserError
from gcnet_tf.evaluation.load import load_model
from gcnet_tf.export.plan import ALL, CPU_FP32, PORTABLE, Checks, plan
from gcnet_tf.export.run import export
from gcnet_tf.models import Segmentor, build_model
from gcnet_tf.weights.files import weights_by_path

# For the calibration of the int8 file, which speed does not depend on.
NUM_IMAGES = 8


def make_exports(
    cfg: str, run: str | None, size: tuple[int, int], folder: Path
) -> None:
    """Writes every format into `folder`/exports.

    What cannot be written is said, and left out.

    Args:
        cfg: a configuration, or the name of a shipped one.
        run: a run folder; None for `cfg` with drawn weights.
        size: (height, width) of the images.
        folder: for the exports and drawn images.
    """
    if run is None:
        config = with_drawn_images(load_config(cfg), folder / "data")
        model = drawn_model(config)
    else:
        model, config = load_model(None, None, run, [])
    text = "{}x{}".format(*size)
    # Which target makes a difference to the SavedModel in fp32 alone.
    for target, jobs in [
        (PORTABLE, plan(ALL, ALL, text, config)),
        (CPU_FP32, plan("saved_model", "fp32", text, config)),
    ]:
        checks = Checks(samples=0)
        try:
            out = folder / "exports"
            export(model, config, jobs, out, target=target, checks=checks)
        except UserError as error:
            print(error)


def drawn_model(config: Config) -> Segmentor:
    """A new model in which nothing is zero.

    Speed depends on weights no more than that: branches that end in zeros, as they do
    before training, and biases of zero could be left out (TensorFlow's optimiser does
    leave those out), and numbers near zero slow processors down.
    """
    keras.utils.set_random_seed(0)
    model = build_model(config)
    rng = np.random.default_rng(0)
    for path, weight in weights_by_path(model).items():
        if path.endswith("gamma") and not np.any(weight):
            weight.assign(np.full(weight.shape, 0.3))
        elif path.endswith("kernel") and not np.any(weight):
            fan_in = int(np.prod(weight.shape[:-1]))
            weight.assign(rng.normal(0, fan_in**-0.5, weight.shape))
        elif not np.any(weight):
            weight.assign(rng.normal(0, 0.1, weight.shape))
    return model


def with_drawn_images(config: Config, root: Path) -> Config:
    """The configuration with data of as many classes, all of one in these images."""
    for name in ("images", "labels"):
        (root / "train" / name).mkdir(parents=True)
    for index, (image, label) in enumerate(voc_like(NUM_IMAGES)):
        (root / "train" / "images" / f"{index:05}.jpg").write_bytes(image)
        blank = Image.new("L", Image.open(io.BytesIO(label)).size)
        blank.save(root / "train" / "labels" / f"{index:05}.png")
    raw = config_to_dict(config)
    names = [f"class {number}" for number in range(facts_of(config.data).num_classes)]
    raw["data"] = {
        "dataset": "folder",
        "root": str(root),
        "records": str(root / "records"),
        "classes": names,
    }
    drawn = config_from_dict(raw)
    ensure_records(drawn, ["train"])
    return drawn

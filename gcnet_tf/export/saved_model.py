"""Export to a TensorFlow SavedModel that a server can load without this package."""

import os
import shutil
from pathlib import Path

import numpy as np
import tensorflow as tf

from gcnet_tf.config import Config, config_to_dict, format_json
from gcnet_tf.data.catalog import facts_of
from gcnet_tf.errors import UserError
from gcnet_tf.fuse import fold, freeze
from gcnet_tf.manifest import ExportManifest, write_manifest
from gcnet_tf.models import Segmentor


def export_saved_model(
    model: Segmentor,
    config: Config,
    out: Path,
) -> float:
    """Writes the folded, frozen network with `manifest.json` and `config.json`.

    Its signature `serving_default` takes `images`, uint8 RGB `(batch, height, width,
    3)` of any size, and returns `labels`, uint8 `(batch, height, width)`, and
    `probabilities`, float32 `(batch, height, width, num_classes)`.

    Returns:
        The largest difference of a probability between the written model, loaded again,
        and `model`, on a random image.

    Raises:
        UserError: when `out` holds something that is not an earlier export.
    """
    _check_replaceable(out)
    partial = out.with_name(out.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    module = _module(model)
    tf.saved_model.save(module, str(partial), signatures=module.serve)
    facts = facts_of(config.data)
    manifest = ExportManifest(
        format="saved_model",
        classes=facts.classes,
        palette=facts.palette,
        inputs={"images": "uint8 RGB (batch, height, width, 3), 0-255, any size"},
        outputs={
            "labels": "uint8 (batch, height, width), class ids",
            "probabilities": "float32 (batch, height, width, num_classes)",
        },
    )
    write_manifest(partial, manifest)
    (partial / "config.json").write_text(format_json(config_to_dict(config)) + "\n")
    difference = _difference(model, partial)
    shutil.rmtree(out, ignore_errors=True)
    os.replace(partial, out)
    return difference


def _check_replaceable(out: Path) -> None:
    if out.is_dir() and (not any(out.iterdir()) or (out / "manifest.json").is_file()):
        return
    if out.exists():
        raise UserError(
            f"{out} exists and is not an earlier export; it stays as it is. "
            "Choose another folder with --out."
        )


def _module(model: Segmentor) -> tf.Module:
    folded = fold(model)

    def infer(images):
        logits = folded(images)["logits"]
        return {
            "labels": tf.cast(tf.argmax(logits, axis=-1), tf.uint8),
            "probabilities": tf.nn.softmax(logits),
        }

    signature = tf.TensorSpec([None, None, None, 3], tf.uint8, name="images")
    module = tf.Module()
    module.serve = tf.function(freeze(infer, signature), input_signature=[signature])
    return module


def _difference(model: Segmentor, saved: Path) -> float:
    images = np.random.default_rng(0).integers(0, 256, (2, 65, 97, 3), np.uint8)
    expected = tf.nn.softmax(model(images)["logits"])
    serve = tf.saved_model.load(str(saved)).signatures["serving_default"]
    found = serve(images=tf.constant(images))["probabilities"]
    return float(tf.reduce_max(tf.abs(found - expected)))

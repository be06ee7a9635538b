"""From a trained model, wherever it lies, to class ids for an image of any size."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import keras
import numpy as np
import tensorflow as tf

from gcnet_tf import inference
from gcnet_tf.config import Config, load_config
from gcnet_tf.data.catalog import DatasetFacts, facts_of
from gcnet_tf.errors import UserError
from gcnet_tf.fuse import inference_function
from gcnet_tf.layers import resize_bilinear
from gcnet_tf.models import Segmentor, build_model
from gcnet_tf.weights import load_weights, weights_of_run


@dataclass(frozen=True)
class Predictor:
    """Runs a network by the configuration's evaluation protocol.

    Attributes:
        predict: RGB uint8 `(height, width, 3)` to scores of the same size.
        config: the configuration; `evaluation` says how images are scaled and cut.
        facts: classes and colours.
    """

    predict: inference.Predict
    config: Config
    facts: DatasetFacts

    def labels(self, image: np.ndarray) -> np.ndarray:
        """Class ids uint8 `(height, width)` of an RGB uint8 image of the same size."""
        evaluation = self.config.evaluation
        height, width = image.shape[:2]
        size = inference.keep_ratio_size(height, width, evaluation.scale)
        resized = image
        if size != (height, width):
            resized = cv2.resize(image, size[::-1], interpolation=cv2.INTER_LINEAR)
        if evaluation.mode == "slide":
            scores = inference.slide(
                self.predict, resized, evaluation.window, evaluation.stride
            )
        else:
            scores = inference.whole(self.predict, resized)
        if size != (height, width):
            # A second resize of the scores, as in the reference: the network's own
            # enlargement goes to its input size only.
            align_corners = self.config.model.align_corners
            scores = resize_bilinear(scores[None], (height, width), align_corners)[0]
        return tf.argmax(scores, axis=-1, output_type=tf.int32).numpy().astype(np.uint8)


def predictor_from_model(model: Segmentor, config: Config) -> Predictor:
    """A predictor with the weights that `model` has now."""
    function = inference_function(model)
    return Predictor(
        predict=lambda image: function(tf.constant(image)[None])[0].numpy(),
        config=config,
        facts=facts_of(config.data),
    )


def load_model(
    cfg: str | None, weights: str | None, model: str | None, overrides: Sequence[str]
) -> tuple[Segmentor, Config]:
    """A Keras model from `--cfg` and `--weights`, or from `--model` (a run or .keras).

    Raises:
        UserError: when the arguments do not name one model, or it cannot be read.
    """
    if model is None:
        if cfg is None or weights is None:
            raise UserError("Give either --model, or both --cfg and --weights.")
        return _with_weights(load_config(cfg, overrides), Path(weights))
    if weights is not None:
        raise UserError("Give either --model or --weights, not both.")
    path = Path(model)
    if path.suffix == ".keras" and path.is_file():
        return _load_keras_file(path, cfg, overrides)
    if (path / "config.json").is_file():
        return _with_weights(
            load_config(str(path / "config.json"), overrides), weights_of_run(path)
        )
    raise UserError(
        f"--model {model} is neither a run folder (with a config.json) nor a .keras "
        "file. A weights file goes with --cfg and --weights."
    )


def load_predictor(
    cfg: str | None, weights: str | None, model: str | None, overrides: Sequence[str]
) -> Predictor:
    """As `load_model`; `--model` may also be an exported SavedModel folder."""
    if model is not None and (Path(model) / "saved_model.pb").is_file():
        return _load_saved_model(Path(model), overrides)
    return predictor_from_model(*load_model(cfg, weights, model, overrides))


def _with_weights(config: Config, weights: Path) -> tuple[Segmentor, Config]:
    model = build_model(config)
    load_weights(model, weights)
    return model, config


def _load_keras_file(
    path: Path, cfg: str | None, overrides: Sequence[str]
) -> tuple[Segmentor, Config]:
    if cfg is None:
        raise UserError(
            f"{path} does not say what its classes are; give its --cfg as well."
        )
    config = load_config(cfg, overrides)
    try:
        model = keras.models.load_model(path)
    except (OSError, ValueError, TypeError) as error:
        raise UserError(f"Cannot read {path} as a Keras model: {error}") from error
    num_classes = facts_of(config.data).num_classes
    if not isinstance(model, Segmentor) or model.num_classes != num_classes:
        raise UserError(
            f"{path} is not a gcnet_tf model of {num_classes} classes, as {cfg} asks."
        )
    return model, config


def _load_saved_model(path: Path, overrides: Sequence[str]) -> Predictor:
    if not (path / "config.json").is_file():
        raise UserError(f"{path} was not written by scripts/export.py: no config.json.")
    config = load_config(str(path / "config.json"), overrides)
    loaded = tf.saved_model.load(str(path))
    function = loaded.signatures["serving_default"]

    def predict(image: np.ndarray) -> np.ndarray:
        probabilities = function(images=tf.constant(image)[None])["probabilities"][0]
        # Logarithms are the logits up to a number per pixel, which changes neither
        # the interpolation between classes nor the mean of windows.
        return np.log(np.maximum(probabilities.numpy(), np.finfo(np.float32).tiny))

    # The signature lives as long as the object it came from.
    predict.owner = loaded  # type: ignore[attr-defined]
    return Predictor(predict, config, facts_of(config.data))

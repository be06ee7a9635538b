"""From a trained model, wherever it lies, to class ids for an image of any size."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
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
        scores = self.scores(image)
        return tf.argmax(scores, axis=-1, output_type=tf.int32).numpy().astype(np.uint8)

    def scores(self, image: np.ndarray) -> np.ndarray:
        """Scores float32 `(height, width, num_classes)` of an RGB uint8 image.

        They are probabilities under `evaluation.ms_flip`, else logits.
        """
        settings = self.config.evaluation

        def at_scale(predict: inference.Predict, scale: tuple[int, int]) -> np.ndarray:
            return inference.at_scale(
                predict, image, scale, _resize_image, self._resize_scores
            )

        predict = self.predict
        if settings.mode == "slide":
            predict = partial(
                inference.slide,
                self.predict,
                window=settings.window,
                stride=settings.stride,
            )
        if not settings.ms_flip:
            return at_scale(predict, settings.scale)
        scales = inference.scales_of(settings.scale, settings.ratios)
        return inference.multi_scale_flip(at_scale, predict, scales)

    def _resize_scores(self, scores: np.ndarray, size: tuple[int, int]) -> np.ndarray:
        align_corners = self.config.model.align_corners
        return resize_bilinear(scores[None], size, align_corners)[0].numpy()


def _resize_image(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    return cv2.resize(image, size[::-1], interpolation=cv2.INTER_LINEAR)


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

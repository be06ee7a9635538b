"""From a trained model, wherever it lies, to class ids for an image of any size."""

from collections.abc import Sequence
from pathlib import Path

import keras
import tensorflow as tf

from gcnet_tf.config import Config, load_config
from gcnet_tf.data.catalog import facts_of
from gcnet_tf.errors import UserError
from gcnet_tf.evaluation.exported import Predictor, is_exported, load_exported
from gcnet_tf.extensions.named import import_modules
from gcnet_tf.models import Segmentor, build_model
from gcnet_tf.models.inference_graph import inference_function
from gcnet_tf.runtime.protocol import Network
from gcnet_tf.weights.files import load_weights, weights_of_run

# A batch shares what Winograd's method does to kernels, and gives small images and
# windows more to divide between the cores. Memory is that of one image of 1024x512.
PIXELS_AT_ONCE = 2**19

__all__ = ["Predictor", "load_model", "load_predictor", "predictor_from_model"]


def predictor_from_model(
    model: Segmentor, config: Config, mode: str | None = None
) -> Predictor:
    """A predictor with the weights that `model` has now; `mode` as in `Predictor`."""
    logits = inference_function(model)

    # It is traced, and takes memory, only where it is used.
    any_images = tf.TensorSpec([None, None, None, 3], tf.uint8)

    @tf.function(input_signature=[any_images], autograph=False)
    def labels(images):
        found = tf.argmax(logits(images), axis=-1, output_type=tf.int32)
        return tf.cast(found, tf.uint8)

    network = Network(
        scores=lambda images: logits(images).numpy(),
        labels=lambda images: labels(tf.constant(images)).numpy(),
        pixels=PIXELS_AT_ONCE,
    )
    return Predictor(network, config, facts_of(config.data), mode)


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
    cfg: str | None,
    weights: str | None,
    model: str | None,
    overrides: Sequence[str],
    mode: str | None = None,
) -> Predictor:
    """As `load_model`; `--model` may also be an exported model.

    Args:
        cfg, weights, model, overrides: the arguments of the scripts.
        mode: as in `Predictor`.
    """
    if model is not None and is_exported(model):
        return load_exported(model, overrides, mode, cfg, weights)
    return predictor_from_model(*load_model(cfg, weights, model, overrides), mode)


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
    import_modules(config)
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

"""Loading of models: a run, weights, a Keras file or an export becomes a predictor.

TensorFlow is imported only for models that need it: .tflite and .onnx files do not.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gcnet_tf.config import Config, config_from_dict, config_to_dict, load_config
from gcnet_tf.data.catalog import facts_of
from gcnet_tf.errors import UserError, first_line
from gcnet_tf.runtime import Predictor, open_network
from gcnet_tf.runtime.backends import SAVED_MODEL, SUFFIXES, format_of
from gcnet_tf.runtime.manifest import ExportManifest, content_hash
from gcnet_tf.runtime.predict import Network
from gcnet_tf.runtime.predictor import protocol_of
from gcnet_tf.runtime.protocol import Protocol
from gcnet_tf.weights.files import load_weights, weights_of_run
from gcnet_tf.weights.keras_file import check_keras_file

if TYPE_CHECKING:
    from gcnet_tf.models import Segmentor

# The images of a batch share Winograd's transform of the kernels, and small images and
# windows in a batch keep all cores busy. The memory is that of one image of 1024x512.
PIXELS_AT_ONCE = 2**19


def is_exported(model: str | None) -> bool:
    """Tells whether `--model` names an exported model, even one that does not exist."""
    return model is not None and (
        format_of(Path(model)) is not None or Path(model).suffix in SUFFIXES
    )


def needs_tensorflow(model: str | None) -> bool:
    """Tells whether the model that `--model` names needs TensorFlow to run."""
    return not is_exported(model) or format_of(Path(str(model))) == SAVED_MODEL


def load_predictor(
    cfg: str | None,
    weights: str | None,
    model: str | None,
    overrides: Sequence[str],
    mode: str | None = None,
) -> tuple[Predictor, Config]:
    """Loads a model for evaluation and prediction, with its configuration.

    Args:
        cfg, weights, model, overrides: as in `load_model`; `model` may also be an
            exported model, whose configuration is in its manifest.
        mode: one of `gcnet_tf.runtime.protocol.MODES`; None for the configuration's.

    Raises:
        UserError: when the arguments do not name one model, or it cannot be read.
    """
    if model is not None and is_exported(model):
        return _load_exported(model, overrides, mode, cfg, weights)
    segmentor, config = load_model(cfg, weights, model, overrides)
    return predictor_from_model(segmentor, config, mode), config


def model_hash(weights: str | None, model: str | None) -> str:
    """Returns the hex SHA-256 of the file, or folder, that holds a model's weights.

    Args:
        weights, model: those with which `load_predictor` has loaded it.
    """
    path = Path(str(weights or model))
    if weights is None and not is_exported(model) and path.is_dir():
        path = weights_of_run(path)
    return content_hash(path)


def load_model(
    cfg: str | None, weights: str | None, model: str | None, overrides: Sequence[str]
) -> tuple["Segmentor", Config]:
    """Loads a Keras model.

    Args:
        cfg: a configuration, which goes with `weights`, or with a .keras file; a run
            has its own.
        weights: a .weights.h5 file.
        model: a run folder or a .keras file, in place of `weights`.
        overrides: changes of the configuration, such as "data.records=elsewhere".

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
        if cfg is not None:
            raise UserError(
                f"--model {model} holds its configuration; leave out --cfg, and change "
                "settings with --set."
            )
        return _with_weights(
            load_config(str(path / "config.json"), overrides), weights_of_run(path)
        )
    raise UserError(
        f"--model {model} is neither a run folder (with a config.json) nor a .keras "
        "file. A weights file goes with --cfg and --weights."
    )


def predictor_from_model(
    model: "Segmentor",
    config: Config,
    mode: str | None = None,
    fold_is_checked: bool = False,
) -> Predictor:
    """Makes a predictor with the weights that `model` has now.

    It computes the folded model, whose logits are first compared with those of `model`.

    Args:
        model: a built model; later training does not reach the predictor.
        config: its configuration, whose `evaluation` is the protocol.
        mode: as in `load_predictor`.
        fold_is_checked: whether this comparison was made before, with other weights.

    Raises:
        UserError: when the two differ, see `check_fold`.
    """
    import tensorflow as tf

    from gcnet_tf.evaluation.agreement import check_fold
    from gcnet_tf.models.inference_graph import inference_function

    logits = inference_function(model)
    if not fold_is_checked:
        check_fold(model, logits)

    # A function with a signature is traced, and takes memory, only when it is called.
    any_images = tf.TensorSpec([None, None, None, 3], tf.uint8)

    @tf.function(input_signature=[any_images], autograph=False)
    def labels(images: tf.Tensor) -> tf.Tensor:
        ids = tf.argmax(logits(images), axis=-1, output_type=tf.int32)
        return tf.cast(ids, tf.uint8)

    network = Network(
        logits=lambda images: logits(images).numpy(),
        labels=lambda images: labels(tf.constant(images)).numpy(),
        pixels=PIXELS_AT_ONCE,
    )
    settings = protocol_settings(config, model.backbone.padding_colour)
    return _predictor(network, settings, config, mode)


def protocol_settings(
    config: Config, padding_colour: tuple[int, int, int]
) -> dict[str, Any]:
    """Collects the settings that `Protocol.from_settings` takes and manifests keep."""
    return {
        **config_to_dict(config)["evaluation"],
        "align_corners": config.model.align_corners,
        "padding_colour": list(padding_colour),
    }


def _predictor(
    network: Network, settings: dict[str, Any], config: Config, mode: str | None
) -> Predictor:
    protocol = Protocol.from_settings(settings).with_mode(mode)
    facts = facts_of(config.data)
    return Predictor.of_network(network, protocol, facts.classes, facts.palette)


def _load_exported(
    model: str,
    overrides: Sequence[str],
    mode: str | None,
    cfg: str | None,
    weights: str | None,
) -> tuple[Predictor, Config]:
    if cfg is not None or weights is not None:
        raise UserError(
            f"--model {model} holds its weights and its configuration; leave out "
            f"--{'cfg' if weights is None else 'weights'}, and change settings with "
            "--set."
        )
    network, manifest = open_network(Path(model))
    config = config_of(Path(model), manifest, overrides)
    if needs_tensorflow(model):
        from gcnet_tf.compat import use_tf32

        use_tf32(config.train.tf32)
    colour = protocol_of(Path(model), manifest).padding_colour
    settings = protocol_settings(config, colour)
    return _predictor(network, settings, config, mode), config


def config_of(path: Path, manifest: ExportManifest, overrides: Sequence[str]) -> Config:
    try:
        written = config_from_dict(manifest.config)
    except UserError as error:
        raise UserError(
            f"The manifest of {path} holds no configuration of this version: {error}"
        ) from error
    config = config_from_dict(manifest.config, overrides)
    classes = facts_of(config.data).classes
    if config.model != written.model or classes != manifest.classes:
        raise UserError(
            f"{path} holds a finished model: --set can change neither model.* nor the "
            "classes. Change them before training, and export again."
        )
    return config


def _with_weights(config: Config, weights: Path) -> tuple["Segmentor", Config]:
    from gcnet_tf.models import build_model

    model = build_model(config)
    load_weights(model, weights)
    return model, config


def _load_keras_file(
    path: Path, cfg: str | None, overrides: Sequence[str]
) -> tuple["Segmentor", Config]:
    import keras

    from gcnet_tf.compat import use_tf32
    from gcnet_tf.extensions.named import import_modules
    from gcnet_tf.models import Segmentor

    if cfg is None:
        raise UserError(
            f"{path} does not say what its classes are; give its --cfg as well."
        )
    config = load_config(cfg, overrides)
    import_modules(config)
    use_tf32(config.train.tf32)
    try:
        check_keras_file(path)
        model = keras.models.load_model(path, compile=False)
    # A damaged file can lead Keras to any exception.
    except Exception as error:
        raise UserError(
            f"Cannot read {path} as a Keras model: {first_line(error)}"
        ) from error
    num_classes = facts_of(config.data).num_classes
    if not isinstance(model, Segmentor) or model.num_classes != num_classes:
        raise UserError(
            f"{path} is not a gcnet_tf model of {num_classes} classes, as {cfg} asks."
        )
    return model, config

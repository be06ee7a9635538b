"""Loading of models: a run, weights, a Keras file or an export becomes a predictor.

TensorFlow is imported only for models that need it: .tflite and .onnx files do not.
"""

import difflib
from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gcnet_tf.config import Config, config_from_dict, config_to_dict, load_config
from gcnet_tf.config.load import shipped_configs
from gcnet_tf.data.catalog import facts_of
from gcnet_tf.errors import UserError, first_line, some
from gcnet_tf.runtime import Predictor, open_network
from gcnet_tf.runtime.backends import SAVED_MODEL, SUFFIXES, format_of
from gcnet_tf.runtime.manifest import ExportManifest, content_hash
from gcnet_tf.runtime.predict import Network
from gcnet_tf.runtime.predictor import protocol_of
from gcnet_tf.runtime.protocol import Protocol
from gcnet_tf.weights.files import SUFFIX, load_weights, weights_of_run
from gcnet_tf.weights.keras_file import check_keras_file
from gcnet_tf.weights.official import (
    cached_path,
    fetch,
    published_checkpoint,
    published_rows,
)
from gcnet_tf.weights.torch.file import read_torch_file

if TYPE_CHECKING:
    from gcnet_tf.models import Segmentor

# A configuration: its file, the name of a shipped one, or the object itself.
Source = str | PathLike | Config

# Of mmsegmentation's checkpoints.
TORCH_SUFFIX = ".pth"
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
    cfg: Source | None,
    weights: str | None,
    model: str | None,
    overrides: Sequence[str],
    mode: str | None = None,
) -> tuple[Predictor, Config]:
    """Loads a model for evaluation and prediction, with its configuration.

    TensorFlow starts only for models that need it.

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
    if weights is None and not is_exported(model):
        if path.is_dir():
            path = weights_of_run(path)
        elif url := _published(path):
            path = cached_path(url)
    return content_hash(path)


def load_model(
    cfg: Source | None,
    weights: str | None,
    model: str | None,
    overrides: Sequence[str],
) -> tuple["Segmentor", Config]:
    """Loads a Keras model.

    Args:
        cfg: a configuration, which goes with `weights`, or with a .keras file; a run
            and a published row have their own.
        weights: a .weights.h5 file, or mmsegmentation's .pth file.
        model: a run folder, a .keras file, or the name of a published row, whose
            checkpoint is downloaded unless it is in the cache; in place of `weights`.
        overrides: changes of the configuration, such as "data.records=elsewhere".

    Raises:
        UserError: when the arguments do not name one model, or it cannot be read.
    """
    if model is None:
        if weights is None:
            raise UserError(
                "Give either a model (--model), or weights with their configuration "
                "(--weights and --cfg)."
            )
        if cfg is None:
            raise UserError(
                f"{weights} holds weights alone; give the configuration of their model "
                "as well (--cfg)."
            )
        return _with_weights(_config(cfg, overrides), Path(weights))
    if weights is not None:
        raise UserError("Give either a model or weights, not both.")
    path = Path(model)
    if path.suffix == ".keras" and path.is_file():
        return _load_keras_file(path, cfg, overrides)
    url = _published(path)
    if url is None and not (path / "config.json").is_file():
        raise _no_model(path)
    if cfg is not None:
        raise UserError(
            f"{model} holds its configuration; leave out the other one (--cfg), and "
            "change settings by overrides (--set)."
        )
    if url is not None:
        return _with_weights(load_config(model, overrides), fetch(url))
    return _with_weights(
        load_config(str(path / "config.json"), overrides), weights_of_run(path)
    )


def _config(source: Source, overrides: Sequence[str]) -> Config:
    if isinstance(source, Config):
        return config_from_dict(config_to_dict(source), overrides)
    return load_config(source, overrides)


def _published(path: Path) -> str | None:
    """Returns the checkpoint's address, if this is no path but a published row."""
    return None if path.exists() else published_checkpoint(str(path))


def _no_model(path: Path) -> UserError:
    """Makes the sentence about a path that holds no model."""
    text = f"{path} is neither a run folder (with a config.json), an exported model, a "
    text += ".keras file, nor the name of a published row. "
    exported = sorted(path.iterdir()) if path.is_dir() else []
    names = [str(item) for item in exported if format_of(item) is not None]
    if names:
        return UserError(f"{text}It holds exported models; name one: {some(names)}.")
    if path.name.endswith((SUFFIX, TORCH_SUFFIX)):
        return UserError(f"{text}Weights go with their configuration (--cfg).")
    if str(path) in shipped_configs():
        return UserError(
            f"{text}It is a configuration without published weights: train it first, "
            "or give weights with it (--weights and --cfg)."
        )
    rows = published_rows()
    near = difflib.get_close_matches(path.name[:100], rows, n=3, cutoff=0.6)
    return UserError(f"{text}The nearest rows are {', '.join(near or rows[:3])}.")


def predictor_from_model(
    model: "Segmentor",
    config: Config,
    mode: str | None = None,
    fold_is_checked: bool = False,
    devices: Sequence[str] = (),
) -> Predictor:
    """Makes a predictor with the weights that `model` has now.

    It computes the folded model, whose logits are first compared with those of `model`.
    Calls from several threads use one device each.

    Args:
        model: a built model; later training does not reach the predictor.
        config: its configuration, whose `evaluation` is the protocol.
        mode: as in `load_predictor`.
        fold_is_checked: whether this comparison was made before, with other weights.
        devices: names of the devices that compute; empty for `local_devices`.

    Raises:
        UserError: when the two differ, see `check_fold`.
    """
    from gcnet_tf.evaluation.agreement import check_fold
    from gcnet_tf.evaluation.devices import DeviceCopies, local_devices

    devices = devices or local_devices()
    copies = DeviceCopies(model, devices)
    if not fold_is_checked:
        check_fold(model, copies.first_logits)
    network = Network(
        logits=copies.logits,
        labels=copies.labels,
        pixels=PIXELS_AT_ONCE,
        parallel=len(devices),
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
    cfg: Source | None,
    weights: str | None,
) -> tuple[Predictor, Config]:
    if cfg is not None or weights is not None:
        raise UserError(
            f"{model} holds its weights and its configuration; leave out "
            f"{'cfg' if weights is None else 'weights'}, and change settings by "
            "overrides (--set)."
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
            f"{path} holds a finished model: neither model.* nor the classes can be "
            "changed (--set). Change them before training, and export again."
        )
    return config


def _with_weights(config: Config, weights: Path) -> tuple["Segmentor", Config]:
    from gcnet_tf.models import build_model
    from gcnet_tf.weights.import_mmseg import imported_model

    if weights.suffix == TORCH_SUFFIX:
        model, _ = imported_model(read_torch_file(weights), config, str(weights))
        return model, config
    model = build_model(config)
    load_weights(model, weights)
    return model, config


def _load_keras_file(
    path: Path, cfg: Source | None, overrides: Sequence[str]
) -> tuple["Segmentor", Config]:
    import keras

    from gcnet_tf.compat import use_tf32
    from gcnet_tf.extensions.named import import_modules
    from gcnet_tf.models import Segmentor

    if cfg is None:
        raise UserError(
            f"{path} does not say what its classes are; give its configuration as well "
            "(--cfg)."
        )
    config = _config(cfg, overrides)
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
            f"{path} is not a gcnet_tf model of {num_classes} classes, as its "
            "configuration asks."
        )
    return model, config

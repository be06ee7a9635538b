"""Initial weights of a new training: random, of a backbone, or of a whole model."""

from pathlib import Path

import h5py
import numpy as np

from gcnet_tf.config import Config
from gcnet_tf.config.validate import MAX_CLASSES
from gcnet_tf.errors import UserError
from gcnet_tf.files.address import is_address
from gcnet_tf.files.reading import reading
from gcnet_tf.files.remote.inputs import local_copy
from gcnet_tf.models import MobileNet, Segmentor
from gcnet_tf.weights.files import (
    SUFFIX,
    assign_weights,
    load_weights,
    weight_shapes,
    weights_by_path,
    weights_of_run,
)
from gcnet_tf.weights.keras_mobilenet import keras_weights
from gcnet_tf.weights.mmseg_checkpoint import match_backbone, match_segmentor
from gcnet_tf.weights.mmseg_names import is_classifier
from gcnet_tf.weights.official import (
    fetch,
    imagenet_backbone,
    published_checkpoint,
    published_rows,
)
from gcnet_tf.weights.second_set import one_set
from gcnet_tf.weights.torch.file import read_torch_file


def initialise(model: Segmentor, config: Config) -> str:
    """Loads the initial weights that `config` describes.

    Returns:
        A sentence that tells which weights were loaded, and which were left out.

    Raises:
        UserError: when the weights are missing, damaged, or of another model.
    """
    if config.train.init_from is not None:
        return _load_model(model, config.train.init_from, config.train.init_ema)
    pretrained = config.model.backbone.pretrained
    if pretrained is not None:
        return _load_backbone(model, pretrained)
    return "Starting from random weights."


def _load_backbone(model: Segmentor, source: str) -> str:
    if isinstance(model.backbone, MobileNet):
        file = local_copy(source, "model.backbone.pretrained")
        assign_weights(model.backbone, keras_weights(model.backbone, file))
        return (
            f"Starting with Keras' {model.backbone.architecture}, {source}; the heads "
            "have random weights."
        )
    if source == "imagenet":
        source = imagenet_backbone(model.backbone.depth)
    try:
        if is_address(source):
            path = fetch(source)
        else:
            path = Path(local_copy(source, "model.backbone.pretrained"))
    except UserError as error:
        raise UserError(
            f"{error} To start from random weights: --set "
            "model.backbone.pretrained=null"
        ) from error
    state, _ = one_set(read_torch_file(path), False, path.name)
    matched = match_backbone(state, weight_shapes(model), path.name)
    assign_weights(model, matched.weights)
    return f"Starting with the backbone {path.name}; the heads have random weights."


def _load_model(model: Segmentor, source: str, ema: bool) -> str:
    path = Path(local_copy(source, "train.init_from"))
    second_set = ""
    if ema and not source.endswith(".pth"):
        raise UserError(
            f"train.init_ema: received true with {source}; it goes with a .pth file, "
            "which may have a second set of weights."
        )
    if (path / "config.json").is_file():
        values = _values_of_weights(model, weights_of_run(path))
    elif source.endswith(SUFFIX):
        values = _values_of_weights(model, path)
    elif source.endswith(".pth"):
        values, second_set = _values_of_torch_file(model, path, ema)
    elif url := published_checkpoint(source):
        values, second_set = _values_of_torch_file(model, fetch(url), False)
    else:
        raise UserError(
            f"train.init_from: received {source}; allowed: a run folder, a {SUFFIX} or "
            f".pth file, or one of {', '.join(published_rows())}."
        )
    assign_weights(model, values)
    left_out = sorted(weight_shapes(model).keys() - values.keys())
    if not left_out:
        return f"Starting from {source}, all weights.{second_set}"
    return (
        f"Starting from {source}, which has another number of classes than the "
        f"{model.num_classes} here: all weights but {', '.join(left_out)}."
        f"{second_set}"
    )


def _values_of_torch_file(
    model: Segmentor, path: Path, ema: bool
) -> tuple[dict[str, np.ndarray], str]:
    """Returns the weights, and a sentence about another set of them in the file."""
    state, left_out = one_set(read_torch_file(path), ema, path.name)
    shapes = weight_shapes(model)
    matched = match_segmentor(state, shapes, path.name, drop_other_classes=True)
    sentence = (
        f" Left out: {next(iter(left_out.values()))} ({len(left_out)} tensors); "
        f"train.init_ema={str(not ema).lower()} takes it."
        if left_out
        else ""
    )
    return matched.weights, sentence


def _values_of_weights(model: Segmentor, path: Path) -> dict[str, np.ndarray]:
    """Reads a weights file through a model with the file's number of classes."""
    num_classes = _num_classes(path) or model.num_classes
    twin = Segmentor.from_config({**model.get_config(), "num_classes": num_classes})
    twin.build((None, None, None, 3))
    load_weights(twin, path)
    return {
        name: weight.numpy()
        for name, weight in weights_by_path(twin).items()
        if num_classes == model.num_classes or not is_classifier(name)
    }


def _num_classes(path: Path) -> int | None:
    """Reads the number of classes of a weights file; None if the file lacks it."""
    if not path.is_file():
        return None  # `load_weights` tells the user
    try:
        with reading(path), h5py.File(path) as file:
            # Variable 1 is the bias: a layer makes its kernel first.
            num_classes = int(file["decode_head/classifier/vars/1"].shape[0])
    except (OSError, KeyError, AttributeError, IndexError, RuntimeError):
        return None
    return num_classes if num_classes <= MAX_CLASSES else None

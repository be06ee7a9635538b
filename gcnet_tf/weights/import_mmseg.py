"""Import of a checkpoint of mmsegmentation into our weights file."""

import warnings
from pathlib import Path

from gcnet_tf.config import Config
from gcnet_tf.data.catalog import facts_of
from gcnet_tf.files.results import new_result
from gcnet_tf.models import Segmentor, build_model
from gcnet_tf.weights.files import assign_weights, save_weights, weight_shapes
from gcnet_tf.weights.mmseg_checkpoint import (
    Matched,
    difference_of_classes,
    match_segmentor,
)
from gcnet_tf.weights.second_set import one_set
from gcnet_tf.weights.torch.file import TorchFile


def import_weights(
    file: TorchFile, config: Config, out: Path, source: str, second: bool = False
) -> str:
    """Writes the weights in `file` for the model of `config`.

    It warns when the checkpoint has other names of classes.

    Args:
        file, config, source, second: as in `model_of_checkpoint`.
        out: the new weights file.

    Returns:
        A text that accounts for all tensors, see `Matched.account`.

    Raises:
        UserError: when the checkpoint belongs to another model, or the file cannot be
            written.
    """
    model, matched = model_of_checkpoint(file, config, source, second)
    with new_result(out) as partial:
        save_weights(model, partial)
    return f"{matched.account()}\nclasses: {model.num_classes}"


def model_of_checkpoint(
    file: TorchFile, config: Config, source: str, second: bool = False
) -> tuple[Segmentor, Matched]:
    """Builds the model of `config` with the weights of a checkpoint.

    It warns when the checkpoint has other names of classes.

    Args:
        file: the checkpoint.
        config: the configuration of the model.
        source: the name of the checkpoint in messages.
        second: whether to take the second of its two sets of weights, see `one_set`.

    Returns:
        The model, and what became of every tensor.

    Raises:
        UserError: when the checkpoint belongs to another model.
    """
    model = build_model(config)
    state, left_out = one_set(file, second, source)
    matched = match_segmentor(state, weight_shapes(model), source).without(left_out)
    assign_weights(model, matched.weights)
    classes = facts_of(config.data).classes
    if difference := difference_of_classes(file.meta, classes):
        warnings.warn(difference, stacklevel=2)
    return model, matched

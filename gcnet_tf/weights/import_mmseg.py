"""Import of a checkpoint of mmsegmentation into our weights file."""

import warnings
from pathlib import Path

from gcnet_tf.config import Config
from gcnet_tf.data.catalog import facts_of
from gcnet_tf.files.results import new_result
from gcnet_tf.models import Segmentor, build_model
from gcnet_tf.weights.files import assign_weights, save_weights, weight_shapes
from gcnet_tf.weights.mmseg_checkpoint import difference_of_classes, match_segmentor
from gcnet_tf.weights.second_set import one_set
from gcnet_tf.weights.torch.file import TorchFile


def import_weights(
    file: TorchFile, config: Config, out: Path, source: str, second: bool = False
) -> str:
    """Writes the weights in `file` for the model of `config`, see `imported_model`.

    Args:
        file: the checkpoint.
        config: the configuration of the model.
        out: the new weights file.
        source: the name of the checkpoint in messages.
        second: whether to take the second of its two sets of weights, see `one_set`.

    Returns:
        A text that accounts for all tensors, see `Matched.account`.

    Raises:
        UserError: when the checkpoint belongs to another model, or the file cannot be
            written.
    """
    model, account = imported_model(file, config, source, second)
    with new_result(out) as partial:
        save_weights(model, partial)
    return account


def imported_model(
    file: TorchFile, config: Config, source: str, second: bool = False
) -> tuple[Segmentor, str]:
    """Builds the model of `config` with the weights in `file`.

    It warns when the checkpoint has other names of classes.

    Args:
        file, config, source, second: as in `import_weights`.

    Returns:
        The model, and a text that accounts for all tensors, see `Matched.account`.

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
    return model, f"{matched.account()}\nclasses: {len(classes)}"

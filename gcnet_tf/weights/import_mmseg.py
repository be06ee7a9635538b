"""Import of a checkpoint of mmsegmentation into our weights file."""

import warnings
from pathlib import Path

from gcnet_tf.config import Config
from gcnet_tf.data.catalog import facts_of
from gcnet_tf.files.results import new_result
from gcnet_tf.models import build_model
from gcnet_tf.weights.files import assign_weights, save_weights, weight_shapes
from gcnet_tf.weights.mmseg_checkpoint import difference_of_classes, match_segmentor
from gcnet_tf.weights.torch_file import TorchFile


def import_weights(file: TorchFile, config: Config, out: Path, source: str) -> str:
    """Writes the weights in `file` for the model of `config`.

    It warns when the checkpoint has other names of classes.

    Args:
        file: the checkpoint.
        config: the configuration of the model.
        out: the new weights file.
        source: the name of the checkpoint in messages.

    Returns:
        A text that accounts for all tensors, see `Matched.account`.

    Raises:
        UserError: when the checkpoint belongs to another model, or the file cannot be
            written.
    """
    model = build_model(config)
    matched = match_segmentor(file.state_dict, weight_shapes(model), source)
    assign_weights(model, matched.weights)
    with new_result(out) as partial:
        save_weights(model, partial)
    classes = facts_of(config.data).classes
    if difference := difference_of_classes(file.meta, classes):
        warnings.warn(difference, stacklevel=2)
    return f"{matched.account()}\nclasses: {len(classes)}"

"""Conversion of an mmsegmentation checkpoint to our weights, which misses no tensor."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gcnet_tf.errors import UserError, some
from gcnet_tf.weights.mmseg_names import (
    is_classifier,
    paths_without_reference,
    reason_to_drop,
    reference_key,
    to_ours,
    usual_key,
)

State = Mapping[str, np.ndarray]  # by the reference's names
Shapes = Mapping[str, tuple[int, ...]]  # by our paths

# Depth of the ResNet by (blocks in the third stage, convolutions per block).
_DEPTHS = {(2, 2): 18, (6, 2): 34, (6, 3): 50, (23, 3): 101, (36, 3): 152}
_CLASSIFIER = "decode_head.conv_seg.bias"
# By the block of a decode head: our name of it, and the names of its head and models.
_HEADS = {
    "gc_block": ("gc", "GCNet", "gcnet"),
    "nl_block": ("nl", "NLNet", "nonlocal"),
    None: ("none", "FCN", "fcn"),
}
_MOST_NAMES_SHOWN = 4


@dataclass(frozen=True)
class Matched:
    """The result of matching a checkpoint's tensors with our weights.

    Attributes:
        weights: values in our order of axes, by our path.
        dropped: reasons why tensors were left out, by the checkpoint's name.
    """

    weights: dict[str, np.ndarray]
    dropped: dict[str, str]

    def without(self, dropped: Mapping[str, str]) -> "Matched":
        """Adds tensors that were left out before the matching, and their reasons."""
        return Matched(self.weights, {**self.dropped, **dropped})

    def account(self) -> str:
        """Counts, in two lines, mapped tensors and dropped ones with their reasons."""
        statistics = sum(v.size for p, v in self.weights.items() if "/moving_" in p)
        parameters = sum(v.size for v in self.weights.values()) - statistics
        reasons = Counter(self.dropped.values())
        dropped = [f"{count} ({reason})" for reason, count in reasons.items()]
        return (
            f"mapped:  {len(self.weights)} tensors, {parameters:,} parameters and "
            f"{statistics:,} running statistics\n"
            f"dropped: {', '.join(dropped) or 'nothing'}"
        )


def difference_of_classes(
    meta: Mapping[str, Any], classes: Sequence[str]
) -> str | None:
    """Describes the first difference between two lists of class names, if any.

    Args:
        meta: notes of the checkpoint, with the names in "CLASSES" (0.x) or
            "dataset_meta" (1.x).
        classes: names in the configuration.
    """
    names = meta.get("CLASSES")
    dataset = meta.get("dataset_meta")
    if names is None and isinstance(dataset, Mapping):
        names = dataset.get("classes")
    if not isinstance(names, (list, tuple)):
        return None
    for index, (theirs, ours) in enumerate(zip(names, classes)):
        if theirs != ours:
            return f"The checkpoint calls class {index} {theirs!r}, not {ours!r}."
    return None


def match_segmentor(
    state: State, shapes: Shapes, source: str, drop_other_classes: bool = False
) -> Matched:
    """Finds the value of every weight of a whole model.

    Args:
        state: the checkpoint's tensors.
        shapes: the shapes of all weights of the model.
        source: the name of the checkpoint in messages.
        drop_other_classes: leave out the classifiers, instead of an error, when the
            checkpoint has another number of classes.

    Raises:
        UserError: when the checkpoint has another head, depth or number of classes,
            when a tensor is missing, unexpected or of another shape, and when the
            reference has no such model.
    """
    require_reference(shapes)
    state = _usual(state)
    _check_head(state, shapes, source)
    _check_depth(state, shapes, source)
    num_classes = state[_CLASSIFIER].size if _CLASSIFIER in state else None
    expected = shapes["decode_head/classifier/bias"][0]
    if num_classes in (None, expected):
        return _match(state, shapes, source)
    if not drop_other_classes:
        raise UserError(
            f"{source} has {num_classes} classes, this configuration {expected}. "
            "Choose the configuration of the same data set, or train from it with "
            "train.init_from, which leaves the classifiers out."
        )
    classifiers = {p: reference_key(p) for p in shapes if is_classifier(p)}
    matched = _match(
        {k: v for k, v in state.items() if k not in classifiers.values()},
        {p: s for p, s in shapes.items() if p not in classifiers},
        source,
    )
    reason = f"a classifier of {num_classes} classes"
    dropped = {key: reason for key in classifiers.values() if key in state}
    return Matched(matched.weights, {**matched.dropped, **dropped})


def match_backbone(state: State, shapes: Shapes, source: str) -> Matched:
    """Finds the values of a backbone alone; its tensors have names without prefix.

    Weights of `shapes` outside the backbone get no value. Nor do its context blocks
    where the file has none, like the ImageNet files. For the rest, see
    `match_segmentor`.
    """
    if any(key.startswith("decode_head.") for key in state):
        raise UserError(
            f"{source} is a whole segmentation model, not a backbone. Name it in "
            "train.init_from instead of model.backbone.pretrained."
        )
    if "stem.0.weight" not in state:
        raise UserError(
            f"{source} is not a ResNet-V1c: it lacks the stem of three convolutions "
            "(stem.0.weight). Use a resnet18_v1c, resnet50_v1c or resnet101_v1c file."
        )
    prefixed = _usual(
        {
            key if key.startswith("fc.") else f"backbone.{key}": value
            for key, value in state.items()
        }
    )
    has_context = any("_block." in key for key in prefixed)
    shapes = {
        path: s
        for path, s in shapes.items()
        if path.startswith("backbone/") and (has_context or "/context/" not in path)
    }
    require_reference(shapes)
    _check_depth(prefixed, shapes, source)
    return _match(prefixed, shapes, source)


def require_reference(paths: Iterable[str]) -> None:
    """Checks that mmsegmentation has a model with these weights.

    Raises:
        UserError: when it lacks some of them; the message names them.
    """
    if unknown := paths_without_reference(paths):
        raise UserError(
            "mmsegmentation has no model like this one. It has a resnet_v1c with the "
            "context blocks gc (transform bottleneck_norm), nl and none, and no name "
            f"for {some(unknown, _MOST_NAMES_SHOWN)}."
        )


def _usual(state: State) -> State:
    """Renames the state by `usual_key`, except names that would coincide."""
    usual = Counter(usual_key(key) for key in state)
    return {
        usual_key(key) if usual[usual_key(key)] == 1 else key: value
        for key, value in state.items()
    }


def _match(state: State, shapes: Shapes, source: str) -> Matched:
    paths = {reference_key(path): path for path in shapes}
    weights, dropped = {}, {}
    unexpected, misshapen = [], []
    for key, value in state.items():
        path = paths.get(key)
        reason = reason_to_drop(key)
        if path is None and reason is not None:
            dropped[key] = reason
        elif path is None:
            unexpected.append(key)
        else:
            weights[path] = to_ours(path, value)
            if weights[path].shape != tuple(shapes[path]):
                misshapen.append(f"{key} {list(value.shape)}")
    problems = {
        "missing": [key for key in paths if key not in state],
        "unexpected": unexpected,
        "of another shape": misshapen,
    }
    if any(problems.values()):
        listed = [
            f"{len(keys)} {problem}: {some(keys, _MOST_NAMES_SHOWN)}"
            for problem, keys in problems.items()
            if keys
        ]
        raise UserError(
            f"{source} does not fit the model of this configuration, and nothing was "
            f"loaded. Tensors {'; '.join(listed)}."
        )
    return Matched(weights, dropped)


def _check_head(state: State, shapes: Shapes, source: str) -> None:
    keys = [reference_key(p) for p in shapes if p.startswith("decode_head/context/")]
    expected = keys[0].split(".")[1] if keys else None
    parts = {key.split(".")[1] for key in state if key.startswith("decode_head.")}
    blocks = sorted(parts - {"conv_seg", "convs", "conv_cat"})
    if expected in blocks or not (expected or blocks):
        return
    if _CLASSIFIER not in state:
        raise UserError(
            f"{source} is not a segmentation model of mmsegmentation: it has no "
            f"{_CLASSIFIER}. (A backbone alone goes into model.backbone.pretrained.)"
        )
    _, name, models = _HEADS[expected]
    listed = ", ".join(blocks)
    difference = (
        f"no {expected}{', only ' * bool(blocks)}{listed}" if expected else listed
    )
    advice = f"Choose a checkpoint of a {models}_* model"
    block = blocks[0] if blocks else None
    if block in _HEADS:
        advice += f", or set model.head.context.block={_HEADS[block][0]}"
    raise UserError(
        f"{source} is of another head than {name}'s: its decode_head has {difference}. "
        f"{advice}."
    )


def _check_depth(state: State, shapes: Shapes, source: str) -> None:
    depth = _depth(state)
    expected = _depth(reference_key(path) for path in shapes)
    if depth != expected:
        raise UserError(
            f"{source} has a backbone of {_layers(depth)}, this configuration of "
            f"{_layers(expected)}. Choose a checkpoint and a configuration that have "
            "the same depth."
        )


def _depth(keys: Iterable[str]) -> int | None:
    units = [re.match(r"backbone\.layer3\.(\d+)\.conv(\d)\.", key) for key in keys]
    pairs = [(int(unit[1]), int(unit[2])) for unit in units if unit]
    if not pairs:
        return None
    last_block, convs = (max(numbers) for numbers in zip(*pairs))
    return _DEPTHS.get((last_block + 1, convs))


def _layers(depth: int | None) -> str:
    return "an unknown number of layers" if depth is None else f"{depth} layers"

"""From a checkpoint of mmsegmentation to our weights; no tensor is overlooked."""

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

State = Mapping[str, np.ndarray]  # the reference's names
Shapes = Mapping[str, tuple[int, ...]]  # our paths

# (blocks in the third stage, convolutions per block): depth of the ResNet
_DEPTHS = {(2, 2): 18, (6, 2): 34, (6, 3): 50, (23, 3): 101, (36, 3): 152}
_CLASSIFIER = "decode_head.conv_seg.bias"
# Part of a decode head: our name of the block, whose head it is, and its models.
_HEADS = {
    "gc_block": ("gc", "GCNet", "gcnet"),
    "nl_block": ("nl", "NLNet", "nonlocal"),
    None: ("none", "FCN", "fcn"),
}
_MOST_NAMES_SHOWN = 4


@dataclass(frozen=True)
class Matched:
    """What became of a checkpoint's tensors.

    Attributes:
        weights: our path: value in our order of axes.
        dropped: the checkpoint's name: why it was left out.
    """

    weights: dict[str, np.ndarray]
    dropped: dict[str, str]

    def account(self) -> str:
        """Two lines: what was mapped, and what was dropped for which reason."""
        statistics = sum(v.size for p, v in self.weights.items() if "/moving_" in p)
        parameters = sum(v.size for v in self.weights.values()) - statistics
        reasons = Counter(self.dropped.values())
        dropped = [f"{number} ({why})" for why, number in reasons.items()]
        return (
            f"mapped:  {len(self.weights)} tensors, {parameters:,} parameters and "
            f"{statistics:,} running statistics\n"
            f"dropped: {', '.join(dropped) or 'nothing'}"
        )


def difference_of_classes(
    meta: Mapping[str, Any], classes: Sequence[str]
) -> str | None:
    """What the checkpoint's class names say against `classes`, if anything.

    Args:
        meta: the checkpoint's; names are in "CLASSES" (0.x) or "dataset_meta" (1.x).
        classes: the configuration's.
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
    """Gives every weight of a whole model its value.

    Args:
        state: the checkpoint's tensors.
        shapes: of every weight of the model.
        source: how messages call the checkpoint.
        drop_other_classes: give the classifiers no value, instead of an error, when the
            checkpoint has another number of classes.

    Raises:
        UserError: when the checkpoint is of another head, depth or number of classes,
            or lacks a tensor, has one too many, or one of another shape, and when the
            reference has no such model.
    """
    require_reference(shapes)
    state = _usual(state)
    _check_head(state, shapes, source)
    _check_depth(state, shapes, source)
    found = state[_CLASSIFIER].size if _CLASSIFIER in state else None
    expected = shapes["decode_head/classifier/bias"][0]
    if found in (None, expected):
        return _match(state, shapes, source)
    if not drop_other_classes:
        raise UserError(
            f"{source} has {found} classes, this configuration {expected}. Choose the "
            "configuration of the same data set, or train from it with "
            "train.init_from, which leaves the classifiers out."
        )
    classifiers = {p: reference_key(p) for p in shapes if is_classifier(p)}
    matched = _match(
        {k: v for k, v in state.items() if k not in classifiers.values()},
        {p: s for p, s in shapes.items() if p not in classifiers},
        source,
    )
    reason = f"a classifier of {found} classes"
    dropped = {key: reason for key in classifiers.values() if key in state}
    return Matched(matched.weights, {**matched.dropped, **dropped})


def match_backbone(state: State, shapes: Shapes, source: str) -> Matched:
    """As `match_segmentor` for a backbone alone, whose names have no prefix.

    Weights of `shapes` that are not the backbone's get no value. Nor do its context
    blocks where the file has none, as ImageNet's have not.
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
    blocks = any("_block." in key for key in prefixed)
    shapes = {
        path: s
        for path, s in shapes.items()
        if path.startswith("backbone/") and (blocks or "/context/" not in path)
    }
    require_reference(shapes)
    _check_depth(prefixed, shapes, source)
    return _match(prefixed, shapes, source)


def require_reference(paths: Iterable[str]) -> None:
    """Checks that mmsegmentation has a model with these weights of ours.

    Raises:
        UserError: naming the blocks that it does not have.
    """
    if unknown := paths_without_reference(paths):
        raise UserError(
            "mmsegmentation has no model like this one. It has a resnet_v1c with the "
            "context blocks gc (transform bottleneck_norm), nl and none, and no name "
            f"for {some(unknown, _MOST_NAMES_SHOWN)}."
        )


def _usual(state: State) -> State:
    """The state under `usual_key`; names that would coincide stay as they are."""
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
            f"{len(keys)} {what}: {some(keys, _MOST_NAMES_SHOWN)}"
            for what, keys in problems.items()
            if keys
        ]
        raise UserError(
            f"{source} does not fit the model of this configuration, and nothing was "
            f"loaded. Tensors {'; '.join(listed)}."
        )
    return Matched(weights, dropped)


def _check_head(state: State, shapes: Shapes, source: str) -> None:
    keys = [reference_key(p) for p in shapes if p.startswith("decode_head/context/")]
    wanted = keys[0].split(".")[1] if keys else None
    parts = {key.split(".")[1] for key in state if key.startswith("decode_head.")}
    others = sorted(parts - {"conv_seg", "convs", "conv_cat"})
    if wanted in others or not (wanted or others):
        return
    if _CLASSIFIER not in state:
        raise UserError(
            f"{source} is not a segmentation model of mmsegmentation: it has no "
            f"{_CLASSIFIER}. (A backbone alone goes into model.backbone.pretrained.)"
        )
    _, name, models = _HEADS[wanted]
    listed = ", ".join(others)
    has = f"no {wanted}{', only ' * bool(others)}{listed}" if wanted else listed
    advice = f"Choose a checkpoint of a {models}_* model"
    found = others[0] if others else None
    if found in _HEADS:
        advice += f", or set model.head.context.block={_HEADS[found][0]}"
    raise UserError(
        f"{source} is of another head than {name}'s: its decode_head has {has}. "
        f"{advice}."
    )


def _check_depth(state: State, shapes: Shapes, source: str) -> None:
    found = _depth(state)
    expected = _depth(reference_key(path) for path in shapes)
    if found != expected:
        raise UserError(
            f"{source} has a backbone of {_layers(found)}, this configuration of "
            f"{_layers(expected)}. Choose the one that goes with the other."
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

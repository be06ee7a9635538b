"""The exports whose contents are read as a whole, and the splits that they make."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import replace
from pathlib import Path

from gcnet_tf.data.sources.exports.coco import read_coco
from gcnet_tf.data.sources.exports.contents import Contents, warn_of_notes
from gcnet_tf.data.sources.exports.label_studio import read_label_studio
from gcnet_tf.data.sources.exports.labelme_json import read_labelme_json
from gcnet_tf.data.sources.exports.roboflow import read_roboflow
from gcnet_tf.data.sources.exports.supervisely import read_supervisely
from gcnet_tf.data.sources.exports.yolo import read_yolo
from gcnet_tf.data.sources.pairs import SPLITS, Pair
from gcnet_tf.data.sources.share import names_of_share
from gcnet_tf.data.sources.splits import UNDIVIDED
from gcnet_tf.errors import UserError, some

_READERS: dict[str, Callable[[Path], Contents]] = {
    "coco": read_coco,
    "labelme_json": read_labelme_json,
    "yolo": read_yolo,
    "roboflow": read_roboflow,
    "label_studio": read_label_studio,
    "supervisely": read_supervisely,
}
EXPORTS = tuple(_READERS)

_Kept = dict[tuple[str, Path], Contents]
_kept: ContextVar[_Kept | None] = ContextVar("_kept", default=None)


@contextmanager
def exports_read_once() -> Iterator[None]:
    """Keeps the contents of each export while a block, or a function, runs.

    Every split of every step asks for them, and a large JSON file takes long to parse.
    """
    if _kept.get() is not None:  # a block around this one keeps them
        yield
        return
    token = _kept.set({})
    try:
        yield
    finally:
        _kept.reset(token)


def read_contents(dataset: str, root: Path) -> Contents:
    """Reads the class names of an export, and the images of all its splits.

    Raises:
        UserError: when the export is broken or incomplete.
    """
    kept = _kept.get()
    if kept is None:
        return _read_contents(dataset, root)
    if (dataset, root) not in kept:
        kept[dataset, root] = _read_contents(dataset, root)
    return kept[dataset, root]


def _read_contents(dataset: str, root: Path) -> Contents:
    contents = _READERS[dataset](root)
    stray = contents.parts.get(UNDIVIDED)
    if stray and len(contents.parts) > 1:
        images = [pair.image.name for pair in (*stray.pairs, *stray.bare)]
        divided = sorted(set(contents.parts) - {UNDIVIDED})
        raise UserError(
            f"{root} has the splits {', '.join(divided)}, and images that belong to "
            f"none: {some(images)}. Move them into a split, or away."
        )
    for split, part in contents.parts.items():
        names = sorted(pair.name for pair in (*part.pairs, *part.bare))
        twice = sorted({a for a, b in zip(names, names[1:]) if a == b})
        if twice:
            raise UserError(
                f"{root} has two images of the same name in the split "
                f'"{split or "all"}": {some(twice)}. Rename one of them.'
            )
    return contents


def contents_splits(contents: Contents) -> list[str]:
    """Returns the splits that an export divides its images into."""
    return [split for split in contents.parts if split != UNDIVIDED]


def contents_pairs(
    contents: Contents, root: Path, split: str, val_share: float, leave_out: bool
) -> list[Pair]:
    """Returns the pairs of a split, sorted by name.

    Args:
        contents: the contents of the export.
        root: its folder.
        split: the split.
        val_share: share of the images for "val" where the export has no such split.
        leave_out: leaves images without a single shape out; else they are background.

    Raises:
        UserError: when there is no such split, or no image in it.
    """
    divided = contents_splits(contents)
    by_share = split in SPLITS and "val" not in divided
    allowed = list(dict.fromkeys([*SPLITS, *sorted(divided)]))
    if not by_share and split not in divided:
        raise UserError(
            f'{root} has no split "{split}"; allowed: {", ".join(sorted(divided))}.'
            if divided and split in SPLITS
            else f'{root} has no split "{split}"; allowed: {", ".join(allowed)}.'
        )
    part = contents.parts.get("train" if divided else UNDIVIDED) if by_share else None
    part = part or contents.parts.get(split)
    if part is None:
        raise UserError(
            f"{root} has no images for training, but for {', '.join(divided)}."
        )
    pairs = sorted(
        part.pairs if leave_out else part.pairs + part.bare, key=lambda pair: pair.name
    )
    if not pairs:
        raise UserError(
            f"No image of {root} with the split {split} has a shape; label some, or "
            "take them as background with --set data.without_shapes=background."
        )
    if by_share:
        chosen = names_of_share({pair.name for pair in pairs}, split, val_share, root)
        pairs = [pair for pair in pairs if pair.name in chosen]
    warn_of_notes(part, leave_out)
    return [replace(pair) for pair in pairs]

"""Recognition of a folder of images and labels, and the configuration for it."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from operator import add
from pathlib import Path
from statistics import median

import numpy as np
from tqdm import tqdm

from gcnet_tf.config.json_text import format_json, read_json
from gcnet_tf.config.load import shipped_configs
from gcnet_tf.data.catalog import IGNORE_LABEL, DatasetFacts, automatic_palette
from gcnet_tf.data.check.layouts import find_layout, layouts_text
from gcnet_tf.data.compact import View
from gcnet_tf.data.records.samples import read_label
from gcnet_tf.data.sources.annotation_tools import (
    IGNORED_NAME,
    NAMES_FILES,
    read_export,
)
from gcnet_tf.data.sources.exports.contents import Contents
from gcnet_tf.data.sources.exports.table import (
    EXPORTS,
    contents_pairs,
    contents_splits,
    read_contents,
)
from gcnet_tf.data.sources.folders import find_pairs, is_divided_by_share
from gcnet_tf.data.sources.pairs import Pair
from gcnet_tf.errors import UserError
from gcnet_tf.files.results import write_result
from gcnet_tf.runtime.image_files import image_size

_TEMPLATE = "template_folder"
# The reference's crop.
_LARGEST_CROP = 512
# Limits photos from a camera of many megapixels.
_LARGEST_SHORT_SIDE = 1024
# Share of the images that is kept for validation where nothing divides them.
_VAL_SHARE = 0.1
# Crops are a multiple of this number of pixels.
_MULTIPLE = 32


@dataclass(frozen=True)
class Found:
    """The contents of a recognised folder.

    Attributes:
        dataset: name of the layout, as in data.dataset.
        reason: what shows that the folder has this layout, in words.
        others: further layouts that the folder may have.
        classes: class names in the order of the ids.
        palette: one (red, green, blue) per class.
        num_images: number of images by split.
        size: median (height, width) of the images.
        are_names_known: false if the folder has no names, so that those in `classes`
            are made up.
        val_share: share of the images for val; None where the folder divides them.
        label_map: pairs (id in the labels, class id or 255), where the ids are not
            0, 1, ...
    """

    dataset: str
    reason: str
    others: tuple[str, ...]
    classes: tuple[str, ...]
    palette: tuple[tuple[int, int, int], ...]
    num_images: dict[str, int]
    size: tuple[int, int]
    are_names_known: bool
    val_share: float | None = None
    label_map: tuple[tuple[int, int], ...] = ()


def recognise(root: Path, layout: str | None = None) -> Found:
    """Finds out the layout of a folder, its classes and the size of its images.

    Args:
        root: the folder.
        layout: its layout, if it is known.

    Raises:
        UserError: when the layout is unknown, or files are missing.
    """
    if not root.is_dir():
        raise UserError(f"There is no folder {root}.\n{layouts_text()}")
    if layout is None:
        dataset, reason, others = find_layout(root)
    else:
        dataset, reason, others = layout, "as --layout says", []
    contents = read_contents(dataset, root) if dataset in EXPORTS else None
    if contents is None:
        is_shared = is_divided_by_share(dataset, root)
    else:
        is_shared = "val" not in contents.parts
    splits = ["train", "val"]
    if contents is not None:
        splits += sorted(set(contents_splits(contents)) - set(splits))
    pairs_of = {split: _pairs(dataset, root, contents, split) for split in splits}
    all_pairs = reduce(add, pairs_of.values(), View[Pair](()))
    size = _median_size(all_pairs)
    label_map: tuple[tuple[int, int], ...] = ()
    colours: tuple[tuple[int, int, int], ...] = ()
    are_names_known = True
    if contents is not None:
        names, are_names_known = contents.names, contents.are_names_known
    elif dataset in NAMES_FILES:
        export = read_export(dataset, root)
        names, colours = export.names, export.colours
    else:
        ids = _class_ids(all_pairs)
        names = tuple(f"class_{file_id}" for file_id in ids)
        label_map, are_names_known = _map_of_ids(ids), False
    entries = [
        (name, colour)
        for name, colour in zip(names, colours or automatic_palette(len(names)))
        if name and name != IGNORED_NAME
    ]
    return Found(
        dataset,
        reason,
        tuple(others),
        tuple(name for name, _ in entries),
        tuple(colour for _, colour in entries),
        {split: len(pairs) for split, pairs in pairs_of.items()},
        size,
        are_names_known,
        val_share=_VAL_SHARE if is_shared else None,
        label_map=label_map,
    )


def _pairs(
    dataset: str, root: Path, contents: Contents | None, split: str
) -> Sequence[Pair]:
    if contents is None:
        return find_pairs(dataset, root, split, val_share=_VAL_SHARE)
    return contents_pairs(contents, root, split, _VAL_SHARE, leave_out=True)


def _median_size(pairs: Sequence[Pair]) -> tuple[int, int]:
    sizes = [image_size(pair.image) for pair in pairs]
    return int(median(h for h, _ in sizes)), int(median(w for _, w in sizes))


def _class_ids(pairs: Sequence[Pair]) -> list[int]:
    """Returns the ids that occur in the labels, sorted, and at least two."""
    facts = DatasetFacts("folder", (), (), "", label_map=tuple(range(256)))
    present = np.zeros(256, bool)
    for pair in tqdm(pairs, desc="labels", unit="label", disable=None):
        present[np.unique(read_label(pair.label, facts))] = True
    ids = [int(file_id) for file_id in np.flatnonzero(present[:IGNORE_LABEL])]
    # Models have at least two classes.
    unused = [file_id for file_id in (0, 1) if file_id not in ids]
    return sorted([*ids, *unused[: max(0, 2 - len(ids))]])


def _map_of_ids(ids: list[int]) -> tuple[tuple[int, int], ...]:
    """Maps ids with gaps, or from 1, to 0, 1, ...; returns () where they are these.

    The ids below, which would stay as they are, must not become classes by accident.
    """
    indices = range(len(ids))
    if ids == list(indices):
        return ()
    absent = [(index, IGNORE_LABEL) for index in indices if index not in ids]
    return tuple(sorted([*zip(ids, indices), *absent]))


def write_config(found: Found, root: Path, out: Path, name: str) -> None:
    """Writes the configuration of a recognised folder to a new file.

    Args:
        found: the contents that `recognise` returned.
        root: the folder.
        out: the file to write, which must not exist.
        name: name of the folder for its records.

    Raises:
        UserError: when the file exists or cannot be written.
    """
    if out.exists():
        raise UserError(f"{out} exists already; name another file in --out.")
    template = shipped_configs()[_TEMPLATE]
    config = read_json(template)
    folder = os.path.relpath(template.parent, out.absolute().parent)
    config["$schema"] = f"{folder}/{config['$schema']}"
    config["_base_"] = [f"{folder}/{base}" for base in config["_base_"]]
    config["data"] = {
        "dataset": found.dataset,
        "root": str(root),
        "records": f"data/tfrecords/{name}",
        "classes": list(found.classes),
        "palette": [list(colour) for colour in found.palette],
    }
    if found.label_map:
        config["data"]["label_map"] = [list(pair) for pair in found.label_map]
    if found.val_share is not None:
        config["data"]["val_share"] = found.val_share
    scale, crop = _scale_and_crop(found.size)
    config["augment"] |= {"base_scale": scale, "crop_size": crop}
    config["evaluation"] |= {"scale": scale}
    write_result(out, format_json(config) + "\n")


def _scale_and_crop(size: tuple[int, int]) -> tuple[list[int], list[int]]:
    """Returns a base scale of the images' size, and a square crop that fits into it.

    As in the published rows, the short side decides: the bound for the long side is
    four times as large.
    """
    short = min(*size, _LARGEST_SHORT_SIDE)
    crop = max(_MULTIPLE, min(short, _LARGEST_CROP) // _MULTIPLE * _MULTIPLE)
    return [4 * short, short], [crop, crop]


def found_text(found: Found) -> str:
    """Describes the contents of a recognised folder in a few lines of text."""
    height, width = found.size
    counts = ", ".join(f"{count} {split}" for split, count in found.num_images.items())
    lines = [
        f"Layout:  {found.dataset}, because of {found.reason}",
        f"Images:  {counts}; the median is {width}x{height} (width x height)",
        f"Classes: {len(found.classes)}: {', '.join(found.classes)}",
    ]
    if found.others:
        lines.insert(
            1,
            f"         It may also be {', '.join(found.others)}: use --layout NAME.",
        )
    if found.val_share is not None:
        lines.insert(
            len(lines) - 1,
            f"         Nothing divides them: {found.val_share:.0%} are kept for "
            "validation (data.val_share).",
        )
    if found.label_map:
        ids = ", ".join(str(i) for i, index in found.label_map if index != IGNORE_LABEL)
        lines.append(
            f"         The labels hold the ids {ids}; data.label_map maps them to "
            "0, 1, ..."
        )
    if found.dataset in EXPORTS and found.dataset != "roboflow":
        lines.append(
            f'         Pixels without a shape are "{found.classes[0]}"; '
            "data.label_map=[[0,255]] ignores them instead."
        )
    if not found.are_names_known:
        lines.append(
            "         Their names are not in the folder: put them into the file."
        )
    return "\n".join(lines)

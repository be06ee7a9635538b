"""The check of a data set's source, which finds all problems in one pass.

Conversion stops at the first file that it refuses. The check goes on to the last file,
and it also finds problems between the files: images in two splits, classes that never
occur, crops larger than the images. It writes nothing and does not load TensorFlow.
"""

import dataclasses
import hashlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from operator import mul
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm import tqdm

from gcnet_tf.config import AugmentConfig, Config
from gcnet_tf.data.catalog import IGNORE_LABEL, NOT_ALLOWED, DatasetFacts, facts_of
from gcnet_tf.data.check.findings import UNSURE_TURN, Findings, Item, Problem
from gcnet_tf.data.check.looks import Look, Looks
from gcnet_tf.data.check.pairs import list_pairs
from gcnet_tf.data.check.report import Report
from gcnet_tf.data.prepare import SPLITS, changed_splits
from gcnet_tf.data.records.samples import read_label
from gcnet_tf.data.records.threads import threads
from gcnet_tf.data.sources.exports.drawn import Drawn
from gcnet_tf.data.sources.exports.table import exports_read_once
from gcnet_tf.data.sources.pairs import Pair
from gcnet_tf.errors import UserError
from gcnet_tf.runtime.image_files import (
    has_more_pictures,
    num_bands_left_out,
    open_image,
    orientation,
    to_rgb,
)

_MODE_TEXT = {
    "L": "grey",
    "LA": "grey, alpha",
    "1": "black and white",
    "P": "palette",
    "PA": "palette, alpha",
    "RGBA": "alpha",
}


@exports_read_once()
def check_data(
    config: Config, splits: Sequence[str] = SPLITS, progress: bool = True
) -> Report:
    """Checks every image and label of the splits, and the records that they have.

    Args:
        config: names the data set and its folder; also gives the crop, which is
            compared with the images.
        splits: the splits to check.
        progress: shows a progress bar.
    """
    return check_files(config, splits, progress, _about_records(config, splits))


def check_files(
    config: Config,
    splits: Sequence[str],
    progress: bool = True,
    more: Iterable[Problem] = (),
) -> Report:
    """Checks every image and label of the splits; `more` joins the findings."""
    facts = facts_of(config.data)
    found = Findings()
    pairs: dict[str, Sequence[Pair]] = {}
    about_source: list[Item] = []
    for split in splits:
        pairs[split], problems = list_pairs(config.data, split)
        for kind, item in problems:
            if kind == "source":
                about_source.append(item)
            else:
                found.add([(kind, item)])
    found.add(("source", item) for item in _once(about_source))
    looks = Looks(pairs, facts.num_classes)
    found.add(_look_at_all(looks, facts, progress))
    found.add(looks.in_two_splits())
    found.add(_about_classes(looks, facts))
    found.add(_about_crop(looks, config.augment))
    found.add(more)
    return Report(facts, tuple(splits), looks, found.by_kind())


def _once(items: Iterable[Item]) -> list[Item]:
    """Joins items of one text: splits that a share makes have the same source."""
    places: dict[str, list[str]] = defaultdict(list)
    for item in items:
        places[item.detail].append(item.where)
    return [Item(", ".join(where), text) for text, where in places.items()]


def _look_at_all(
    looks: Looks, facts: DatasetFacts, progress: bool
) -> Iterator[Problem]:
    """Looks at every pair, and yields its problems."""
    bar = tqdm(
        total=sum(map(len, looks.pairs.values())),
        desc="check",
        unit="image",
        disable=None if progress else True,
    )
    with bar, threads() as in_order:
        for split, pairs in looks.pairs.items():
            for look in in_order(lambda pair: _look(pair, pair.facts or facts), pairs):
                looks.add(split, look)
                yield from look.problems
                bar.update()


def _look(pair: Pair, facts: DatasetFacts) -> Look:
    problems: list[Problem] = []
    size, digest, turn = None, b"", 1
    try:
        file_bytes, image = open_image(pair.image)
        upright = to_rgb(file_bytes, image, pair.image)
        size = (upright.height, upright.width)
        digest = hashlib.sha256(file_bytes).digest()
        turn = orientation(file_bytes, image)
        problems += _about_image(pair.image, image, turn)
    except UserError as error:
        problems.append(("unreadable_image", Item(str(pair.image), str(error))))
    counts: dict[int, int] = {}
    try:
        label = read_label(pair.label, facts)
    except UserError as error:
        problems.append(_bad_label(pair.label, facts, error))
    else:
        if size not in (None, label.shape):
            item = _sizes_item(pair.label, label.shape, size)
            problems.append(("size_mismatch", item))
        elif size and _keeps_size(turn, size):
            item = Item(str(pair.image), f"orientation {turn}")
            problems.append((UNSURE_TURN, item))
        histogram = np.bincount(label.ravel(), minlength=256)
        counts = {int(k): int(histogram[k]) for k in np.flatnonzero(histogram)}
        problems += _about_counts(pair.label, facts, counts)
    return Look(size, counts, digest, tuple(problems))


def _keeps_size(turn: int, size: tuple[int, int]) -> bool:
    """Tells whether an image has the same size before and after an EXIF orientation.

    Then the size of its label does not show on which of the two the label was drawn.
    """
    return turn in (2, 3, 4) or (turn > 4 and size[0] == size[1])


def _about_image(path: Path, image: Image.Image, turn: int) -> list[Problem]:
    mode = _MODE_TEXT.get(image.mode, image.mode)
    texts = [] if mode == "RGB" else [mode]
    if "transparency" in image.info:
        texts.append("transparent colours")
    if turn > 1:
        texts.append("turned (EXIF)")
    if has_more_pictures(image):
        texts.append("the first of its pictures")
    where = str(path)
    problems = [("converted_image", Item(where, ", ".join(texts)))] if texts else []
    num_bands = num_bands_left_out(image)
    if num_bands:
        text = f"{num_bands} of {num_bands + len(image.getbands())} bands"
        problems.append(("bands_left_out", Item(where, text)))
    return problems


def _sizes_item(
    path: Path | Drawn, label: tuple[int, ...], image: tuple[int, ...]
) -> Item:
    """Returns the item for a label of shape `label` with an image of size `image`."""
    text = f"{label[1]}x{label[0]} instead of {image[1]}x{image[0]} (width x height)"
    return Item(str(path), text)


def _about_counts(
    path: Path | Drawn, facts: DatasetFacts, counts: dict[int, int]
) -> list[Problem]:
    classes = counts.keys() - {IGNORE_LABEL}
    if not classes:
        return [("nothing_labelled", Item(str(path)))]
    if len(classes) > 1:
        return []
    (index,) = classes
    return [("one_class", Item(str(path), f"{index} {facts.classes[index].strip()}"))]


def _bad_label(path: Path | Drawn, facts: DatasetFacts, error: UserError) -> Problem:
    """Returns the problem of a label that `read_label` refused with `error`.

    It lists the wrong values with their counts or, if the file cannot be read at all,
    repeats the error.
    """
    try:
        # A map that allows every value gives the ids as they are in the file.
        all_ids = dataclasses.replace(facts, label_map=tuple(range(256)))
        file_ids = read_label(path, all_ids)
    except UserError:
        return "unreadable_label", Item(str(path), str(error))
    counts = np.bincount(file_ids.ravel(), minlength=256)
    refused = [k for k in np.flatnonzero(counts) if facts.id_map[k] == NOT_ALLOWED]
    texts = [f"{value} ({counts[value]} pixels)" for value in refused]
    return "label_values", Item(str(path), ", ".join(texts))


def _about_classes(looks: Looks, facts: DatasetFacts) -> list[Problem]:
    """Finds classes that never occur; skips splits without a labelled pixel."""
    present = {
        split: pixels[:IGNORE_LABEL] > 0 for split, pixels in looks.pixels.items()
    }
    train = present.pop("train", None)
    if train is None or not train.any():
        return []
    problems = []
    for index, name in enumerate(facts.classes):
        item = Item(f"{index} {name.strip()}")
        if not train[index]:
            problems.append(("no_training_pixel", item))
            continue
        splits = [
            split
            for split, occurs in present.items()
            if occurs.any() and not occurs[index]
        ]
        if splits:
            item = dataclasses.replace(item, detail=f"not in {', '.join(splits)}")
            problems.append(("no_pixel", item))
    return problems


def _about_crop(looks: Looks, augment: AugmentConfig) -> list[Problem]:
    if "train" not in looks.pairs:
        return []
    sizes = looks.sizes("train")
    if not len(sizes):
        return []
    # One number for both sides, because rows take longer and more memory to count.
    packed = sizes[:, 0].astype(np.int64) << 32 | sizes[:, 1]
    distinct, numbers = np.unique(packed, return_counts=True)
    shares = (padded_share(divmod(int(size), 2**32), augment) for size in distinct)
    share = sum(map(mul, shares, numbers.tolist())) / len(sizes)
    if share <= 0.5:
        return []
    height, width = augment.crop_size
    text = (
        f"the randomly scaled image is smaller than {height}x{width} in {share:.0%} of "
        "the draws, and the rest of the crop is padding; lower the crop size, or raise "
        "augment.base_scale"
    )
    return [("large_crop", Item("augment.crop_size", text))]


def _about_records(config: Config, splits: Sequence[str]) -> list[Problem]:
    """Finds splits whose present records do not belong to these files or settings."""
    problems = []
    for split in splits:
        try:
            changed = changed_splits(config, [split])
            text = "made from other files, see data.on_changed_source"
        except UserError as error:
            changed, text = [split], str(error)
        if changed:
            problems.append(("records", Item(split, text)))
    return problems


def padded_share(size: tuple[int, int], augment: AugmentConfig) -> float:
    """Returns the share in [0, 1] of the random scales at which a crop has padding.

    Args:
        size: (height, width) of the image.
        augment: the scales, which are drawn uniformly (docs/reference.md, section 5.2),
            and the crop.
    """
    scale = min(
        max(augment.base_scale) / max(size), min(augment.base_scale) / min(size)
    )
    needed = max(c / (scale * side) for c, side in zip(augment.crop_size, size))
    low, high = augment.ratio_range
    if low == high:
        return float(needed > low)
    return min(1.0, max(0.0, (needed - low) / (high - low)))

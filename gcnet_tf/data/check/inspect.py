"""Looks through a data set's source and finds all that is wrong with it in one pass.

Conversion stops at the first file that it refuses. This goes on to the last one, and
sees what lies between the files as well: images in two splits, classes that never
occur, crops larger than the images. Nothing is written and no TensorFlow is loaded.
"""

import dataclasses
import hashlib
import warnings
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm import tqdm

from gcnet_tf.config import AugmentConfig, Config
from gcnet_tf.data.catalog import IGNORE_LABEL, NOT_ALLOWED, DatasetFacts, facts_of
from gcnet_tf.data.check.pairs import list_pairs
from gcnet_tf.data.check.report import (
    KINDS,
    Item,
    Look,
    Problem,
    Report,
    findings_text,
)
from gcnet_tf.data.prepare import SPLITS, ensure_source
from gcnet_tf.data.records.manifest import has_records
from gcnet_tf.data.records.samples import is_turned, open_image, read_label, to_rgb
from gcnet_tf.data.sources.folders import Pair
from gcnet_tf.errors import UserError
from gcnet_tf.processor import num_cores

_MODE_TEXT = {"L": "grey", "1": "black and white", "P": "palette", "RGBA": "alpha"}


def check_before_conversion(config: Config) -> None:
    """Checks the splits that have no records yet, unless `data.check` is false.

    Warnings are warned of; a data set without any leaves no word.

    Raises:
        UserError: with all errors at once; or when there is no source.
    """
    missing = [s for s in SPLITS if not has_records(config.data.records, s)]
    if not (config.data.check and missing):
        return
    ensure_source(config)
    report = check_data(config, missing)
    errors = report.kinds("error")
    if errors:
        raise UserError(
            f"{config.data.root} cannot be converted as it is.\n"
            f"{findings_text(report, errors)}\n"
            "The whole list: python scripts/check_data.py --cfg CONFIG --json FILE"
        )
    # Conversion says by itself what the source lacks.
    kinds = [kind for kind in report.kinds("warning") if kind != "source"]
    if kinds:
        warnings.warn(
            f"{config.data.root} is converted, but look at this.\n"
            f"{findings_text(report, kinds)}",
            stacklevel=2,
        )


def check_data(
    config: Config, splits: Sequence[str] = SPLITS, progress: bool = True
) -> Report:
    """Looks at every image and label of the splits.

    Args:
        config: names the data set and its folder; the crop is compared with the images.
        splits: which splits.
        progress: show a progress bar.
    """
    facts = facts_of(config.data)
    found: dict[str, list[Item]] = defaultdict(list)
    tasks = []
    for split in splits:
        pairs, problems = list_pairs(config.data, split)
        tasks += [(split, pair) for pair in pairs]
        _add(found, problems)
    looks = _look_at_all(tasks, facts, progress)
    for look in looks:
        _add(found, look.problems)
    report = Report(facts, tuple(splits), tuple(looks), found)
    _add(found, _between_splits(report))
    _add(found, _about_classes(report))
    _add(found, _about_crop(report, config.augment))
    ordered = {kind: found[kind] for kind in KINDS if found[kind]}
    return dataclasses.replace(report, findings=ordered)


def _add(found: dict[str, list[Item]], problems: Iterable[Problem]) -> None:
    for kind, item in problems:
        found[kind].append(item)


def _look_at_all(
    tasks: list[tuple[str, Pair]], facts: DatasetFacts, progress: bool
) -> list[Look]:
    # Decoding and hashing release the interpreter's lock, so that threads share them.
    pool = ThreadPoolExecutor(num_cores())
    try:
        looks = pool.map(
            lambda task: _look(task[0], task[1], task[1].facts or facts), tasks
        )
        bar = tqdm(
            looks,
            total=len(tasks),
            desc="check",
            unit="image",
            disable=None if progress else True,
        )
        return list(bar)
    finally:
        pool.shutdown(cancel_futures=True)


def _look(split: str, pair: Pair, facts: DatasetFacts) -> Look:
    problems: list[Problem] = []
    size, digest = None, ""
    try:
        content, image = open_image(pair.image)
        upright = to_rgb(image, pair.image)
        size = (upright.height, upright.width)
        digest = hashlib.sha256(content).hexdigest()
        problems += _about_image(pair.image, image)
    except UserError as error:
        problems.append(("unreadable_image", Item(str(pair.image), str(error))))
    counts: dict[int, int] = {}
    try:
        label = read_label(pair.label, facts)
    except UserError as error:
        problems.append(_bad_label(pair.label, facts, error))
    else:
        if size not in (None, label.shape):
            problems.append(("size_mismatch", _sizes(pair.label, label.shape, size)))
        histogram = np.bincount(label.ravel(), minlength=256)
        counts = {int(k): int(histogram[k]) for k in np.flatnonzero(histogram)}
        problems += _about_counts(pair.label, facts, counts)
    return Look(split, pair, facts, size, counts, digest, tuple(problems))


def _about_image(path: Path, image: Image.Image) -> list[Problem]:
    mode = _MODE_TEXT.get(image.mode, image.mode)
    texts = [] if mode == "RGB" else [mode]
    if is_turned(image):
        texts.append("turned (EXIF)")
    return [("converted_image", Item(str(path), ", ".join(texts)))] if texts else []


def _sizes(path: Path, label: tuple[int, ...], image: tuple[int, ...]) -> Item:
    text = f"{label[1]}x{label[0]} instead of {image[1]}x{image[0]} (width x height)"
    return Item(str(path), text)


def _about_counts(
    path: Path, facts: DatasetFacts, counts: dict[int, int]
) -> list[Problem]:
    classes = counts.keys() - {IGNORE_LABEL}
    if not classes:
        return [("nothing_labelled", Item(str(path)))]
    if len(classes) > 1:
        return []
    (index,) = classes
    return [("one_class", Item(str(path), f"{index} {facts.classes[index].strip()}"))]


def _bad_label(path: Path, facts: DatasetFacts, error: UserError) -> Problem:
    """Wrong values with their counts; for anything else, what the reader said."""
    try:
        # A map that lets every value pass gives the ids as they are in the file.
        raw = read_label(path, dataclasses.replace(facts, label_map=tuple(range(256))))
    except UserError:
        return "unreadable_label", Item(str(path), str(error))
    counts = np.bincount(raw.ravel(), minlength=256)
    wrong = [k for k in np.flatnonzero(counts) if facts.id_map[k] == NOT_ALLOWED]
    texts = [f"{value} ({counts[value]} pixels)" for value in wrong]
    return "label_values", Item(str(path), ", ".join(texts))


def _between_splits(report: Report) -> list[Problem]:
    """Images that are in two splits: by content, and by name alone."""
    problems = []
    by_digest: dict[str, Look] = {}
    by_name: dict[str, Look] = {}
    for look in report.looks:
        twin = by_digest.setdefault(look.digest, look) if look.digest else look
        namesake = by_name.setdefault(look.pair.name, look)
        path = str(look.pair.image)
        if twin.split != look.split:
            problems.append(("same_content", Item(path, f"as {twin.pair.image}")))
        elif namesake.split != look.split:
            problems.append(("same_name", Item(path, f"and {namesake.pair.image}")))
    return problems


def _about_classes(report: Report) -> list[Problem]:
    """Classes that never occur; said only of splits that have a labelled pixel."""
    present = {
        split: report.pixels(split)[:IGNORE_LABEL] > 0 for split in report.splits
    }
    train = present.pop("train", None)
    if train is None or not train.any():
        return []
    problems = []
    for index, name in enumerate(report.facts.classes):
        item = Item(f"{index} {name.strip()}")
        if not train[index]:
            problems.append(("no_training_pixel", item))
            continue
        lacking = [s for s, seen in present.items() if seen.any() and not seen[index]]
        if lacking:
            item = dataclasses.replace(item, detail=f"not in {', '.join(lacking)}")
            problems.append(("no_pixel", item))
    return problems


def _about_crop(report: Report, augment: AugmentConfig) -> list[Problem]:
    sizes = Counter(look.size for look in report.looks_of("train") if look.size)
    if not sizes:
        return []
    total = sum(sizes.values())
    share = (
        sum(padded_share(s, augment) * number for s, number in sizes.items()) / total
    )
    if share <= 0.5:
        return []
    height, width = augment.crop_size
    text = (
        f"the image, scaled at random, is smaller than {height}x{width} in {share:.0%} "
        "of the draws, and the rest of the crop is padding; lower it, or raise "
        "augment.base_scale"
    )
    return [("large_crop", Item("augment.crop_size", text))]


def padded_share(size: tuple[int, int], augment: AugmentConfig) -> float:
    """Share in [0, 1] of the random factors that scale an image below the crop.

    Args:
        size: (height, width) of the image.
        augment: the scales, drawn uniformly (parity spec 5.2), and the crop.
    """
    scale = min(
        max(augment.base_scale) / max(size), min(augment.base_scale) / min(size)
    )
    needed = max(c / (scale * side) for c, side in zip(augment.crop_size, size))
    low, high = augment.ratio_range
    if low == high:
        return float(needed > low)
    return min(1.0, max(0.0, (needed - low) / (high - low)))

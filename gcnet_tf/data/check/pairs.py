"""Pairs of a split, listed even where some files have no partner."""

import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial
from itertools import chain, groupby
from operator import itemgetter
from pathlib import Path

from gcnet_tf.config import DataConfig
from gcnet_tf.data.catalog import CITYSCAPES_ID_MAP, facts_of, remapped
from gcnet_tf.data.check.findings import Item, Problem
from gcnet_tf.data.compact import Names, Row, Rows, View, in_order
from gcnet_tf.data.sources.arranged import is_shared, list_place, place, places_of
from gcnet_tf.data.sources.files import image_names, label_names, names_below
from gcnet_tf.data.sources.find import find_samples
from gcnet_tf.data.sources.folders import (
    ADE20K_FOLDERS,
    ARRANGED,
    CITYSCAPES_IMAGE,
    LABEL_IDS,
    cityscapes_labels,
    shared_names,
)
from gcnet_tf.data.sources.pairs import (
    SPLITS,
    Files,
    Pair,
    by_ending,
    joined,
    lines_of_files,
    only,
    paired,
    stem,
)
from gcnet_tf.data.sources.voc import LISTS
from gcnet_tf.errors import UserError
from gcnet_tf.files.names import composed


def list_pairs(
    data: DataConfig, split: str
) -> tuple[Sequence[Pair], Iterable[Problem]]:
    """Returns the pairs of a split, and the problems of files that make no pair.

    `find_samples` decides. Only if it raises an error, the files of data.root are
    listed once more, in order to continue with those that do make pairs.
    """
    problems: Sequence[Problem] = ()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            pairs: Sequence[Pair] = find_samples(data, split)
        except UserError as error:
            pairs, problems = _go_on(data, split)
            problems = problems or [("layout", Item(split, str(error)))]
    texts = dict.fromkeys(str(warning.message) for warning in caught)
    return pairs, chain(problems, [("source", Item(split, text)) for text in texts])


def _go_on(data: DataConfig, split: str) -> tuple[Sequence[Pair], Sequence[Problem]]:
    try:
        # Succeeds if only the number of images was wrong.
        return find_samples(replace(data, allow_partial=True), split), ()
    except UserError:
        pass
    try:
        images, labels = _list_files(data, split)
    except UserError:
        return (), ()  # the error of `find_samples` says why
    facts = facts_of(data)
    if any(path.endswith(LABEL_IDS) for _, path in labels.rows):
        facts = replace(facts, label_map=CITYSCAPES_ID_MAP)
        facts = remapped(facts, data.label_map, "data.label_map")
    rows = Rows(row for row in joined(images, labels) if row[1] and row[2])
    return paired(rows, facts), _strays(images, labels)


def _strays(images: Files, labels: Files) -> Sequence[Problem]:
    if not (images and labels):
        return ()  # a folder is missing or empty, for which one message is enough
    unlabelled, unused = Rows(), Rows()
    for _, image, label in joined(images, labels):
        if not label:
            unlabelled.append((image,))
        elif not image:
            unused.append((label,))
    return View(unlabelled, partial(_stray, "image_without_label")) + View(
        unused, partial(_stray, "label_without_image")
    )


def _stray(kind: str, row: Row) -> Problem:
    return kind, Item(str(Path(row[0])))


def _list_files(data: DataConfig, split: str) -> tuple[Files, Files]:
    """Lists images and labels by name.

    Both are empty for layouts in which the files alone do not make the split.
    """
    dataset, root = data.dataset, Path(data.root)
    if dataset in ARRANGED:
        return _arranged_files(dataset, root, split, data.val_share)
    if dataset == "ade20k":
        folder = ADE20K_FOLDERS.get(split, split)
        return _images(root / "images" / folder), _labels(root / "annotations" / folder)
    if dataset == "cityscapes":
        images, labels = root / "leftImg8bit" / split, root / "gtFine" / split
        paths = _below(images, names_below)
        return (
            by_ending(paths, images, CITYSCAPES_IMAGE),
            cityscapes_labels(labels) if labels.is_dir() else Files(labels),
        )
    if dataset == "voc12aug":
        return _voc_files(root, split)
    return Files(root), Files(root)


def _arranged_files(
    dataset: str, root: Path, split: str, val_share: float
) -> tuple[Files, Files]:
    places = places_of(dataset, root)
    images, labels = list_place(*place(places, root, split))
    if split in SPLITS and is_shared(places):
        names = shared_names(images, labels, split, val_share)
        images, labels = only(names, images), only(names, labels)
    return images, labels


def _voc_files(root: Path, split: str) -> tuple[Files, Files]:
    """Lists the files that VOC's own list of the split names, as far as they exist."""
    path = root / LISTS / f"{split}.txt"
    names = Names(map(composed, lines_of_files(path)) if path.is_file() else ())
    images = _images(root / "JPEGImages")
    labels = _labels(root / "SegmentationClass")
    return only(names, images), only(names, labels)


def _images(folder: Path) -> Files:
    return _by_stem(folder, image_names)


def _labels(folder: Path) -> Files:
    return _by_stem(folder, label_names)


def _by_stem(folder: Path, list_: Callable[[Path], Iterable[str]]) -> Files:
    """Lists files by name; of those that share a name, the last one."""
    rows = in_order((stem(path), path) for path in _below(folder, list_))
    groups = groupby(rows, itemgetter(0))
    return Files(folder, (list(group)[-1] for _, group in groups))


def _below(folder: Path, list_: Callable[[Path], Iterable[str]]) -> Iterable[str]:
    return list_(folder) if folder.is_dir() else ()

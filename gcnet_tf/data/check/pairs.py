"""Pairs of a split, listed even where some files have no partner."""

import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from gcnet_tf.config import DataConfig
from gcnet_tf.data.catalog import CITYSCAPES_ID_MAP, facts_of, remapped
from gcnet_tf.data.check.report import Item, Problem
from gcnet_tf.data.sources.arranged import is_shared, list_place, place, places_of
from gcnet_tf.data.sources.files import image_files, label_files, list_files
from gcnet_tf.data.sources.find import find_samples
from gcnet_tf.data.sources.folders import (
    ADE20K_FOLDERS,
    ARRANGED,
    CITYSCAPES_IMAGE,
    CITYSCAPES_TRAIN_IDS,
    LABEL_IDS,
)
from gcnet_tf.data.sources.pairs import SPLITS, Pair, by_ending, name_in, only
from gcnet_tf.data.sources.share import names_of_share
from gcnet_tf.data.sources.voc import LISTS
from gcnet_tf.errors import UserError

Files = dict[str, Path]


def list_pairs(data: DataConfig, split: str) -> tuple[list[Pair], list[Problem]]:
    """Returns the pairs of a split, and the problems of files that make no pair.

    `find_samples` decides. Only if it raises an error, the files of data.root are
    listed once more, in order to continue with those that do make pairs.
    """
    problems: list[Problem] = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            pairs = find_samples(data, split)
        except UserError as error:
            pairs, problems = _go_on(data, split)
            problems = problems or [("layout", Item(split, str(error)))]
    texts = dict.fromkeys(str(warning.message) for warning in caught)
    return pairs, [*problems, *(("source", Item(split, text)) for text in texts)]


def _go_on(data: DataConfig, split: str) -> tuple[list[Pair], list[Problem]]:
    try:
        # Succeeds if only the number of images was wrong.
        return find_samples(replace(data, allow_partial=True), split), []
    except UserError:
        pass
    try:
        images, labels = _list_files(data, split)
    except UserError:
        return [], []  # the error of `find_samples` says why
    facts = facts_of(data)
    if any(path.name.endswith(LABEL_IDS) for path in labels.values()):
        facts = replace(facts, label_map=CITYSCAPES_ID_MAP)
        facts = remapped(facts, data.label_map, "data.label_map")
    names = sorted(images.keys() & labels.keys())
    pairs = [Pair(name, images[name], labels[name], facts) for name in names]
    return pairs, _strays(images, labels)


def _strays(images: Files, labels: Files) -> list[Problem]:
    if not (images and labels):
        return []  # a folder is missing or empty, for which one message is enough
    unlabelled = sorted(images.keys() - labels.keys())
    unused = sorted(labels.keys() - images.keys())
    return [
        *(("image_without_label", Item(str(images[name]))) for name in unlabelled),
        *(("label_without_image", Item(str(labels[name]))) for name in unused),
    ]


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
        files = _below(labels, list_files)
        return (
            by_ending(_below(images, list_files), images, CITYSCAPES_IMAGE),
            by_ending(files, labels, CITYSCAPES_TRAIN_IDS)
            or by_ending(files, labels, LABEL_IDS),
        )
    if dataset == "voc12aug":
        return _voc_files(root, split)
    return {}, {}


def _arranged_files(
    dataset: str, root: Path, split: str, val_share: float
) -> tuple[Files, Files]:
    places = places_of(dataset, root)
    folder, labels_folder = place(places, root, split)
    images, labels = list_place(folder, labels_folder)
    if split in SPLITS and is_shared(places):
        names = names_of_share({*images, *labels}, split, val_share, folder)
        images, labels = only(names, images), only(names, labels)
    return images, labels


def _voc_files(root: Path, split: str) -> tuple[Files, Files]:
    """Lists the files that VOC's own list of the split names, as far as they exist."""
    path = root / LISTS / f"{split}.txt"
    names = set(path.read_text(encoding="utf-8").split()) if path.is_file() else set()
    images = _images(root / "JPEGImages")
    labels = _labels(root / "SegmentationClass")
    return only(names, images), only(names, labels)


def _images(folder: Path) -> Files:
    return {name_in(folder, path): path for path in _below(folder, image_files)}


def _labels(folder: Path) -> Files:
    return {name_in(folder, path): path for path in _below(folder, label_files)}


def _below(folder: Path, list_: Callable[[Path], list[Path]]) -> list[Path]:
    return list_(folder) if folder.is_dir() else []

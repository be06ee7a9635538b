"""The images of a split from all sources, with the facts for reading their labels."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from gcnet_tf.config import DataConfig
from gcnet_tf.config.schema_data import TAKE_CLASSES, SourceConfig
from gcnet_tf.data.catalog import (
    CITYSCAPES_ID_MAP,
    IGNORE_LABEL,
    NOT_ALLOWED,
    DatasetFacts,
    dataset_facts,
    remapped,
)
from gcnet_tf.data.compact import View
from gcnet_tf.data.sources.annotation_tools import (
    IGNORED_NAME,
    NAMES_FILES,
    class_line,
    read_export,
)
from gcnet_tf.data.sources.exports.table import (
    EXPORTS,
    contents_pairs,
    read_contents,
)
from gcnet_tf.data.sources.folders import LABEL_IDS, find_pairs
from gcnet_tf.data.sources.pairs import SPLITS, Pair
from gcnet_tf.errors import UserError
from gcnet_tf.files.names import composed


def find_samples(
    data: DataConfig, split: str, listed: Sequence[Pair] | None = None
) -> View[Pair]:
    """Returns the pairs of a split: those of data.root, followed by those of data.also.

    Args:
        data: names the sources.
        split: "train", "val" or another split that the source has.
        listed: pairs to use in place of those in data.root.

    Returns:
        Pairs with the `facts` for reading their labels, each made when it is asked for,
        because there may be millions. Names from data.also begin with "also1-",
        "also2-", ...

    Raises:
        UserError: when a source is missing or incomplete, when it has no such split, or
            when its classes do not fit.
    """
    main = SourceConfig(data.dataset, data.root, data.label_map, SPLITS)
    pairs = _source_pairs(data, main, split, "data", listed)
    for index, source in enumerate(data.also):
        if split not in source.splits:
            continue
        where = f"data.also[{index}]"
        try:
            added = _source_pairs(data, source, split, where)
        except UserError as error:
            raise UserError(f"{where}: {error}") from None
        pairs += View(added, partial(_added, f"also{index + 1}-"))
    return pairs


def _added(prefix: str, pair: Pair) -> Pair:
    return replace(pair, name=prefix + pair.name)


def deciding_settings(data: DataConfig, split: str) -> dict[str, Any]:
    """Returns the settings that change a split's records, apart from the classes.

    They are JSON values; settings at their defaults are left out. Folders are not among
    them, because data may be moved, and records can be used without it.
    """
    settings: dict[str, Any] = {"label_map": _pairs_of_ids(data.label_map)}
    added = [source for source in data.also if split in source.splits]
    settings["also"] = [
        {"dataset": source.dataset, "label_map": _pairs_of_ids(source.label_map)}
        for source in added
    ]
    if {data.dataset, *(source.dataset for source in added)} & set(NAMES_FILES):
        settings["val_share"] = data.val_share
    return {key: value for key, value in settings.items() if value}


def _pairs_of_ids(label_map: Sequence[tuple[int, int]]) -> list[list[int]]:
    return [list(pair) for pair in sorted(label_map)]


def _source_pairs(
    data: DataConfig,
    source: SourceConfig,
    split: str,
    where: str,
    listed: Sequence[Pair] | None = None,
) -> View[Pair]:
    """Returns the pairs of a source, or those listed, with the facts for reading them.

    Args:
        data: gives the classes.
        source: the source.
        split: the split.
        where: path of the source in the configuration, for messages.
        listed: pairs to use in place of those of the source.
    """
    if listed is not None:
        return _with_facts(listed, data, source, where)
    val_share = data.val_share
    if len(source.splits) == 1:
        val_share = float(source.splits == ("val",))  # all of its images
    if source.dataset in EXPORTS:
        root = Path(source.root)
        contents = read_contents(source.dataset, root)
        names = contents.names
        if not contents.are_names_known and len(names) == len(data.classes):
            names = data.classes
        facts = _export_facts(data, source, names, root, where)
        drawn = contents_pairs(
            contents, root, split, val_share, data.without_shapes == "leave_out"
        )
        return View(drawn, lambda pair: replace(pair, facts=facts))
    pairs = find_pairs(
        source.dataset,
        source.root,
        split,
        val_share=val_share,
        label_ids=bool(source.label_map),
        without_shapes=data.without_shapes,
    )
    if not data.allow_partial:
        _check_count(source.dataset, split, len(pairs))
    return _with_facts(pairs, data, source, where)


def _with_facts(
    pairs: Sequence[Pair], data: DataConfig, source: SourceConfig, where: str
) -> View[Pair]:
    """Returns the pairs with the facts for reading their labels.

    Cityscapes has two kinds of labels, original ids and training ids.
    """
    is_cityscapes = source.dataset == "cityscapes"

    def has_ids(pair: Pair) -> bool:
        return is_cityscapes and pair.label.name.endswith(LABEL_IDS)

    # The first pair of each kind.
    kinds: dict[bool, Pair] = {}
    for pair in pairs if is_cityscapes else pairs[:1]:
        kinds.setdefault(has_ids(pair), pair)
    if is_cityscapes and source.label_map and False in kinds:
        raise UserError(
            f"{where}.label_map means the ids of *{LABEL_IDS}, but "
            f"{kinds[False].label} holds other ids; add the files of the first kind, "
            "or leave the label map out."
        )
    facts = {kind: _reading_facts(data, source, kind, where) for kind in kinds}
    return View(pairs, lambda pair: replace(pair, facts=facts[has_ids(pair)]))


def _check_count(dataset: str, split: str, num_images: int) -> None:
    if dataset in TAKE_CLASSES:
        return
    expected = dataset_facts(dataset).num_images.get(split, num_images)
    if num_images != expected:
        raise UserError(
            f"The {split} split of {dataset} has {num_images} images here; there "
            f"should be {expected}. Complete the data set, or accept it as it is with "
            "--allow-partial (--set data.allow_partial=true for training)."
        )


def _reading_facts(
    data: DataConfig, source: SourceConfig, has_ids: bool, where: str
) -> DatasetFacts:
    """Returns the classes of `data`, with the map to them from the source's ids."""
    if source.dataset in NAMES_FILES:
        export = read_export(source.dataset, Path(source.root))
        file = Path(source.root) / NAMES_FILES[source.dataset]
        facts = _export_facts(data, source, export.names, file, where)
        return replace(facts, label_colours=export.colours)
    facts = dataset_facts(data.dataset, data.classes, data.palette)
    facts = replace(facts, label_map=None)
    # The files hold ids of data.classes in one's own folder, and in pairs from lists.
    if source.dataset not in TAKE_CLASSES:
        own = dataset_facts(source.dataset)
        id_map = CITYSCAPES_ID_MAP if has_ids else own.id_map
        if own.classes != facts.classes:
            # The same id means different classes in the two data sets, so only the ids
            # with a pair in the label map are allowed.
            id_map = tuple(
                IGNORE_LABEL if class_id == IGNORE_LABEL else NOT_ALLOWED
                for class_id in id_map
            )
        facts = replace(facts, label_map=id_map)
    return remapped(facts, source.label_map, f"{where}.label_map")


def _export_facts(
    data: DataConfig,
    source: SourceConfig,
    names: Sequence[str],
    named_in: Path,
    where: str,
) -> DatasetFacts:
    """Returns the classes of `data`, with the map from an export's ids by their names.

    Args:
        data: gives the classes.
        source: the export.
        names: class names of its ids 0, 1, ...; "" for an id without a name.
        named_in: the file or folder that names them, for messages.
        where: path of the source in the configuration, for messages.
    """
    facts = dataset_facts(data.dataset, data.classes, data.palette)
    mapped_ids = {file_id for file_id, _ in source.label_map}
    # Accents of either form are one name.
    names = [composed(name) for name in names]
    class_ids = {composed(name): index for index, name in enumerate(facts.classes)}
    absent = set(class_ids) - set(names)
    class_ids[IGNORED_NAME] = IGNORE_LABEL
    named = {i: name for i, name in enumerate(names) if name and i not in mapped_ids}
    unknown = [name for name in named.values() if name not in class_ids]
    # Other sources, and ids in the label map, may give the classes that this export
    # does not name.
    if data.also or mapped_ids:
        absent = set()
    if unknown or absent:
        raise UserError(
            f"data.classes: received {', '.join(facts.classes)}; but {named_in} names "
            f"{', '.join(filter(None, names))}. Write into the configuration: "
            f"{class_line(filter(None, names))}"
        )
    label_map = [NOT_ALLOWED] * IGNORE_LABEL + [IGNORE_LABEL]
    for index, name in named.items():
        label_map[index] = class_ids[name]
    facts = replace(facts, label_map=tuple(label_map))
    return remapped(facts, source.label_map, f"{where}.label_map")

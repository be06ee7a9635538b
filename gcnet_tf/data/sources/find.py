"""Which images a split consists of, over all sources, and how to read their labels."""

from collections.abc import Sequence
from dataclasses import replace
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
from gcnet_tf.data.sources.annotation_tools import (
    IGNORED_NAME,
    NAMES_FILES,
    Export,
    class_line,
    read_export,
)
from gcnet_tf.data.sources.folders import LABEL_IDS, find_pairs
from gcnet_tf.data.sources.pairs import Pair
from gcnet_tf.errors import UserError


def find_samples(
    data: DataConfig, split: str, listed: list[Pair] | None = None
) -> list[Pair]:
    """The pairs of a split from data.root and, after them, from data.also.

    Args:
        data: names the sources.
        split: "train" or "val".
        listed: pairs to take in place of those of data.root.

    Returns:
        Pairs whose `facts` say how to read their labels. Names from data.also begin
        with "also1-", "also2-", ...

    Raises:
        UserError: when a source is missing, incomplete, or its classes do not fit.
    """
    main = SourceConfig(data.dataset, data.root, data.label_map, ("train", "val"))
    found = _find(data, main, split) if listed is None else listed
    pairs = _with_facts(found, data, main, "data")
    for index, source in enumerate(data.also):
        if split not in source.splits:
            continue
        where = f"data.also[{index}]"
        try:
            found = _find(data, source, split)
            added = _with_facts(found, data, source, where)
        except UserError as error:
            raise UserError(f"{where}: {error}") from None
        pairs += [replace(p, name=f"also{index + 1}-{p.name}") for p in added]
    return pairs


def deciding_settings(data: DataConfig, split: str) -> dict[str, Any]:
    """The settings that change a split's records, apart from the classes.

    As JSON values, without those at their defaults. Folders are not among them: data
    may move, and records are enough without it.
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


def _find(data: DataConfig, source: SourceConfig, split: str) -> list[Pair]:
    val_share = data.val_share
    if len(source.splits) == 1:
        val_share = float(source.splits == ("val",))  # all of its images
    pairs = find_pairs(
        source.dataset,
        source.root,
        split,
        val_share=val_share,
        label_ids=bool(source.label_map),
    )
    if not data.allow_partial:
        _check_count(source.dataset, split, len(pairs))
    return pairs


def _with_facts(
    pairs: list[Pair], data: DataConfig, source: SourceConfig, where: str
) -> list[Pair]:
    """The pairs with how to read their labels, which cityscapes has two kinds of."""
    readings: dict[bool, DatasetFacts] = {}
    result = []
    for pair in pairs:
        has_ids = source.dataset == "cityscapes" and pair.label.name.endswith(LABEL_IDS)
        if source.dataset == "cityscapes" and source.label_map and not has_ids:
            raise UserError(
                f"{where}.label_map means the ids of *{LABEL_IDS}, and {pair.label} "
                "holds others; get these files, or leave the label map out."
            )
        if has_ids not in readings:
            readings[has_ids] = _reading_facts(data, source, has_ids, where)
        result.append(replace(pair, facts=readings[has_ids]))
    return result


def _check_count(dataset: str, split: str, number: int) -> None:
    if dataset in TAKE_CLASSES:
        return
    expected = dataset_facts(dataset).num_images.get(split, number)
    if number != expected:
        raise UserError(
            f"The {split} split of {dataset} has {number} images here; there should be "
            f"{expected}. Complete the data set, or take it as it is with "
            "--allow-partial (--set data.allow_partial=true for training)."
        )


def _reading_facts(
    data: DataConfig, source: SourceConfig, has_ids: bool, where: str
) -> DatasetFacts:
    """The classes of `data`, with the map from ids in the source's files to them."""
    facts = dataset_facts(data.dataset, data.classes, data.palette)
    facts = replace(facts, label_map=None)
    if source.dataset in NAMES_FILES:
        export = read_export(source.dataset, Path(source.root))
        label_map = _named_map(data, source, facts, export)
        facts = replace(facts, label_map=label_map, label_colours=export.colours)
    elif source.dataset != "folder":
        own = dataset_facts(source.dataset)
        id_map = CITYSCAPES_ID_MAP if has_ids else own.id_map
        if own.classes != facts.classes:
            # The same id means something else in each: only what is listed may pass.
            id_map = tuple(
                IGNORE_LABEL if new == IGNORE_LABEL else NOT_ALLOWED for new in id_map
            )
        facts = replace(facts, label_map=id_map)
    return remapped(facts, source.label_map, f"{where}.label_map")


def _named_map(
    data: DataConfig, source: SourceConfig, facts: DatasetFacts, export: Export
) -> tuple[int, ...]:
    """Ids in the export to ids of the classes of the same names."""
    listed = {old for old, _ in source.label_map}
    known = {name: index for index, name in enumerate(facts.classes)}
    known[IGNORED_NAME] = IGNORE_LABEL
    names = {i: name for i, name in enumerate(export.names) if i not in listed}
    strange = [name for name in names.values() if name not in known]
    # Other sources, and the listed ids, may give what this one does not name.
    absent = [] if data.also or listed else set(facts.classes) - set(export.names)
    if strange or absent:
        file = Path(source.root) / NAMES_FILES[source.dataset]
        raise UserError(
            f"data.classes: received {', '.join(facts.classes)}; but {file} names "
            f"{', '.join(export.names)}. Write into the configuration: "
            f"{class_line(export)}"
        )
    label_map = [NOT_ALLOWED] * IGNORE_LABEL + [IGNORE_LABEL]
    for index, name in names.items():
        label_map[index] = known[name]
    return tuple(label_map)

"""The records of a configuration: made where missing, checked where present."""

import dataclasses
import json
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gcnet_tf.config import Config
from gcnet_tf.data.catalog import DatasetFacts, facts_of
from gcnet_tf.data.records import stored
from gcnet_tf.data.records.finished import Conversion
from gcnet_tf.data.records.manifest import (
    Manifest,
    absent_classes,
    has_records,
    pixel_table,
    read_manifest,
)
from gcnet_tf.data.records.pinned import remove_abandoned
from gcnet_tf.data.records.source import (
    FROM_LISTS,
    source_fingerprint,
    source_has_changed,
)
from gcnet_tf.data.shapes import DEMO_SET, generate_shapes
from gcnet_tf.data.sources.exports.table import exports_read_once
from gcnet_tf.data.sources.find import deciding_settings, find_samples
from gcnet_tf.data.sources.pairs import SPLITS as SPLITS
from gcnet_tf.data.sources.pairs import Pair
from gcnet_tf.errors import UserError, require_utf8
from gcnet_tf.files.lock import locked
from gcnet_tf.files.names import quoted
from gcnet_tf.files.remote.addresses import below


def ensure_source(config: Config) -> None:
    """Makes sure that the source folder exists; draws the shapes when it does not.

    Raises:
        UserError: for any other data set; the message says what to download, where to
            put it, and which command comes next.
    """
    root = Path(config.data.root)
    if root.is_dir():
        return
    if root.exists():
        raise UserError(f"data.root: {root} is a file; it must be a folder.")
    if config.data.dataset == "shapes":
        generate_shapes(root, **DEMO_SET, progress=True)
        return
    instructions = facts_of(config.data).instructions
    raise UserError(
        f"There are no records in {config.data.records}, and no images to make them "
        f"from: the folder {root} does not exist.\n\n"
        f"{instructions.format(root=root, quoted_root=quoted(root))}"
    )


@exports_read_once()
def ensure_records(
    config: Config,
    splits: Sequence[str] = SPLITS,
    *,
    overwrite: bool = False,
    outdated: Sequence[str] | None = None,
    num_workers: int | None = None,
    convert: Conversion | None = None,
    limit: int | None = None,
    listed: Sequence[Pair] | None = None,
) -> dict[str, Manifest]:
    """Converts the outdated splits, or all of them with `overwrite`.

    The records that a split had stay whole until the new ones are.

    Args:
        config: names the data set, its folder and the folder of the records.
        splits: the splits to convert.
        overwrite: converts also the splits whose records are up to date.
        outdated: what `outdated_splits` returned, where it was asked before; it looks
            at every file of the source.
        num_workers: number of threads; None for one per core.
        convert: converts in place of these threads, see `write_records`.
        limit: greatest number of images to convert in each split, the first ones; None
            for all.
        listed: pairs to convert in place of those in data.root.

    Returns:
        The manifest of each split.

    Raises:
        UserError: as `outdated_splits`; also when the source is missing, a source file
            is bad, or another process writes in the folder of the records.
    """
    facts = facts_of(config.data)
    data = config.data
    if overwrite:
        outdated = splits
    elif listed is not None:
        outdated = [split for split in splits if not has_records(data.records, split)]
    elif outdated is None:
        outdated = outdated_splits(config, splits)
    manifests = {}
    for split in splits:
        if split not in outdated:
            manifests[split] = matching_manifest(config, split)
            _mention_limit(manifests[split], limit, data.records)
    if not outdated:
        return manifests

    if listed is None:
        config = stored.with_local_sources(config)
        data = config.data
        ensure_source(config)
    # With a limit, a part of the images is enough, so the rest may be missing.
    data_to_convert = dataclasses.replace(data, allow_partial=True) if limit else data
    # All are listed first: a mistake in val is reported before train is converted.
    pairs = {split: find_samples(data_to_convert, split, listed) for split in outdated}

    require_utf8(data.records, "data.records")
    folder = stored.local_folder(data.records)
    with locked(folder):
        remove_abandoned(folder)
        for split in outdated:
            manifests[split] = stored.write_split(
                pairs[split],
                data.records,
                split,
                facts,
                num_workers=num_workers,
                convert=convert,
                made_with=deciding_settings(data, split),
                limit=limit,
                source=(
                    source_fingerprint(pairs[split][:limit])
                    if listed is None
                    else FROM_LISTS
                ),
            )
    return {split: manifests[split] for split in splits}


def outdated_splits(config: Config, splits: Sequence[str] = SPLITS) -> list[str]:
    """Returns the splits to convert: without records, or with a changed source.

    Warns of a changed source under data.on_changed_source=convert.

    Raises:
        UserError: when records are damaged or those of another data set; or for a
            changed source, under data.on_changed_source=stop.
    """
    changed = []
    if config.data.on_changed_source != "ignore":
        changed = changed_splits(config, splits)
    if changed and config.data.on_changed_source == "stop":
        raise UserError(
            f"{_changed_text(config, changed)} Convert them again: "
            "scripts/make_tfrecords.py --cfg CONFIG --overwrite; or use the records as "
            "they are: --set data.on_changed_source=ignore."
        )
    if changed:
        warnings.warn(
            f"{_changed_text(config, changed)} They are converted again; --set "
            "data.on_changed_source=ignore keeps the records.",
            stacklevel=2,
        )
    return [
        split
        for split in splits
        if split in changed or not has_records(config.data.records, split)
    ]


def changed_splits(config: Config, splits: Sequence[str] = SPLITS) -> list[str]:
    """Returns the splits whose records were made from other files than the present.

    Raises:
        UserError: when records are damaged or those of another data set.
    """
    return [
        split
        for split in splits
        if has_records(config.data.records, split)
        and source_has_changed(config.data, matching_manifest(config, split))
    ]


def require_records(config: Config, splits: Sequence[str], source: str) -> None:
    """Checks that splits need no conversion, for configurations that come with a model.

    They may be a stranger's, and must not choose where files are written.

    Args:
        config: names the records.
        splits: the splits that are needed.
        source: where the configuration comes from, for the message.

    Raises:
        UserError: when a split has no records, or they are damaged, those of another
            data set, or made from other files than the present.
    """
    if config.data.on_changed_source == "convert":
        stop = dataclasses.replace(config.data, on_changed_source="stop")
        config = dataclasses.replace(config, data=stop)
    if missing := outdated_splits(config, splits):
        raise UserError(
            f"There are no records of the split {missing[0]} in {config.data.records}, "
            f"which {source} names, and files are written only where you say. Either "
            "make them with scripts/make_tfrecords.py --cfg CONFIG, or say where: "
            "--set data.root=IMAGES data.records=DIR."
        )


@exports_read_once()
def keeping_records(config: Config) -> Config:
    """Returns the configuration with which a resumed run keeps the records it has.

    Warns when their source has changed.

    Raises:
        UserError: as `outdated_splits`.
    """
    data = config.data
    if data.on_changed_source != "convert":
        return config
    if changed := changed_splits(config):
        warnings.warn(
            f"{_changed_text(config, changed)} This run goes on with its records; a "
            "new run, with another --out, converts the files again.",
            stacklevel=2,
        )
    return dataclasses.replace(
        config, data=dataclasses.replace(data, on_changed_source="ignore")
    )


def record_digests(config: Config) -> dict[str, str]:
    """Returns a hash of each split's records.

    Raises:
        UserError: when a split has no records, or a damaged manifest.
    """
    return {
        split: read_manifest(config.data.records, split, False).content_digest()
        for split in SPLITS
    }


def _changed_text(config: Config, splits: Sequence[str]) -> str:
    return (
        f"The images or labels of {' and '.join(splits)} in {config.data.root} are not "
        f"those that the records in {config.data.records} were made from."
    )


def matching_manifest(config: Config, split: str) -> Manifest:
    """Reads a split's manifest and checks that it matches the configuration.

    Training on records of another data set would give a wrong model silently.

    Raises:
        UserError: when the records are missing or damaged, or not those of `config`.
    """
    # Under "skip", the reader of the records looks for missing files itself.
    manifest = read_manifest(
        config.data.records, split, check_files=config.data.on_error == "stop"
    )
    folder = below(config.data.records, split)
    _check_agreement(manifest, facts_of(config.data), folder)
    _check_settings(manifest, deciding_settings(config.data, split), folder)
    return manifest


def conversion_text(
    config: Config, manifests: dict[str, Manifest], kept: Sequence[str] = ()
) -> str:
    """Describes the records of some splits in a few lines of text.

    Args:
        config: the configuration of the records.
        manifests: manifest of each split.
        kept: splits whose records existed before.
    """
    expected = facts_of(config.data).num_images
    lines = []
    for split, manifest in manifests.items():
        num_images = manifest.num_samples
        line = f"{split}: {num_images} images in {len(manifest.shards)} files"
        if split in kept:
            line += "; they were there already, --overwrite makes them again"
        is_whole = num_images == expected.get(split, num_images)
        if not is_whole and not manifest.made_with.get("also"):
            line += f"; the whole data set has {expected[split]} images"
        lines.append(line)
    lines += ["", pixel_table(list(manifests.values()))]
    absent = absent_classes(manifests["train"]) if "train" in manifests else []
    if absent:
        lines += [
            "",
            f"Warning: no training pixel has the class {', '.join(absent)}. Check the "
            "order of the classes; 255 in a label means not labelled.",
        ]
    return "\n".join(lines)


def _mention_limit(manifest: Manifest, limit: int | None, records: str) -> None:
    if manifest.limit not in (None, limit):
        warnings.warn(
            f"The records of the split '{manifest.split}' in {records} hold only the "
            f"first {manifest.limit} images (--limit); scripts/make_tfrecords.py --cfg "
            "CONFIG --overwrite converts all images.",
            stacklevel=3,
        )


_REMEDY = (
    "To make them again, run scripts/make_tfrecords.py --cfg CONFIG --overwrite; to "
    "keep them, name another folder in data.records."
)


def _check_settings(manifest: Manifest, settings: dict, folder: str | Path) -> None:
    for key in sorted(manifest.made_with.keys() | settings.keys()):
        before, now = manifest.made_with.get(key), settings.get(key)
        if before != now:
            raise UserError(
                f"The records in {folder} were made with data.{key} = "
                f"{_shown(before)}, but it is {_shown(now)} now. {_REMEDY}"
            )


def _shown(value: Any) -> str:
    return "[]" if value is None else json.dumps(value)


def _check_agreement(
    manifest: Manifest, facts: DatasetFacts, folder: str | Path
) -> None:
    if manifest.dataset != facts.name:
        raise UserError(
            f"The records in {folder} are of the data set '{manifest.dataset}', but "
            f"data.dataset is '{facts.name}'. {_REMEDY}"
        )
    if manifest.classes != facts.classes:
        raise UserError(
            f"The records in {folder} have the {len(manifest.classes)} classes "
            f"{', '.join(manifest.classes)}, but the configuration has "
            f"{len(facts.classes)}: {', '.join(facts.classes)}. {_REMEDY}"
        )

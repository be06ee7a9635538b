"""Making sure that a configuration's records are there, converting where needed."""

from collections.abc import Sequence
from pathlib import Path

from gcnet_tf.config import Config
from gcnet_tf.data.catalog import DatasetFacts, facts_of
from gcnet_tf.data.folders import find_pairs
from gcnet_tf.data.record_manifest import Manifest, has_records, read_manifest
from gcnet_tf.data.shapes import DEMO_SET, generate_shapes
from gcnet_tf.errors import UserError

SPLITS = ("train", "val")


def ensure_source(config: Config) -> None:
    """Makes sure that the source folder exists; the shapes are drawn when missing.

    Raises:
        UserError: for any other data set: what to download, where to put it, and which
            command comes next.
    """
    root = Path(config.data.root)
    if root.is_dir():
        return
    if root.exists():
        raise UserError(f"data.root: {root} is a file; it must be a folder.")
    if config.data.dataset == "shapes":
        generate_shapes(root, **DEMO_SET, progress=True)
        return
    raise UserError(
        f"There are no records in {config.data.records}, and no images to make them "
        f"from: the folder {root} does not exist.\n\n"
        f"{facts_of(config.data).instructions.format(root=root)}"
    )


def ensure_records(
    config: Config,
    splits: Sequence[str] = SPLITS,
    *,
    overwrite: bool = False,
    num_workers: int | None = None,
) -> dict[str, Manifest]:
    """Converts the splits that have no records, or all of them with `overwrite`.

    Args:
        config: names the data set, its folder and that of the records.
        splits: which splits.
        overwrite: convert again where there are records.
        num_workers: threads; None for one per core.

    Returns:
        The manifest of each split.

    Raises:
        UserError: when records are of another data set or damaged, when the source is
            missing, or when a source file is bad.
    """
    facts = facts_of(config.data)
    data = config.data
    manifests = {}
    for split in splits:
        if not overwrite and has_records(data.records, split):
            manifests[split] = matching_manifest(config, split)
    missing = [split for split in splits if split not in manifests]
    if not missing:
        return manifests

    ensure_source(config)
    # All of them first: what is wrong with val should not come up after train.
    pairs = {split: find_pairs(data.dataset, data.root, split) for split in missing}

    # Only here, because it loads TensorFlow, which takes ten seconds.
    from gcnet_tf.data.records import write_records

    for split in missing:
        manifests[split] = write_records(
            pairs[split], data.records, split, facts, num_workers=num_workers
        )
    return {split: manifests[split] for split in splits}


def matching_manifest(config: Config, split: str) -> Manifest:
    """Reads a split's manifest; records of another data set would train wrongly.

    Raises:
        UserError: when the records are missing or damaged, or not those of `config`.
    """
    manifest = read_manifest(config.data.records, split)
    _check_agreement(manifest, facts_of(config.data), Path(config.data.records) / split)
    return manifest


def _check_agreement(manifest: Manifest, facts: DatasetFacts, folder: Path) -> None:
    remedy = (
        "To make them again: scripts/make_tfrecords.py --cfg CONFIG --overwrite; to "
        "keep them, give another folder in data.records."
    )
    if manifest.dataset != facts.name:
        raise UserError(
            f"The records in {folder} are of the data set '{manifest.dataset}', but "
            f"data.dataset is '{facts.name}'. {remedy}"
        )
    if manifest.classes != facts.classes:
        raise UserError(
            f"The records in {folder} have the {len(manifest.classes)} classes "
            f"{', '.join(manifest.classes)}, but the configuration has "
            f"{len(facts.classes)}: {', '.join(facts.classes)}. {remedy}"
        )

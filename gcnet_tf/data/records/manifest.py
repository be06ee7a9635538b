"""The manifest beside a split's records: what they hold, and how to check them.

A split is a folder of shards with a manifest.json. The manifest is written last, so a
split that has one is complete; what a killed run left has none and is never trusted.
"""

import dataclasses
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gcnet_tf.errors import UserError
from gcnet_tf.files.atomic import write_text
from gcnet_tf.files.checksum import sealed, unsealed

MANIFEST_FILE = "manifest.json"


@dataclass(frozen=True)
class Shard:
    """One TFRecord file: its name in the split's folder, and how to check it."""

    file: str
    num_samples: int
    num_bytes: int
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """What a split's records hold.

    Attributes:
        dataset: name in the data catalog.
        split: "train" or "val".
        classes: names in the order of the ids in the labels.
        num_samples: number of images.
        class_histogram: pixels per class over all labels.
        num_ignored_pixels: pixels labelled 255.
        shards: the files, in the order of the samples.
        made_with: the settings that decided what is in them, as JSON values.
        limit: when only the first images of the split were taken: how many at most.
    """

    dataset: str
    split: str
    classes: tuple[str, ...]
    num_samples: int
    class_histogram: tuple[int, ...]
    num_ignored_pixels: int
    shards: tuple[Shard, ...]
    made_with: dict[str, Any] = field(default_factory=dict)
    limit: int | None = None


def write_manifest(manifest: Manifest, folder: Path) -> None:
    """Writes <folder>/manifest.json, whole or not at all."""
    content = json.dumps(sealed(dataclasses.asdict(manifest)), indent=1)
    write_text(folder / MANIFEST_FILE, content + "\n")


def has_records(directory: str | Path, split: str) -> bool:
    """Whether a conversion of this split has ended; `read_manifest` checks files."""
    return (Path(directory) / split / MANIFEST_FILE).is_file()


def read_manifest(
    directory: str | Path, split: str, check_files: bool = True
) -> Manifest:
    """Reads a split's manifest and checks that its shards are there.

    Checked are the sizes and not the checksums, which would read everything; neither
    without `check_files`.

    Raises:
        UserError: when there is no manifest, when it cannot be read, or when a shard is
            missing or of another size.
    """
    path = Path(directory) / split / MANIFEST_FILE
    if not path.is_file():
        raise UserError(
            f"There are no records of the split '{split}' in {directory} (no {path}); "
            "make them with scripts/make_tfrecords.py --cfg CONFIG."
        )
    remedy = (
        "Make the records again: scripts/make_tfrecords.py --cfg CONFIG --overwrite."
    )
    try:
        fields = unsealed(json.loads(path.read_text()))
        fields["shards"] = tuple(Shard(**shard) for shard in fields["shards"])
        for key in ("classes", "class_histogram"):
            fields[key] = tuple(fields[key])
        manifest = Manifest(**fields)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise UserError(f"{path} is damaged ({error}). {remedy}") from error
    for shard in manifest.shards if check_files else ():
        file = path.parent / shard.file
        if not file.is_file():
            raise UserError(f"{file} is missing, but {path} lists it. {remedy}")
        num_bytes = file.stat().st_size
        if num_bytes != shard.num_bytes:
            raise UserError(
                f"{file} has {num_bytes} bytes instead of {shard.num_bytes}. {remedy}"
            )
    return manifest


def pixel_table(manifests: list[Manifest]) -> str:
    """The share of each split's pixels that every class has, and that none has."""
    names = (*manifests[0].classes, "(not labelled)")
    width = max(map(len, names))
    rows = ["class".ljust(width) + "".join(f"{m.split:>10}" for m in manifests)]
    columns = []
    for manifest in manifests:
        counts = (*manifest.class_histogram, manifest.num_ignored_pixels)
        columns.append([count / sum(counts) for count in counts])
    for name, *shares in zip(names, *columns, strict=True):
        rows.append(name.ljust(width) + "".join(f"{share:10.2%}" for share in shares))
    return "\n".join(rows)


def absent_classes(manifest: Manifest) -> list[str]:
    """The classes without a single pixel.

    In training data they mean a wrong list of classes, or masks of 0 and 255 whose 255
    was meant as a class.
    """
    counts = zip(manifest.classes, manifest.class_histogram, strict=True)
    return [name for name, count in counts if count == 0]

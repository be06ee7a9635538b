"""The manifest of a split's records: their contents, and the means to check them.

A split is a folder of shards with a manifest.json. The manifest is written last, so a
split that has one is complete. Files that it does not name are never used: those of a
conversion that was killed, or still runs. New records have other names than those that
they replace, which are removed when the new manifest is there.
"""

import base64
import dataclasses
import hashlib
import json
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path, PurePath
from stat import S_ISREG
from typing import Any

import numpy as np

from gcnet_tf.errors import UserError
from gcnet_tf.files.atomic import write_text
from gcnet_tf.files.checksum import sealed, unsealed
from gcnet_tf.files.remote.addresses import below
from gcnet_tf.files.remote.store import Store

MANIFEST_FILE = "manifest.json"

_SEGMENT_TYPE = "<u4"


@dataclass(frozen=True)
class Shard:
    """A TFRecord file: its name in the split's folder, and the means to check it.

    Attributes:
        file: name in the split's folder.
        num_samples: number of records.
        num_bytes: size.
        sha256: hash of the bytes.
        segments: what `packed_segments` returns of the pieces, in order, that training
            reads in any order; "" in records of older versions. Packed, because there
            may be millions of them.
    """

    file: str
    num_samples: int
    num_bytes: int
    sha256: str
    segments: str = ""

    def __post_init__(self) -> None:
        if not isinstance(self.segments, str):  # older versions wrote lists
            object.__setattr__(self, "segments", packed_segments(self.segments))
        totals = self.segment_table().sum(axis=0).tolist()
        if self.segments and totals != [self.num_samples, self.num_bytes]:
            raise ValueError(f"the segments of {self.file} are not the whole file")

    def segment_table(self) -> np.ndarray:
        """Returns the segments, int64 (number, 2): records and bytes of each."""
        numbers = np.frombuffer(
            base64.b64decode(self.segments, validate=True), _SEGMENT_TYPE
        )
        return numbers.reshape(-1, 2).astype(np.int64)


def packed_segments(segments: Iterable[tuple[int, int]]) -> str:
    """Returns segments as a manifest holds them.

    Args:
        segments: number of records and number of bytes of each, in order.

    Returns:
        Base64 of both numbers of each segment, as little-endian 32-bit integers: 11
        characters a segment, where lists of JSON take 30, and objects of Python 120
        bytes.

    Raises:
        ValueError: when they are not pairs of numbers from 0 to 2**32 - 1.
    """
    pairs = [(length, num_bytes) for length, num_bytes in segments]
    if not all(0 <= number < 2**32 for pair in pairs for number in pair):
        raise ValueError("its segments are not pairs of 32-bit numbers")
    table = np.array(pairs)
    return base64.b64encode(table.astype(_SEGMENT_TYPE).tobytes()).decode()


@dataclass(frozen=True)
class Manifest:
    """The contents of a split's records.

    Attributes:
        dataset: name of the data set in the catalog.
        split: "train" or "val".
        classes: names of the classes in the order of the ids in the labels.
        num_samples: number of images.
        class_histogram: pixels per class over all labels.
        num_ignored_pixels: number of pixels labelled 255.
        shards: the files, in the order of the samples.
        made_with: the settings that decided about the contents, as JSON values.
        limit: greatest number of images, if only the first ones of the split were
            converted; else None.
        source: fingerprint of the files that the records were made from, see
            `records.source`; None in records of older versions.
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
    source: str | None = None

    def content_digest(self) -> str:
        """Returns a hash of all records, the same wherever they lie."""
        text = " ".join(shard.sha256 for shard in self.shards)
        return hashlib.sha256(text.encode()).hexdigest()


def write_manifest(manifest: Manifest, folder: Path) -> None:
    """Writes <folder>/manifest.json, whole or not at all."""
    text = json.dumps(sealed(dataclasses.asdict(manifest)), indent=1)
    write_text(folder / MANIFEST_FILE, text + "\n")


def has_records(directory: str | Path, split: str) -> bool:
    """Tells whether a conversion of this split has ended; checks no other file.

    Raises:
        UserError: when the records are at an address that cannot be read.
    """
    folder = below(directory, split)
    if isinstance(folder, str):
        return Store(folder, "data.records").entry(MANIFEST_FILE) is not None
    return (folder / MANIFEST_FILE).is_file()


def read_manifest(
    directory: str | Path, split: str, check_files: bool = True
) -> Manifest:
    """Reads a split's manifest and checks that its shards exist.

    Args:
        directory: folder of the records of all splits, or its address.
        split: name of the split.
        check_files: checks that every shard exists and has the right size. Checksums
            are not checked, because that would read all records.

    Raises:
        UserError: when there is no manifest, when it cannot be read, or when a shard is
            missing or of another size.
    """
    folder = below(directory, split)
    path = below(folder, MANIFEST_FILE)
    text = _text(folder)
    if text is None:
        raise UserError(
            f"There are no records of the split '{split}' in {directory} (no {path}); "
            "make them with scripts/make_tfrecords.py --cfg CONFIG."
        )
    remedy = (
        "Make the records again: scripts/make_tfrecords.py --cfg CONFIG --overwrite."
    )
    try:
        manifest = _parsed(text)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise UserError(f"{path} is damaged ({error}). {remedy}") from error
    sizes = _sizes(folder, manifest) if check_files else {}
    for shard in manifest.shards if check_files else ():
        file, num_bytes = below(folder, shard.file), sizes.get(shard.file)
        if num_bytes is None:
            raise UserError(f"{file} is missing, but {path} lists it. {remedy}")
        if num_bytes != shard.num_bytes:
            raise UserError(
                f"{file} has {num_bytes} bytes instead of {shard.num_bytes}. {remedy}"
            )
    return manifest


# A start reads the manifest of each split several times, and those of ten million
# images have megabytes. Two splits, each also behind links, have two texts.
@lru_cache(maxsize=2)
def _parsed(text: bytes) -> Manifest:
    fields = unsealed(json.loads(text))
    fields["shards"] = tuple(Shard(**shard) for shard in fields["shards"])
    for key in ("classes", "class_histogram"):
        fields[key] = tuple(fields[key])
    manifest = Manifest(**fields)
    for shard in manifest.shards:
        # A manifest may come from anywhere, and must not have other files read.
        if shard.file in ("", "..") or shard.file != PurePath(shard.file).name:
            raise ValueError(
                f"it names {shard.file!r}, which is not a file of its own folder"
            )
    return manifest


def _text(folder: str | Path) -> bytes | None:
    """Reads the manifest in a folder or at an address; None where there is none."""
    if isinstance(folder, str):
        store = Store(folder, "data.records")
        return store.read(MANIFEST_FILE) if store.entry(MANIFEST_FILE) else None
    path = folder / MANIFEST_FILE
    return path.read_bytes() if path.is_file() else None


def _sizes(folder: str | Path, manifest: Manifest) -> dict[str, int]:
    """Returns the size of each shard that is there, by its name."""
    if isinstance(folder, str):
        found = Store(folder, "data.records").list()
        return {name: entry.num_bytes for name, entry in found.items()}
    sizes = {}
    for shard in manifest.shards:
        # Asked once for each file, because a network answers slowly.
        with suppress(OSError, ValueError):
            stat = (folder / shard.file).stat()
            if S_ISREG(stat.st_mode):
                sizes[shard.file] = stat.st_size
    return sizes


def pixel_table(manifests: list[Manifest]) -> str:
    """Returns a table of the share of each split's pixels that every class has.

    Its last row is the share of the pixels that are not labelled.
    """
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
    """Returns the names of the classes without a single pixel.

    In training data they point to a wrong list of classes, or to masks of 0 and 255
    whose 255 was meant as a class.
    """
    counts = zip(manifest.classes, manifest.class_histogram, strict=True)
    return [name for name, count in counts if count == 0]

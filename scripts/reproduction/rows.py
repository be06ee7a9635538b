"""The published rows to reproduce, and what is there of each."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.table import rows as table
from gcnet_tf.config import Config, load_config
from gcnet_tf.data.instructions import INSTRUCTIONS
from gcnet_tf.data.records.manifest import has_records
from gcnet_tf.data.sources.official import missing_archives
from gcnet_tf.errors import UserError
from gcnet_tf.files.names import quoted
from gcnet_tf.weights.official import cached_path, published_rows

SPLIT = "val"
# Modes of the columns of mIoU; None is the mode of the configuration.
Modes = tuple[str | None, ...]
# Bytes of the published checkpoints: all float32 tensors, of both heads.
CHECKPOINT_BYTES = {50: 197_800_000, 101: 273_700_000}


@dataclass(frozen=True)
class Row:
    """A published row, and the weights that it is computed with.

    Attributes:
        name: name of its configuration.
        config: its configuration, with the user's settings.
        weights: a checkpoint, weights file or run that the user named; None for the
            published checkpoint.
    """

    name: str
    config: Config
    weights: Path | None = None

    @property
    def cached(self) -> Path:
        """The place of the published checkpoint in the cache."""
        return cached_path(str(self.config.published.checkpoint_url))


@dataclass(frozen=True)
class Missing:
    """Files that a row lacks.

    Attributes:
        what: the files, in words.
        num_bytes: size of the download; None when it has to be made by hand.
        advice: what to do about it.
    """

    what: str
    num_bytes: int | None
    advice: str


def rows_named(words: Sequence[str], settings: Sequence[str]) -> list[Row]:
    """Reads the rows of the command line.

    Args:
        words: names of published rows, each alone or as ROW=WEIGHTS; all rows of GCNet
            where there is none.
        settings: changes of all configurations, such as "data.root=elsewhere".

    Raises:
        UserError: when a row is unknown or named twice, or its weights are not there.
    """
    known = published_rows()
    rows: dict[str, Row] = {}
    for word in words or table.published_rows():
        name, _, weights = word.partition("=")
        if name not in known:
            raise UserError(
                f"{quoted(name)} is no published row; allowed: {', '.join(known)}."
            )
        if name in rows:
            raise UserError(f"{name} is named twice; name each row once.")
        if weights and not Path(weights).exists():
            raise UserError(
                f"{name}={weights}: there is no such file; name a checkpoint (.pth), "
                "weights (.weights.h5) or the folder of a run, or leave it out for the "
                "published checkpoint."
            )
        config = load_config(name, settings)
        rows[name] = Row(name, config, Path(weights) if weights else None)
    return list(rows.values())


def missing_of(row: Row) -> list[Missing]:
    """Lists what has to come before a row can be computed."""
    missing = []
    if row.weights is None and not row.cached.is_file():
        missing.append(
            Missing(
                "the checkpoint",
                CHECKPOINT_BYTES[row.config.model.backbone.depth],
                f"Download {row.config.published.checkpoint_url} by --download, or "
                f"name a file: {row.name}=FILE.pth",
            )
        )
    data = row.config.data
    if not has_validation_records(row) and not Path(data.root).is_dir():
        archives = missing_archives(data.dataset, Path(data.root), (SPLIT,))
        missing.append(
            Missing(
                f"the images of {data.dataset}",
                sum(archive.num_bytes for archive in archives) if archives else None,
                INSTRUCTIONS[data.dataset].format(
                    root=data.root, quoted_root=quoted(data.root)
                ),
            )
        )
    return missing


def has_validation_records(row: Row) -> bool:
    """Tells whether the validation set of a row is converted."""
    return has_records(row.config.data.records, SPLIT)


def can_come(missing: Sequence[Missing], download: bool) -> bool:
    """Tells whether a row can be computed, by downloads where these are allowed."""
    return all(download and lack.num_bytes for lack in missing)


def availability(row: Row, missing: Sequence[Missing]) -> str:
    """Returns a line that says what is there of a row, and what the rest costs."""
    if not missing:
        return f"{row.name}: all there"
    costs = [
        (
            f"{lack.what}, {lack.num_bytes / 1e9:.1f} GB"
            if lack.num_bytes
            else f"{lack.what}, by hand"
        )
        for lack in missing
    ]
    return f"{row.name}: lacks {'; '.join(costs)}"

"""The check of those splits, and no others, that are converted next."""

import warnings
from collections.abc import Sequence

from gcnet_tf.config import Config
from gcnet_tf.data.check.inspect import check_files
from gcnet_tf.data.check.report import findings_text
from gcnet_tf.data.prepare import (
    SPLITS,
    ensure_records,
    ensure_source,
    outdated_splits,
)
from gcnet_tf.data.records.manifest import Manifest
from gcnet_tf.data.records.stored import with_local_sources
from gcnet_tf.data.sources.exports.table import exports_read_once
from gcnet_tf.errors import UserError


@exports_read_once()
def checked_records(
    config: Config, splits: Sequence[str] = SPLITS
) -> dict[str, Manifest]:
    """Converts the outdated splits after a check of their files.

    The source is compared with its records once, because that looks at every file.

    Returns:
        The manifest of each split.

    Raises:
        UserError: as `outdated_splits`, `check_before_conversion`, `ensure_records`.
    """
    outdated = outdated_splits(config, splits)
    if outdated:
        config = with_local_sources(config)
    check_before_conversion(config, outdated)
    return ensure_records(config, splits, outdated=outdated)


def check_before_conversion(config: Config, splits: Sequence[str]) -> None:
    """Checks the splits that will be converted, unless `data.check` is false.

    The findings at level "warning" become Python warnings. Nothing is printed when
    there are none.

    Args:
        config: names the data set and its folder.
        splits: those that `outdated_splits` returns.

    Raises:
        UserError: when there are errors, with all of them; or when there is no source.
    """
    if not (config.data.check and splits):
        return
    ensure_source(config)
    report = check_files(config, splits)
    errors = report.kinds("error")
    if errors:
        raise UserError(
            f"{config.data.root} cannot be converted as it is.\n"
            f"{findings_text(report, errors)}\n"
            "For the whole list: python scripts/check_data.py --cfg CONFIG --json FILE"
        )
    # Conversion itself warns of a source that is not complete.
    kinds = [kind for kind in report.kinds("warning") if kind != "source"]
    if kinds:
        warnings.warn(
            f"{config.data.root} is converted, but has problems.\n"
            f"{findings_text(report, kinds)}",
            stacklevel=2,
        )

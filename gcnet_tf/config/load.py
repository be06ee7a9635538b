"""From JSON files and `--set a.b=c` to a checked `Config`, and back.

A file may name others in "_base_" (a string or a list, relative to the file, at most
two levels deep): bases are merged from left to right, then the file itself. Objects
merge key by key; everything else replaces what was there: lists, and objects with a
"class_name", which are one thing.
"""

import dataclasses
import difflib
import json
import re
from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

from gcnet_tf.config.json_text import parse_json, read_json
from gcnet_tf.config.parse import Schema, alternatives, build_config, setting_at, shown
from gcnet_tf.config.schema import Config
from gcnet_tf.config.validate import validate
from gcnet_tf.errors import UserError
from gcnet_tf.files.checksum import unsealed

MAX_BASE_LEVELS = 2
SCHEMA_FILE = "schema.json"


def load_config(path_or_name: str | PathLike, overrides: Sequence[str] = ()) -> Config:
    """Reads a configuration.

    Args:
        path_or_name: a JSON file, or the name of a shipped one ("voc_r50_20k").
        overrides: changes such as "train.batch_size=8", applied in order.

    Raises:
        UserError: when the file is missing or malformed, or a setting is not allowed.
    """
    if isinstance(overrides, str):
        raise UserError(
            f'overrides: received the string "{overrides}"; allowed: a list of them, '
            f'["{overrides}"].'
        )
    path = _find(path_or_name)
    raw = _overridden(_read_with_bases(path, ()), overrides)
    source = " ".join([str(path), *(f"--set {override}" for override in overrides)])
    return _named(source, config_from_dict, raw)


def config_from_dict(raw: Mapping[str, Any], overrides: Sequence[str] = ()) -> Config:
    """Makes a checked configuration from a dict; keys left out keep their defaults.

    Args:
        raw: as `config_to_dict` makes it.
        overrides: as in `load_config`.

    Raises:
        UserError: naming the dotted path, what was received and what is allowed.
    """
    config = build_config(_overridden(dict(raw), overrides))
    validate(config)
    return config


def config_to_dict(config: Config) -> dict[str, Any]:
    """Every setting as JSON values; `config_from_dict` gives the same config back."""

    def plain(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: plain(item) for key, item in value.items()}
        return [plain(item) for item in value] if isinstance(value, tuple) else value

    return plain(dataclasses.asdict(config))


def shipped_configs() -> dict[str, Path]:
    """Name and file of every configuration that comes with the package.

    Sorted by name with numbers as numbers: r50 before r101, 80k before 160k.
    """
    package = Path(__file__).resolve().parent.parent
    # In the wheel they lie inside the package, in a checkout beside it.
    folders = [package / "configs", package.parent / "configs"]
    folder = next((item for item in folders if (item / SCHEMA_FILE).is_file()), None)
    files = sorted(folder.glob("*.json"), key=_natural_order) if folder else []
    return {file.stem: file for file in files if file.name != SCHEMA_FILE}


def _natural_order(file: Path) -> list[tuple[int, str]]:
    parts = re.split(r"(\d+)", file.stem)
    return [(int(part), "") if part.isdigit() else (0, part) for part in parts]


def _find(path_or_name: str | PathLike) -> Path:
    path = Path(path_or_name)
    if path.is_file():
        return path
    shipped = shipped_configs()
    if str(path_or_name) in shipped:
        return shipped[str(path_or_name)]
    if path.is_dir():
        raise UserError(
            f"{path} is a folder; name a configuration file (.json) inside it."
        )
    near = difflib.get_close_matches(path.stem, shipped, n=3, cutoff=0.4)
    raise UserError(
        f"{path} is neither a file nor a shipped configuration; "
        f"the nearest shipped names are {', '.join(near or shipped)}."
    )


def _read_with_bases(path: Path, above: tuple[Path, ...]) -> dict[str, Any]:
    """Reads a file merged over its bases; `above` are the files that led to it."""
    chain = (*above, path)
    _check_chain(chain)
    raw = read_json(path)
    if not isinstance(raw, dict):
        raise UserError(f"{path}: received {shown(raw)}; allowed: an object in braces.")
    raw = _named(path, _unsealed, raw)
    raw.pop("$schema", None)  # names the schema for editors
    bases = _base_paths(path, raw.pop("_base_", []))
    # Each file is checked alone, so that a message names the file that is wrong.
    _named(path, build_config, raw)
    merged: dict[str, Any] = {}
    for base in bases:
        merged = _merge(merged, _read_with_bases(base, chain))
    # Published numbers hold for the very row that states them, not for what starts
    # from it.
    merged.pop("published", None)
    return _merge(merged, raw)


def _unsealed(raw: dict[str, Any]) -> dict[str, Any]:
    """Checks and removes the checksum of a file that a training has written."""
    try:
        return unsealed(raw)
    except ValueError:
        raise UserError(
            "it is not as training wrote it; if you have changed it on purpose, delete "
            'its line "checksum", else put a copy back.'
        ) from None


def _check_chain(chain: tuple[Path, ...]) -> None:
    names = " -> ".join(str(item) for item in chain)
    if chain[-1].resolve() in [item.resolve() for item in chain[:-1]]:
        raise UserError(f"_base_ goes round in a circle: {names}; remove one of them.")
    if len(chain) - 1 > MAX_BASE_LEVELS:
        raise UserError(
            f"_base_ is nested {len(chain) - 1} levels deep: {names}; "
            f"allowed: {MAX_BASE_LEVELS}."
        )


def _base_paths(path: Path, bases: Any) -> list[Path]:
    names = [bases] if isinstance(bases, str) else bases
    if not isinstance(names, list) or not all(isinstance(n, str) for n in names):
        raise UserError(
            f"{path}: _base_: received {shown(bases)}; allowed: a file name or a list "
            "of file names."
        )
    paths = [path.parent / name for name in names]
    for name, base in zip(names, paths):
        if not base.is_file():
            raise UserError(
                f'{path}: _base_: received "{name}", but there is no file {base}; '
                "paths start at the folder of the file that names them."
            )
    return paths


def _merge(low: Any, high: Any) -> Any:
    """`high` over `low`: objects key by key, anything else replaced."""
    if not (isinstance(low, dict) and isinstance(high, dict)):
        return high
    if "class_name" in high:  # the arguments of another class would not fit
        return high
    merged = dict(low)
    for key, value in high.items():
        merged[key] = _merge(low[key], value) if key in low else value
    return merged


def _overridden(raw: dict[str, Any], overrides: Sequence[str]) -> dict[str, Any]:
    for override in overrides:
        raw = _merge(raw, _parse_override(override))
    return raw


def _parse_override(text: str) -> dict[str, Any]:
    """Turns "a.b=c" into {"a": {"b": c}}, checked alone."""
    path, equals, value_text = text.partition("=")
    if not equals or not path:
        raise UserError(
            f'--set: received "{text}"; allowed: key=value without spaces around "=", '
            "for example train.batch_size=8."
        )
    setting = _named("--set", setting_at, path)
    raw = _override_value(setting, value_text, path)
    for key in reversed(path.split(".")):
        raw = {key: raw}
    _named("--set", build_config, raw)
    return raw


def _override_value(setting: Schema, text: str, path: str) -> Any:
    """The value after "=": JSON, or the text itself where a string is expected."""
    try:
        value = parse_json(text, f"--set {path}")
    except json.JSONDecodeError:
        # Not JSON: right for a string; for others the type check tells what is allowed.
        return text
    first, *others = alternatives(setting)
    if first["type"] != "string" or isinstance(value, str):
        return value
    return None if value is None and others else text


def _named(source: Any, function: Any, *arguments: Any) -> Any:
    """Calls a function and puts the source in front of the message of a `UserError`."""
    try:
        return function(*arguments)
    except UserError as error:
        raise UserError(f"{source}: {error}") from None

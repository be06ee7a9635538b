"""Conversion of JSON files and `--set a.b=c` to a checked `Config`, and back.

A file may name base files in "_base_" (a string or a list, relative to the file, at
most two levels deep). The bases are merged from left to right, and the file itself
last. Objects merge key by key. Everything else replaces the earlier value as a whole:
lists too, and objects with a "class_name", because the arguments of one class do not
fit another.
"""

import dataclasses
import difflib
import json
import re
from collections.abc import Mapping, Sequence
from os import PathLike, fspath
from pathlib import Path
from typing import Any

from gcnet_tf.config.json_text import parse_json, read_json
from gcnet_tf.config.parse import Schema, alternatives, build_config, setting_at
from gcnet_tf.config.schema import Config
from gcnet_tf.config.validate import NO_PATH, can_be_path, validate
from gcnet_tf.config.values import shown
from gcnet_tf.errors import UserError
from gcnet_tf.files.checksum import unsealed
from gcnet_tf.files.remote.inputs import local_copy

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
    path = _find_file(path_or_name)
    raw = _apply_overrides(_read_with_bases(path, ()), overrides)
    source = " ".join([str(path), *(f"--set {override}" for override in overrides)])
    return _with_source(source, config_from_dict, raw)


def config_from_dict(raw: Mapping[str, Any], overrides: Sequence[str] = ()) -> Config:
    """Makes a checked configuration from a dict; missing keys keep their defaults.

    Args:
        raw: sections and settings, as `config_to_dict` returns them.
        overrides: as in `load_config`.

    Raises:
        UserError: when a value is not allowed; the message names its dotted path, what
            was received and what is allowed.
    """
    config = build_config(_apply_overrides(dict(raw), overrides))
    validate(config)
    return config


def config_to_dict(config: Config) -> dict[str, Any]:
    """Returns every setting as JSON values; the reverse of `config_from_dict`."""

    def plain(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: plain(item) for key, item in value.items()}
        return [plain(item) for item in value] if isinstance(value, tuple) else value

    return plain(dataclasses.asdict(config))


def shipped_configs() -> dict[str, Path]:
    """Returns the files of the configurations that come with the package, by name.

    They are sorted by name with numbers as numbers: r50 before r101, 80k before 160k.
    """
    package = Path(__file__).resolve().parent.parent
    # A wheel has them inside the package, a checkout beside it.
    folders = [package / "configs", package.parent / "configs"]
    folder = next((item for item in folders if (item / SCHEMA_FILE).is_file()), None)
    files = sorted(folder.glob("*.json"), key=_natural_order) if folder else []
    return {file.stem: file for file in files if file.name != SCHEMA_FILE}


def _natural_order(file: Path) -> list[tuple[int, str]]:
    parts = re.split(r"(\d+)", file.stem)
    return [(int(part), "") if part.isdigit() else (0, part) for part in parts]


def _find_file(path_or_name: str | PathLike) -> Path:
    path_or_name = local_copy(fspath(path_or_name), "--cfg")
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
    near = difflib.get_close_matches(path.stem[:100], shipped, n=3, cutoff=0.4)
    raise UserError(
        f"{path} is neither a file nor a shipped configuration; "
        f"the nearest shipped names are {', '.join(near or shipped)}."
    )


def _read_with_bases(path: Path, above: tuple[Path, ...]) -> dict[str, Any]:
    """Reads a file and merges it over its bases.

    Args:
        path: the file.
        above: the files whose "_base_" led to it, the outermost first.
    """
    chain = (*above, path)
    _check_chain(chain)
    raw = read_json(path)
    if not isinstance(raw, dict):
        raise UserError(f"{path}: received {shown(raw)}; allowed: an object in braces.")
    raw = _with_source(path, _remove_checksum, raw)
    raw.pop("$schema", None)  # only editors use it
    bases = _base_paths(path, raw.pop("_base_", []))
    # Each file is checked alone, so that a message names the file with the mistake.
    _with_source(path, build_config, raw)
    merged: dict[str, Any] = {}
    for base in bases:
        merged = _merge(merged, _read_with_bases(base, chain))
    # Published numbers hold for the row that states them, and not for a configuration
    # that starts from it.
    merged.pop("published", None)
    return _merge(merged, raw)


def _remove_checksum(raw: dict[str, Any]) -> dict[str, Any]:
    """Checks and removes the checksum of a file that training has written."""
    try:
        return unsealed(raw)
    except ValueError:
        raise UserError(
            "the file is not as training wrote it; if you changed it on purpose, "
            'delete its line "checksum", otherwise restore it from a copy.'
        ) from None


def _check_chain(chain: tuple[Path, ...]) -> None:
    names = " -> ".join(str(item) for item in chain)
    if chain[-1].resolve() in [item.resolve() for item in chain[:-1]]:
        raise UserError(f"_base_ forms a circle: {names}; remove one of them.")
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
        if not can_be_path(name):
            raise UserError(f"{path}: _base_: received {NO_PATH}.")
        if not base.is_file():
            raise UserError(
                f'{path}: _base_: received "{name}", but there is no file {base}; '
                "paths start at the folder of the file that names them."
            )
    return paths


def _merge(base: Any, changes: Any) -> Any:
    """Merges `changes` into `base`: objects key by key, anything else as a whole."""
    if not (isinstance(base, dict) and isinstance(changes, dict)):
        return changes
    if "class_name" in changes:  # the arguments of another class would not fit
        return changes
    merged = dict(base)
    for key, value in changes.items():
        merged[key] = _merge(base[key], value) if key in base else value
    return merged


def _apply_overrides(raw: dict[str, Any], overrides: Sequence[str]) -> dict[str, Any]:
    for override in overrides:
        raw = _merge(raw, _parse_override(override))
    return raw


def _parse_override(text: str) -> dict[str, Any]:
    """Turns "a.b=c" into {"a": {"b": c}} and checks it alone."""
    path, equals, value_text = text.partition("=")
    if not equals or not path:
        raise UserError(
            f'--set: received "{text}"; allowed: key=value without spaces around "=", '
            "for example train.batch_size=8."
        )
    setting = _with_source("--set", setting_at, path)
    raw = _override_value(setting, value_text, path)
    for key in reversed(path.split(".")):
        raw = {key: raw}
    _with_source("--set", build_config, raw)
    return raw


def _override_value(setting: Schema, text: str, path: str) -> Any:
    """Returns the value after "=": JSON, or the text itself for a string setting."""
    try:
        value = parse_json(text, f"--set {path}")
    except json.JSONDecodeError:
        # This is right for a string; for another type, the check says what is allowed.
        return text
    first, *others = alternatives(setting)
    if first["type"] != "string" or isinstance(value, str):
        return value
    return None if value is None and others else text


def _with_source(source: Any, function: Any, *arguments: Any) -> Any:
    """Calls a function and puts the source in front of a `UserError`'s message."""
    try:
        return function(*arguments)
    except UserError as error:
        raise UserError(f"{source}: {error}") from None

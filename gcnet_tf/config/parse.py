"""Plain JSON values into the frozen dataclasses of `schema`; anything else is refused.

Types and ranges come from the dataclasses themselves, so that a new setting is written
down once.
"""

import dataclasses
import difflib
import json
import math
import re
import types
import typing
from collections.abc import Mapping
from typing import Any

from gcnet_tf.config.schema import Config
from gcnet_tf.errors import UserError

_TYPE_TEXT = {
    bool: ("true or false", "true or false values"),
    int: ("an integer", "integers"),
    float: ("a number", "numbers"),
    str: ("a string", "strings"),
    dict: ("an object", "objects"),
}


def build_section(section: type, raw: Any, path: str = "") -> Any:
    """Makes a `section` dataclass from a dict; keys left out keep their defaults.

    Args:
        section: a dataclass of `schema`.
        raw: the dict, as JSON gives it.
        path: dotted path of the section, "" for the whole configuration.

    Raises:
        UserError: naming the path, what was received and what is allowed.
    """
    if not isinstance(raw, Mapping):
        raise UserError(
            f"{path or 'the configuration'}: received {shown(raw)}; "
            "allowed: an object with settings in braces."
        )
    hints = typing.get_type_hints(section)
    fields = {field.name: field for field in dataclasses.fields(section)}
    values = {}
    for key, value in raw.items():
        where = f"{path}.{key}" if path else str(key)
        if key not in fields:
            raise unknown_key(where)
        values[key] = _parse(hints[key], fields[key].metadata, value, where)
    return section(**values)


def field_at(path: str) -> tuple[Any, Mapping[str, Any]]:
    """Returns the type and the metadata of the field at a dotted path.

    Raises:
        UserError: when there is none; the message names the nearest one.
    """
    kind: Any = Config
    metadata: Mapping[str, Any] = {}
    for key in path.split("."):
        hints = typing.get_type_hints(kind) if dataclasses.is_dataclass(kind) else {}
        if key not in hints:
            raise unknown_key(path)
        fields = {field.name: field for field in dataclasses.fields(kind)}
        kind, metadata = hints[key], fields[key].metadata
        if is_optional_section(kind) and key != path.rpartition(".")[2]:
            kind = without_none(kind)
    return kind, metadata


def all_paths(section: type = Config, prefix: str = "") -> list[str]:
    """Dotted paths of every section and setting, in the order of the schema."""
    paths = []
    for name, kind in typing.get_type_hints(section).items():
        paths.append(prefix + name)
        if dataclasses.is_dataclass(kind):
            paths += all_paths(typing.cast(type, kind), f"{prefix}{name}.")
        elif is_optional_section(kind):
            paths += all_paths(without_none(kind), f"{prefix}{name}.")
        elif is_list_of_sections(kind):
            element, _ = element_and_length(kind)
            paths += all_paths(element, f"{prefix}{name}[].")
    return paths


def unknown_key(path: str) -> UserError:
    """The error for a path that is no setting, with the nearest valid one."""
    parent, _, leaf = re.sub(r"\[\d+\]", "[]", path).rpartition(".")
    known = all_paths()
    # Last parts of the paths; where one occurs twice, the first of them is suggested.
    anywhere = {name.rpartition(".")[2]: name for name in reversed(known)}
    siblings = {
        name.rpartition(".")[2]: name
        for name in known
        if name.rpartition(".")[0] == parent
    }
    near = [anywhere[leaf]] if leaf in anywhere else []  # right name, wrong section
    for names in (siblings, anywhere):
        near = near or [
            names[name] for name in difflib.get_close_matches(leaf, names, n=1)
        ]
    near = near or difflib.get_close_matches(path, known, n=1, cutoff=0)
    # In quotes where it would not be readable: empty, of several lines, far too long.
    name = path if re.fullmatch(r"[^\s\W][\w.\[\]-]{0,99}", path) else shown(path)
    return UserError(f"{name} is not a setting; the nearest one is {near[0]}.")


def shown(value: Any) -> str:
    """A received value as JSON, cut to a readable length."""
    try:
        text = json.dumps(value, ensure_ascii=False)
    except (TypeError, ValueError):
        text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def type_text(kind: Any, many: bool = False) -> str:
    """A type in words: "an integer", "a list of 2 integers", "a number or null"."""
    if kind in _TYPE_TEXT:
        return _TYPE_TEXT[kind][many]
    if dataclasses.is_dataclass(kind):
        names = ", ".join(field.name for field in dataclasses.fields(kind))
        return f"{'objects' if many else 'an object'} with the settings {names}"
    others = [*map(shown, words_of(kind)), *(["null"] if is_optional(kind) else [])]
    if others:
        return " or ".join([type_text(without_none(kind), many), *others])
    assert typing.get_origin(kind) is tuple, f"no text for the type {kind}"
    element, length = element_and_length(kind)
    count = "" if length is None else f"{length} "
    return f"{'lists' if many else 'a list'} of {count}{type_text(element, True)}"


def range_text(metadata: Mapping[str, Any]) -> str:
    """A range in words: "above 0 and at most 1", "one of 18, 34"; "" when open."""
    if metadata["choices"] is not None:
        return "one of " + ", ".join(shown(choice) for choice in metadata["choices"])
    bounds = [
        f"{words} {metadata[name]}"
        for name, words in (
            ("at_least", "at least"),
            ("above", "above"),
            ("at_most", "at most"),
        )
        if metadata[name] is not None
    ]
    return " and ".join(bounds)


def allowed_text(kind: Any, metadata: Mapping[str, Any]) -> str:
    """Type and range in one phrase."""
    bounds = range_text(metadata)
    if not bounds:
        return type_text(kind)
    each = "each " if typing.get_origin(without_none(kind)) is tuple else ""
    return f"{type_text(kind)}, {each}{bounds}"


def is_optional(kind: Any) -> bool:
    """Whether a type is written `X | None`."""
    return types.NoneType in _alternatives(kind)


def words_of(kind: Any) -> tuple[str, ...]:
    """The words of `X | Literal["word"]`, which stand for a value that is computed."""
    literals = [item for item in _alternatives(kind) if _is_literal(item)]
    return tuple(word for item in literals for word in typing.get_args(item))


def without_none(kind: Any) -> Any:
    """The X of `X | Literal["word"] | None`; any other type as it is."""
    (inner,) = (
        item
        for item in _alternatives(kind)
        if item is not types.NoneType and not _is_literal(item)
    )
    return inner


def _alternatives(kind: Any) -> tuple[Any, ...]:
    """The parts of `X | Y`; any other type alone."""
    # With a Literal in it, Python makes a typing.Union, and else a types.UnionType.
    is_union = typing.get_origin(kind) in (types.UnionType, typing.Union)
    return typing.get_args(kind) if is_union else (kind,)


def _is_literal(kind: Any) -> bool:
    return typing.get_origin(kind) is typing.Literal


def is_optional_section(kind: Any) -> bool:
    """Whether a type is written `X | None` with a dataclass X."""
    return is_optional(kind) and dataclasses.is_dataclass(without_none(kind))


def is_list_of_sections(kind: Any) -> bool:
    """Whether a type is written `tuple[X, ...]` with a dataclass X."""
    is_tuple = typing.get_origin(kind) is tuple
    return is_tuple and dataclasses.is_dataclass(typing.get_args(kind)[0])


def element_and_length(kind: Any) -> tuple[Any, int | None]:
    """The element type of a tuple type and its length (None when it may vary)."""
    arguments = typing.get_args(kind)
    if arguments[-1] is Ellipsis:
        return arguments[0], None
    assert len(set(arguments)) == 1, f"elements of several types: {kind}"
    return arguments[0], len(arguments)


def _parse(kind: Any, metadata: Mapping[str, Any], value: Any, where: str) -> Any:
    """Checks one value against its type and range; lists become tuples."""
    if dataclasses.is_dataclass(kind):
        return build_section(typing.cast(type, kind), value, where)
    if is_optional(kind) and value is None:
        return None
    if isinstance(value, str) and value in words_of(kind):
        return value
    inner = without_none(kind)
    if dataclasses.is_dataclass(inner):
        return build_section(typing.cast(type, inner), value, where)
    if typing.get_origin(inner) is not tuple:
        parsed = _parse_scalar(inner, value)
        if parsed is None or not _in_range(parsed, metadata):
            raise _refused(where, value, kind, metadata)
        return parsed
    element, length = element_and_length(inner)
    if not isinstance(value, (list, tuple)) or length not in (None, len(value)):
        raise _refused(where, value, kind, metadata)
    return tuple(
        _parse(element, metadata, item, f"{where}[{index}]")
        for index, item in enumerate(value)
    )


def _parse_scalar(kind: Any, value: Any) -> Any:
    """The value as its type, or None when it is of another one."""
    # In Python True is an integer; a configuration means what it says.
    if isinstance(value, bool) and kind is not bool:
        return None
    if kind is float and isinstance(value, (int, float)):
        try:
            number = float(value)
        except OverflowError:
            return None
        # JSON's 1e999 arrives as infinity.
        return number if math.isfinite(number) else None
    return value if isinstance(value, kind) else None


def _in_range(value: Any, metadata: Mapping[str, Any]) -> bool:
    checks = (
        metadata["choices"] is None or value in metadata["choices"],
        metadata["at_least"] is None or value >= metadata["at_least"],
        metadata["above"] is None or value > metadata["above"],
        metadata["at_most"] is None or value <= metadata["at_most"],
    )
    return all(checks)


def _refused(
    where: str, value: Any, kind: Any, metadata: Mapping[str, Any]
) -> UserError:
    return UserError(
        f"{where}: received {shown(value)}; allowed: {allowed_text(kind, metadata)}."
    )

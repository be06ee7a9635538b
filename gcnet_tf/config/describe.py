"""What can be configured, written out from the dataclasses for people and editors."""

import dataclasses
import textwrap
import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from gcnet_tf.config.json_text import LINE_WIDTH
from gcnet_tf.config.parse import (
    allowed_text,
    element_and_length,
    is_optional,
    shown,
    without_none,
    words_of,
)
from gcnet_tf.config.schema import Config

_JSON_TYPE = {
    bool: "boolean",
    int: "integer",
    float: "number",
    str: "string",
    dict: "object",
}


@dataclass(frozen=True)
class Setting:
    """One setting: where it stands, what it is without a word, what it may be."""

    path: str
    default: Any
    allowed: str
    doc: str


def list_settings(section: type = Config, prefix: str = "") -> Iterator[Setting]:
    """Every setting in the order of the schema; sections themselves are left out."""
    hints = typing.get_type_hints(section)
    defaults = section()
    for field in dataclasses.fields(section):
        kind, path = hints[field.name], prefix + field.name
        if dataclasses.is_dataclass(kind):
            yield from list_settings(typing.cast(type, kind), f"{path}.")
        else:
            default = getattr(defaults, field.name)
            allowed = allowed_text(kind, field.metadata)
            yield Setting(path, default, allowed, field.metadata["doc"])


def describe() -> str:
    """Returns a listing of all settings: documentation, allowed values, default."""
    blocks = []
    for item in list_settings():
        comment = textwrap.wrap(
            f"{item.doc} Allowed: {item.allowed}.",
            LINE_WIDTH,
            initial_indent="# ",
            subsequent_indent="# ",
        )
        blocks.append("\n".join([*comment, f"{item.path} = {shown(item.default)}"]))
    return "\n\n".join(blocks)


def json_schema() -> dict[str, Any]:
    """Returns the JSON Schema (draft 7, which editors know best) of a config file."""
    root = _section_schema(Config, "A gcnet_tf configuration.")
    extra = {
        "$schema": {"type": "string", "description": "This schema, for editors."},
        "_base_": {
            "type": ["string", "array"],
            "items": {"type": "string"},
            "description": "Files to start from, relative to this one; what this file "
            "says goes on top of them.",
        },
    }
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "gcnet_tf configuration",
        **root,
        "properties": {**extra, **root["properties"]},
    }


def _section_schema(section: type, doc: str) -> dict[str, Any]:
    hints = typing.get_type_hints(section)
    defaults = section()
    properties = {}
    for field in dataclasses.fields(section):
        kind, doc_of_field = hints[field.name], field.metadata["doc"]
        if dataclasses.is_dataclass(kind):
            section_kind = typing.cast(type, kind)
            properties[field.name] = _section_schema(section_kind, doc_of_field)
        else:
            properties[field.name] = {
                "description": doc_of_field,
                "default": _plain(getattr(defaults, field.name)),
                **_value_schema(kind, field.metadata),
            }
    return {
        "type": "object",
        "description": doc,
        "additionalProperties": False,
        "properties": properties,
    }


def _value_schema(kind: Any, metadata: Mapping[str, Any]) -> dict[str, Any]:
    if dataclasses.is_dataclass(kind):
        return _section_schema(typing.cast(type, kind), "One of the list.")
    inner = without_none(kind)
    if dataclasses.is_dataclass(inner):
        section = _section_schema(typing.cast(type, inner), "An object by its name.")
        return {"anyOf": [section, {"type": "null"}]}
    if typing.get_origin(inner) is tuple:
        element, length = element_and_length(inner)
        size = {} if length is None else {"minItems": length, "maxItems": length}
        array = {"type": "array", "items": _value_schema(element, metadata), **size}
        others = [*words_of(kind), *([None] if is_optional(kind) else [])]
        return {"anyOf": [array, {"enum": others}]} if others else array
    name = _JSON_TYPE[inner]
    schema: dict[str, Any] = {"type": [name, "null"] if is_optional(kind) else name}
    for key, keyword in (
        ("at_least", "minimum"),
        ("above", "exclusiveMinimum"),
        ("at_most", "maximum"),
    ):
        if metadata[key] is not None:
            schema[keyword] = metadata[key]
    if metadata["choices"] is not None:
        schema["enum"] = [*metadata["choices"], *([None] if is_optional(kind) else [])]
    return schema


def _plain(value: Any) -> Any:
    return [_plain(item) for item in value] if isinstance(value, tuple) else value


def published_table(configs: Mapping[str, Config]) -> str:
    """Returns a Markdown table of the configurations that carry published numbers."""
    lines = [
        "| configuration | crop | inference | iterations | batch | mIoU | ms+flip "
        "| memory (GB) | fps | weights |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for name, config in configs.items():
        row = config.published
        if row.miou is None:
            continue
        height, width = config.augment.crop_size
        cells = [
            f"`{name}`",
            f"{height}x{width}",
            config.evaluation.mode,
            str(config.train.iterations),
            str(config.train.batch_size),
            *(
                "-" if number is None else f"{number:.{digits}f}"
                for number, digits in (
                    (row.miou, 2),
                    (row.miou_ms_flip, 2),
                    (row.memory_gb, 1),
                    (row.fps, 2),
                )
            ),
            f"[pth]({row.checkpoint_url})",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)

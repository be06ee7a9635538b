"""Listings of the settings, made from the schema for people and for editors."""

import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from gcnet_tf.config.json_text import LINE_WIDTH
from gcnet_tf.config.parse import Schema, allowed_text, config_schema
from gcnet_tf.config.schema import Config
from gcnet_tf.config.values import shown


@dataclass(frozen=True)
class Setting:
    """A setting: its dotted path, default, allowed values in words, and meaning."""

    path: str
    default: Any
    allowed: str
    doc: str


def list_settings() -> Iterator[Setting]:
    """Yields every setting, but no section, in the order of the schema."""
    yield from _settings_of(config_schema(), "")


def _settings_of(section: Schema, prefix: str) -> Iterator[Setting]:
    for name, item in section["properties"].items():
        path = prefix + name
        if "properties" in item:
            yield from _settings_of(item, f"{path}.")
        else:
            allowed = allowed_text(item)
            yield Setting(path, item["default"], allowed, item["description"])


def describe() -> str:
    """Returns a listing of all settings: meaning, allowed values and default."""
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
    extra = {
        "$schema": {"type": "string", "description": "This schema, for editors."},
        "_base_": {
            "type": ["string", "array"],
            "items": {"type": "string"},
            "description": "Files to start from, relative to this one; the settings of "
            "this file override theirs.",
        },
    }
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "gcnet_tf configuration",
        **config_schema(),
        "properties": {**extra, **config_schema()["properties"]},
    }


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
                "-" if value is None else f"{value:.{digits}f}"
                for value, digits in (
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

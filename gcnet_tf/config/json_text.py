"""JSON files that people write and read.

Reading reports each mistake that Python's `json` would accept silently. Writing keeps
short lists on one line.
"""

import json
from pathlib import Path
from typing import Any

from gcnet_tf.errors import UserError

LINE_WIDTH = 88


def read_json(path: Path) -> Any:
    """Reads a JSON file.

    Raises:
        UserError: when the file cannot be read, is not JSON (with line and column),
            repeats a key inside one object, or holds NaN or Infinity.
    """
    try:
        # utf-8-sig, because editors on Windows put a byte order mark in front.
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}.") from None
    except UnicodeDecodeError as error:
        raise UserError(
            f"{path} is not UTF-8 text (byte {error.start}): save it as UTF-8."
        ) from None
    try:
        return parse_json(text, str(path))
    except json.JSONDecodeError as error:
        raise UserError(
            f"{path}, line {error.lineno}, column {error.colno}: "
            f"this is not JSON: {error.msg}."
        ) from None


def parse_json(text: str, source: str) -> Any:
    """Parses JSON text.

    Args:
        text: the JSON text.
        source: name of the text for messages.

    Raises:
        json.JSONDecodeError: when the text is not JSON.
        UserError: when Python would read the text but lose a part of it (repeated
            keys), when it holds a constant that JSON does not have (NaN), or when it is
            absurdly large.
    """

    def unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        result: dict[str, Any] = {}
        for key, value in pairs:
            if key in result:
                raise UserError(
                    f'{source}: the key "{key}" occurs twice in the same object; '
                    "keep one of the two."
                )
            result[key] = value
        return result

    def refuse_constant(name: str) -> None:
        raise UserError(f"{source}: {name} is not a number that a setting can have.")

    try:
        return json.loads(
            text, object_pairs_hook=unique_keys, parse_constant=refuse_constant
        )
    except (json.JSONDecodeError, UserError):
        raise
    except (ValueError, RecursionError):
        # Python refuses integers of more than 4300 digits and thousands of nested
        # brackets with these two errors.
        raise UserError(
            f"{source}: a number is too long or lists are nested too deeply."
        ) from None


def format_json(value: Any, indent: int = 0) -> str:
    """Returns JSON text with two spaces of indentation and short lists on one line.

    `json.dumps(indent=2)` would spread [512, 512] over four lines.

    Args:
        value: the value to write.
        indent: number of spaces in front of the line on which the value starts.
    """
    flat = json.dumps(value, ensure_ascii=False, allow_nan=False)
    is_short = len(flat) + indent <= LINE_WIDTH
    if not isinstance(value, (dict, list)) or not value:
        return flat
    if isinstance(value, list) and is_short:
        return flat
    pad = " " * (indent + 2)
    if isinstance(value, dict):
        items = [
            f"{pad}{json.dumps(key, ensure_ascii=False)}: "
            f"{format_json(item, indent + 2)}"
            for key, item in value.items()
        ]
        opening, closing = "{", "}"
    else:
        items = [pad + format_json(item, indent + 2) for item in value]
        opening, closing = "[", "]"
    return f"{opening}\n" + ",\n".join(items) + f"\n{' ' * indent}{closing}"

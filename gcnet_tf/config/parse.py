"""Conversion of plain JSON values to the frozen dataclasses of `schema`.

Pydantic checks the values. The messages say in our own words what is allowed; these
words come from the JSON Schema that pydantic makes of the dataclasses.
"""

import difflib
import json
import re
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

from pydantic import TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from gcnet_tf.config.schema import Config
from gcnet_tf.config.values import shown
from gcnet_tf.errors import UserError, require_utf8

Schema = dict[str, Any]

_ADAPTER = TypeAdapter(Config)
_TYPE_TEXT = {
    "boolean": ("true or false", "true or false values"),
    "integer": ("an integer", "integers"),
    "number": ("a number", "numbers"),
    "string": ("a string", "strings"),
    "object": ("an object", "objects"),
    "null": ("null", "null"),
}
# To look for the nearest to a path of megabytes would take half a minute.
_LONGEST_PATH = 200
_BOUND_TEXT = {
    "minimum": "at least",
    "exclusiveMinimum": "above",
    "maximum": "at most",
    "exclusiveMaximum": "below",
}


def build_config(raw: Mapping[str, Any]) -> Config:
    """Makes a configuration from a dict; missing keys keep their defaults.

    Raises:
        UserError: when a value is not allowed; the message names its path, what was
            received and what is allowed.
    """
    try:
        text = json.dumps(raw)
    except (TypeError, ValueError) as error:
        raise UserError(f"the configuration is not plain JSON: {error}.") from None
    except RecursionError:
        raise UserError("the configuration is nested too deeply.") from None
    for name in _strings(raw):
        require_utf8(name, "configuration")
    try:
        # From JSON text, because only there does pydantic accept a list for a tuple.
        return _ADAPTER.validate_json(text)
    except ValidationError as error:
        raise _refusal(error.errors(include_url=False)[0]) from None


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        yield from _strings([*value, *value.values()])
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _strings(item)


def _refusal(error: ErrorDetails) -> UserError:
    """Returns the error with its path, what was received and what is allowed."""
    if error["type"] == "json_invalid":  # nested too deeply, or half a character
        return UserError(f"the configuration is not plain JSON: {error['msg']}.")
    # When a list is too short, pydantic names the missing element; the message is about
    # the list.
    keys = error["loc"][:-1] if error["type"] == "missing" else error["loc"]
    setting, path = config_schema(), ""
    for key in keys:
        first = alternatives(setting)[0]
        if isinstance(key, int):
            setting, path = first["items"], f"{path}[{key}]"
        elif "properties" in first:  # any other key names a type of a union
            path = f"{path}.{key}" if path else key
            if key not in first["properties"]:
                return unknown_key(path)
            setting = first["properties"][key]
    allowed = allowed_text(setting)
    if "properties" in alternatives(setting)[0]:
        allowed = "an object with settings in braces"
    where, received = path or "the configuration", shown(error["input"])
    return UserError(f"{where}: received {received}; allowed: {allowed}.")


def setting_at(path: str) -> Schema:
    """Returns the schema of the section or setting at a dotted path.

    Raises:
        UserError: when there is none; the message names the nearest setting.
    """
    if path not in settings_by_path():
        raise unknown_key(path)
    return settings_by_path()[path]


def unknown_key(path: str) -> UserError:
    """Returns the error for a path that is no setting; it names the nearest one."""
    path = path[:_LONGEST_PATH]
    parent, _, leaf = re.sub(r"\[\d+\]", "[]", path).rpartition(".")
    known = list(settings_by_path())
    # Settings by the last part of their path. Where two settings share it, the first is
    # suggested.
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
    # Quotes keep a path readable that is empty, has several lines or is far too long.
    name = path if re.fullmatch(r"[^\s\W][\w.\[\]-]{0,99}", path) else shown(path)
    return UserError(f"{name} is not a setting; the nearest one is {near[0]}.")


def allowed_text(setting: Schema) -> str:
    """Returns type and range in words: "a list of 2 integers, each at least 1"."""
    value, prefix = alternatives(setting)[0], ""
    while value["type"] == "array":
        value, prefix = alternatives(value["items"])[0], "each "
    bounds = [
        f"{words} {value[keyword]}"
        for keyword, words in _BOUND_TEXT.items()
        if keyword in value
    ]
    if "enum" in value:
        bounds = ["one of " + ", ".join(map(shown, value["enum"]))]
    text = _type_text(setting)
    return f"{text}, {prefix}{' and '.join(bounds)}" if bounds else text


def _type_text(setting: Schema, plural: bool = False) -> str:
    """Returns a type in words: "a list of 2 integers", "a number or null"."""
    return " or ".join(
        _alternative_text(alternative, plural) for alternative in alternatives(setting)
    )


def _alternative_text(value: Schema, plural: bool) -> str:
    if "const" in value:
        return shown(value["const"])
    if "properties" in value:
        names = ", ".join(value["properties"])
        return f"{'objects' if plural else 'an object'} with the settings {names}"
    if value["type"] != "array":
        return _TYPE_TEXT[value["type"]][plural]
    length = f"{value['minItems']} " if "minItems" in value else ""
    items = _type_text(value["items"], plural=True)
    return f"{'lists' if plural else 'a list'} of {length}{items}"


def alternatives(setting: Schema) -> list[Schema]:
    """Returns [X, Y] for a type `X | Y`, and any other type as the only element.

    Only X may have a range.
    """
    return setting.get("anyOf", [setting])


@cache  # on first use, because reading a file without mistakes does not need it
def config_schema() -> Schema:
    """Returns the JSON Schema of `Config`."""
    generated = _ADAPTER.json_schema()
    return _plain(generated, generated["$defs"])


@cache
def settings_by_path() -> dict[str, Schema]:
    """Returns the schema of every section and setting, in the order of `Config`.

    The path of a setting in a list of objects is, for example, "data.also[].root".
    """
    return _by_path(config_schema())


def _plain(schema: Any, sections: Mapping[str, Any]) -> Any:
    """Rewrites a schema in draft 7, with each section in place of its reference.

    Draft 7, because editors know it best; in place, because a setting is then found by
    its path.
    """
    if isinstance(schema, list):
        return [_plain(item, sections) for item in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        schema = {**sections[schema["$ref"].rpartition("/")[2]], **schema}
    if "prefixItems" in schema:  # a tuple, whose elements are all of one type
        schema = {**schema, "items": schema["prefixItems"][0]}
    if isinstance(schema.get("description"), str):  # a docstring of several lines
        schema = {**schema, "description": " ".join(schema["description"].split())}
    unwanted = ("$defs", "$ref", "prefixItems", "title")
    return {
        key: _plain(item, sections)
        for key, item in schema.items()
        if key not in unwanted
    }


def _by_path(section: Schema, prefix: str = "") -> dict[str, Schema]:
    settings = {}
    for name, setting in section["properties"].items():
        path = prefix + name
        settings[path] = setting
        value = alternatives(setting)[0]
        if value["type"] == "array":
            value, path = value["items"], f"{path}[]"
        if "properties" in value:
            settings |= _by_path(value, f"{path}.")
    return settings

"""Plain JSON values into the frozen dataclasses of `schema`; anything else is refused.

Pydantic checks them. What is allowed is said in our own words, which are read from the
JSON Schema that it makes.
"""

import difflib
import json
import re
from collections.abc import Mapping
from functools import cache
from typing import Any

from pydantic import TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from gcnet_tf.config.schema import Config
from gcnet_tf.errors import UserError

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
_BOUND_TEXT = {
    "minimum": "at least",
    "exclusiveMinimum": "above",
    "maximum": "at most",
}


def build_config(raw: Mapping[str, Any]) -> Config:
    """Makes a configuration from a dict; keys left out keep their defaults.

    Raises:
        UserError: naming the path, what was received and what is allowed.
    """
    try:
        text = json.dumps(raw)
    except (TypeError, ValueError) as error:
        raise UserError(f"the configuration is not plain JSON: {error}.") from None
    try:
        # From JSON, because only there pydantic takes a list for a tuple.
        return _ADAPTER.validate_json(text)
    except ValidationError as error:
        raise _refusal(error.errors(include_url=False)[0]) from None


def _refusal(error: ErrorDetails) -> UserError:
    """Says in our words where the error is, what was received and what is allowed."""
    if error["type"] == "json_invalid":  # nested too deeply, or half a character
        return UserError(f"the configuration is not plain JSON: {error['msg']}.")
    # Of a list that is too short, pydantic names the element that is missing.
    keys = error["loc"][:-1] if error["type"] == "missing" else error["loc"]
    setting, path = config_schema(), ""
    for key in keys:
        first = alternatives(setting)[0]
        if isinstance(key, int):
            setting, path = first["items"], f"{path}[{key}]"
        elif "properties" in first:  # otherwise the key names one type of a union
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
        UserError: when there is none; the message names the nearest one.
    """
    if path not in settings_by_path():
        raise unknown_key(path)
    return settings_by_path()[path]


def unknown_key(path: str) -> UserError:
    """Makes the error for a path that is no setting, with the nearest valid one."""
    parent, _, leaf = re.sub(r"\[\d+\]", "[]", path).rpartition(".")
    known = list(settings_by_path())
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
    """Writes a received value as JSON, cut to a readable length."""
    try:
        text = json.dumps(value, ensure_ascii=False)
    except (TypeError, ValueError):
        text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def allowed_text(setting: Schema) -> str:
    """Says type and range in words: "a list of 2 integers, each at least 1"."""
    value, each = alternatives(setting)[0], ""
    while value["type"] == "array":
        value, each = alternatives(value["items"])[0], "each "
    bounds = [
        f"{words} {value[keyword]}"
        for keyword, words in _BOUND_TEXT.items()
        if keyword in value
    ]
    if "enum" in value:
        bounds = ["one of " + ", ".join(map(shown, value["enum"]))]
    text = _type_text(setting)
    return f"{text}, {each}{' and '.join(bounds)}" if bounds else text


def _type_text(setting: Schema, many: bool = False) -> str:
    """Says a type in words: "a list of 2 integers", "a number or null"."""
    return " or ".join(_alternative_text(each, many) for each in alternatives(setting))


def _alternative_text(value: Schema, many: bool) -> str:
    if "const" in value:
        return shown(value["const"])
    if "properties" in value:
        names = ", ".join(value["properties"])
        return f"{'objects' if many else 'an object'} with the settings {names}"
    if value["type"] != "array":
        return _TYPE_TEXT[value["type"]][many]
    count = f"{value['minItems']} " if "minItems" in value else ""
    return (
        f"{'lists' if many else 'a list'} of {count}{_type_text(value['items'], True)}"
    )


def alternatives(setting: Schema) -> list[Schema]:
    """Returns X and Y of a type `X | Y`, any other type alone; X may have a range."""
    return setting.get("anyOf", [setting])


@cache  # made when first asked for: reading a faultless file does without
def config_schema() -> Schema:
    """Returns the JSON Schema of `Config`."""
    generated = _ADAPTER.json_schema()
    return _plain(generated, generated["$defs"])


@cache
def settings_by_path() -> dict[str, Schema]:
    """Returns the schema of every section and setting, in the order of `Config`.

    "data.also[].root" is the path of a setting in the objects of a list.
    """
    return _by_path(config_schema())


def _plain(schema: Any, sections: Mapping[str, Any]) -> Any:
    """Rewrites a schema as draft 7 has it, with each section in its place.

    Editors know draft 7 best, and a setting is found by its path.
    """
    if isinstance(schema, list):
        return [_plain(item, sections) for item in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        schema = {**sections[schema["$ref"].rpartition("/")[2]], **schema}
    if "prefixItems" in schema:  # a tuple, whose elements are all of one type
        schema = {**schema, "items": schema["prefixItems"][0]}
    if isinstance(schema.get("description"), str):  # a docstring, of several lines
        schema = {**schema, "description": " ".join(schema["description"].split())}
    left_out = ("$defs", "$ref", "prefixItems", "title")
    return {
        key: _plain(item, sections)
        for key, item in schema.items()
        if key not in left_out
    }


def _by_path(section: Schema, prefix: str = "") -> dict[str, Schema]:
    found = {}
    for name, setting in section["properties"].items():
        path = prefix + name
        found[path] = setting
        value = alternatives(setting)[0]
        if value["type"] == "array":
            value, path = value["items"], f"{path}[]"
        if "properties" in value:
            found |= _by_path(value, f"{path}.")
    return found

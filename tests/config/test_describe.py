import dataclasses
import json
from pathlib import Path

import pytest

from gcnet_tf.config import Config, config_from_dict, config_to_dict, load_config
from gcnet_tf.config.describe import (
    describe,
    json_schema,
    list_settings,
    published_table,
)
from gcnet_tf.config.json_text import format_json
from gcnet_tf.config.load import shipped_configs

CONFIGS = Path(__file__).resolve().parents[2] / "configs"


def leaves(value, prefix=""):
    """Yields the dotted path and the value of every leaf of a nested dict."""
    for key, item in value.items():
        if isinstance(item, dict):
            yield from leaves(item, f"{prefix}{key}.")
        else:
            yield prefix + key, item


def test_listing_holds_every_setting_once_with_its_default():
    listed = {item.path: item.default for item in list_settings()}
    assert len(listed) == len(list(list_settings()))
    as_json = json.loads(json.dumps(listed))
    assert as_json == dict(leaves(config_to_dict(Config())))


def test_every_setting_is_documented():
    for item in list_settings():
        assert item.doc.endswith(".") and len(item.doc) > 15, item.path


def test_defaults_are_within_their_own_range():
    # The class list is the only setting whose default is not allowed.
    raw = config_to_dict(Config())
    raw["data"]["classes"] = ["a", "b"]
    assert config_from_dict(raw).train == Config().train


def test_description_reads_well():
    text = describe()
    assert (
        "# Images per step over all replicas together. Allowed: an integer, at least 1."
        "\ntrain.batch_size = 16\n"
    ) in text
    assert "augment.crop_size = [512, 512]" in text
    assert max(len(line) for line in text.splitlines()) <= 100


@pytest.mark.parametrize(
    "path, expected",
    [
        ("train.batch_size", {"type": "integer", "minimum": 1, "default": 16}),
        ("train.learning_rate", {"type": "number", "exclusiveMinimum": 0}),
        ("model.align_corners", {"type": "boolean", "default": False}),
        ("model.backbone.depth", {"type": "integer", "enum": [18, 34, 50, 101]}),
        (
            "published.miou",
            {"anyOf": [{"type": "number", "minimum": 0}, {"type": "null"}]},
        ),
        (
            "augment.crop_size",
            {
                "type": "array",
                "items": {"type": "integer", "minimum": 1},
                "minItems": 2,
                "maxItems": 2,
            },
        ),
        (
            "data.palette",
            {
                "type": "array",
                "items": {
                    "type": "array",
                    "items": {"type": "integer", "minimum": 0, "maximum": 255},
                    "minItems": 3,
                    "maxItems": 3,
                },
            },
        ),
    ],
)
def test_schema_states_type_range_and_default(path, expected):
    schema = json_schema()
    for key in path.split("."):
        assert schema["additionalProperties"] is False
        schema = schema["properties"][key]
    assert expected.items() <= schema.items()
    assert schema["description"]


def test_schema_knows_all_sections_and_the_two_special_keys():
    names = {field.name for field in dataclasses.fields(Config)}
    assert set(json_schema()["properties"]) == names | {"$schema", "_base_"}


def test_committed_schema_is_up_to_date():
    committed = (CONFIGS / "schema.json").read_text(encoding="utf-8")
    assert (
        committed == format_json(json_schema()) + "\n"
    ), "run: python scripts/show_config.py --schema > configs/schema.json"


def test_committed_table_is_up_to_date():
    text = (CONFIGS / "README.md").read_text(encoding="utf-8")
    _, rest = text.split("<!-- published rows -->\n")
    committed, _ = rest.split("\n<!-- end of published rows -->")
    rows = {name: load_config(path) for name, path in shipped_configs().items()}
    assert committed == published_table(
        rows
    ), "put the output of `python scripts/show_config.py --table` into the README"
    assert len(committed.splitlines()) == 2 + 17


def test_table_shows_a_row_of_numbers():
    text = published_table({"x": load_config("voc_r101_20k")})
    cells = [cell.strip() for cell in text.splitlines()[2].split("|")[1:-2]]
    expected = "`x` 512x512 whole 20000 16 77.41 78.56 9.2 14.80"
    assert cells == expected.split()


@pytest.mark.parametrize(
    "value, text",
    [
        ({"a": [1, 2]}, '{\n  "a": [1, 2]\n}'),
        ({"a": {}}, '{\n  "a": {}\n}'),
        ({"a": {"b": None}}, '{\n  "a": {\n    "b": null\n  }\n}'),
        ({"é": "ü"}, '{\n  "é": "ü"\n}'),
    ],
)
def test_json_is_written_with_short_lists_on_one_line(value, text):
    assert format_json(value) == text


def test_long_lists_are_broken_and_read_back_the_same():
    value = {"colours": [[i, i, i] for i in range(40)], "names": ["x" * 50, "y" * 50]}
    text = format_json(value)
    assert json.loads(text) == value
    assert max(len(line) for line in text.splitlines()) <= 88


def test_not_a_number_is_never_written():
    with pytest.raises(ValueError):
        format_json({"a": float("nan")})

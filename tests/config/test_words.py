"""Settings that take a word, such as "auto", in place of a list."""

import pytest

from gcnet_tf.config import config_from_dict, load_config
from gcnet_tf.config.describe import json_schema, list_settings
from gcnet_tf.errors import UserError


def weights(value):
    raw = {"data": {"dataset": "shapes"}, "train": {"class_weights": value}}
    return config_from_dict(raw).train.class_weights


def test_the_word_the_list_and_null():
    assert weights("auto") == "auto"
    assert weights([1, 2.5]) == (1.0, 2.5)
    assert weights(None) is None


@pytest.mark.parametrize("value", ["Auto", 3, True, ["auto"], [1, 0]])
def test_anything_else_is_refused(value):
    with pytest.raises(UserError, match="train.class_weights.*received"):
        weights(value)


@pytest.mark.parametrize(
    "text, value", [("auto", "auto"), ("[1,2]", (1.0, 2.0)), ("null", None)]
)
def test_on_the_command_line(text, value):
    config = load_config("shapes_r18", [f"train.class_weights={text}"])
    assert config.train.class_weights == value


def test_words_are_described():
    (setting,) = [s for s in list_settings() if s.path == "train.class_weights"]
    assert setting.allowed == 'a list of numbers or "auto" or null, each above 0'
    properties = json_schema()["properties"]["train"]["properties"]
    assert properties["class_weights"]["anyOf"] == [
        {"type": "array", "items": {"type": "number", "exclusiveMinimum": 0}},
        {"type": "string", "const": "auto"},
        {"type": "null"},
    ]

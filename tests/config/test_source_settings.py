"""The settings of data.also, a list of sections, and of data.label_map."""

import json

import pytest

from gcnet_tf.config import config_from_dict, config_to_dict, load_config
from gcnet_tf.config.describe import describe, json_schema
from gcnet_tf.config.schema_data import SourceConfig
from gcnet_tf.errors import UserError


def raw(**data):
    return {"data": {"dataset": "folder", "classes": ["road", "sky"], **data}}


def test_a_list_of_sections():
    sources = [{"root": "a"}, {"dataset": "cvat", "root": "b", "splits": ["val"]}]
    config = config_from_dict(raw(also=sources, label_map=[[7, 0]]))
    assert config.data.label_map == ((7, 0),)
    assert config.data.also == (
        SourceConfig(root="a"),
        SourceConfig(dataset="cvat", root="b", splits=("val",)),
    )
    as_json = json.loads(json.dumps(config_to_dict(config)))
    assert config_from_dict(as_json) == config


def test_a_list_of_sections_on_the_command_line(tmp_path):
    path = tmp_path / "c.json"
    path.write_text(json.dumps(raw()))
    config = load_config(path, ['data.also=[{"root": "x", "label_map": [[3, 1]]}]'])
    assert config.data.also == (SourceConfig(root="x", label_map=((3, 1),)),)


@pytest.mark.parametrize(
    "data, words",
    [
        ({"also": {"root": "a"}}, "data.also: received .*a list of objects with the"),
        ({"also": ["a"]}, r'data.also\[0\]: received "a"; allowed: an object'),
        (
            {"also": [{"root": "a"}, {"rot": "b"}]},
            r"also\[1\].rot is not a setting; the nearest one is data.also\[\].root",
        ),
        (
            {"also": [{"dataset": "nosuch"}]},
            r"data.also\[0\].dataset: received .*voc12",
        ),
        ({"also": [{}]}, r'data.also\[0\].root: received ""'),
        ({"also": [{"root": "a", "splits": []}]}, r"also\[0\].splits: received \[\]"),
        ({"also": [{"root": "a", "splits": ["test"]}]}, "one of .train., .val."),
        ({"also": [{"root": "a", "splits": ["val"] * 2}]}, "each once"),
        (
            {"also": [{"root": "a", "label_map": [[1, 0], [1, 1]]}]},
            r"data.also\[0\].label_map: received two pairs for the id 1",
        ),
        ({"label_map": [[1, 0], [1, 1]]}, "data.label_map: received two pairs"),
        (
            {"label_map": [[1, 0, 2]]},
            r"label_map\[0\]: received .*lists? of 2 integers",
        ),
        ({"label_map": [[256, 0]]}, "at least 0 and at most 255"),
        ({"label_map": [[0, -1]]}, "at least 0 and at most 255"),
        ({"val_share": 0}, "data.val_share: received 0"),
        ({"dataset": "cvat", "classes": []}, "dataset 'cvat' needs 2 to 255"),
        (
            {"dataset": "ade20k"},
            "only the datasets folder, .*cvat, .*take them; leave them out, ade20k",
        ),
    ],
)
def test_wrong_sources_are_refused(data, words):
    with pytest.raises(UserError, match=words):
        config_from_dict(raw(**data))


def test_a_list_of_sections_is_described():
    text = describe().replace("\n# ", " ")
    assert "a list of objects with the settings dataset, root, label_map" in text
    also = json_schema()["properties"]["data"]["properties"]["also"]
    assert also["items"]["properties"]["root"]["type"] == "string"
    assert also["items"]["additionalProperties"] is False

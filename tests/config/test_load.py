import dataclasses
import json

import pytest

from gcnet_tf.config import Config, config_from_dict, config_to_dict, load_config
from gcnet_tf.config.load import shipped_configs
from gcnet_tf.config.schema import MOBILE
from gcnet_tf.errors import UserError

CLASSES = ["road", "sky"]


def write(folder, name, value):
    """Writes a JSON file (a string is written as it is) and returns its path."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(value if isinstance(value, str) else json.dumps(value))
    return path


def minimal(**sections):
    return {"data": {"dataset": "folder", "classes": CLASSES}, **sections}


def refusal(function, *arguments):
    with pytest.raises(UserError) as caught:
        function(*arguments)
    return str(caught.value)


# Values


def test_keys_left_out_keep_the_defaults():
    config = config_from_dict(minimal(train={"batch_size": 3}))
    expected = Config()
    expected = dataclasses.replace(
        expected,
        data=dataclasses.replace(expected.data, classes=("road", "sky")),
        train=dataclasses.replace(expected.train, batch_size=3),
    )
    assert config == expected


def test_lists_become_tuples_and_integers_become_floats():
    raw = minimal(
        augment={"crop_size": [64, 96], "ratio_range": [1, 2]}, train={"momentum": 0}
    )
    raw["data"]["palette"] = [[1, 2, 3], [4, 5, 6]]
    config = config_from_dict(raw)
    assert config.augment.crop_size == (64, 96)
    assert config.data.palette == ((1, 2, 3), (4, 5, 6))
    assert config.augment.ratio_range == (1.0, 2.0)
    assert isinstance(config.augment.ratio_range[0], float)
    assert isinstance(config.train.momentum, float)


def test_optional_values_take_null():
    config = config_from_dict(minimal(published={"miou": None, "fps": 3}))
    assert config.published.miou is None
    assert config.published.fps == 3.0


def test_config_is_frozen():
    config = config_from_dict(minimal())
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.train.batch_size = 1


@pytest.mark.parametrize(
    "section, value, phrases",
    [
        # wrong types
        ("train", {"batch_size": "8"}, ["train.batch_size", '"8"', "an integer"]),
        ("train", {"batch_size": 8.0}, ["train.batch_size", "8.0", "an integer"]),
        ("train", {"batch_size": True}, ["train.batch_size", "true", "an integer"]),
        ("train", {"batch_size": None}, ["train.batch_size", "null"]),
        ("train", {"momentum": True}, ["train.momentum", "true", "a number"]),
        ("train", {"momentum": "0.9"}, ["train.momentum", "a number"]),
        ("model", {"align_corners": 1}, ["model.align_corners", "true or false"]),
        ("data", {"root": 3}, ["data.root", "a string"]),
        ("data", {"classes": "road"}, ["data.classes", "a list of strings"]),
        ("data", {"classes": ["road", 1]}, ["data.classes[1]", "1", "a string"]),
        ("train", [8], ["train", "[8]", "an object"]),
        ("train", None, ["train", "null", "an object"]),
        # values that are no finite number
        ("train", {"momentum": float("nan")}, ["train.momentum", "NaN"]),
        ("train", {"poly_power": float("inf")}, ["train.poly_power", "Infinity"]),
        ("train", {"poly_power": 10**400}, ["train.poly_power", "a number"]),
        # ranges
        ("train", {"batch_size": 0}, ["train.batch_size", "0", "at least 1"]),
        ("train", {"learning_rate": 0}, ["train.learning_rate", "above 0"]),
        ("train", {"momentum": 1.5}, ["train.momentum", "1.5", "at most 0.9999"]),
        ("augment", {"crop_size": [64, 0]}, ["augment.crop_size[1]", "at least 1"]),
        ("data", {"palette": [[0, 0, 0], [0, 256, 0]]}, ["data.palette[1][1]", "255"]),
        # choices
        ("model", {"backbone": {"depth": 51}}, ["model.backbone.depth", "50, 101"]),
        ("train", {"precision": "float16"}, ["train.precision", '"mixed_float16"']),
        (
            "model",
            {"head": {"context": {"fusions": ["add"]}}},
            ["model.head.context.fusions[0]", '"channel_add", "channel_mul"'],
        ),
        # lengths
        ("augment", {"crop_size": [64]}, ["augment.crop_size", "list of 2 integers"]),
        ("augment", {"crop_size": 64}, ["augment.crop_size", "list of 2 integers"]),
        ("data", {"palette": [[0, 0], [1, 1]]}, ["data.palette[0]", "3 integers"]),
    ],
)
def test_wrong_values_are_refused_with_place_and_what_is_allowed(
    section, value, phrases
):
    raw = minimal()
    raw[section] = {**raw.get(section, {}), **value} if section == "data" else value
    message = refusal(config_from_dict, raw)
    for phrase in phrases:
        assert phrase in message


@pytest.mark.parametrize(
    "raw, wrong, nearest",
    [
        ({"trian": {}}, "trian ", "train."),
        ({"train": {"batchsize": 8}}, "train.batchsize ", "train.batch_size."),
        (
            {"model": {"head": {"context": {"fusion": []}}}},
            "model.head.context.fusion ",
            "model.head.context.fusions.",
        ),
        # the right name in the wrong place
        ({"batch_size": 8}, "batch_size ", "train.batch_size."),
        ({"train": {"crop_size": [4, 4]}}, "train.crop_size ", "augment.crop_size."),
        ({"train": {"_base_": "x"}}, "train._base_ ", ""),
    ],
)
def test_unknown_keys_are_refused_with_the_nearest_one(raw, wrong, nearest):
    message = refusal(config_from_dict, raw)
    assert message.startswith(wrong)
    assert message.endswith(nearest)


# Settings against each other


def head(channels=512, **context):
    return minimal(model={"head": {"channels": channels, "context": context}})


def backbone(depth=50, block="gc", **context):
    context = {"block": block, **context}
    return minimal(model={"backbone": {"depth": depth, "context": context}})


@pytest.mark.parametrize(
    "raw, phrases",
    [
        (minimal(augment={"ratio_range": [2, 0.5]}), ["augment.ratio_range"]),
        (
            minimal(
                augment={"photometric_distortion": False, "photometric_on_device": True}
            ),
            ["augment.photometric_on_device", "augment.photometric_distortion"],
        ),
        (
            minimal(augment={"base_scale": [100, 1], "ratio_range": [0.5, 1]}),
            ["augment.base_scale"],
        ),
        (
            minimal(train={"learning_rate": 1e-5}),
            ["train.min_learning_rate", "0.0001", "1e-05"],
        ),
        (
            minimal(model={"head": {"channels": 3}}),
            ["model.head.context.ratio", "0.25", "at least 0.3333"],
        ),
        (head(block="se", channels=15), ["model.head.context.ratio", "0.0625"]),
        (
            head(block="nl", pooling="att"),
            ["model.head.context.pooling", "att", "block nl", "it has ratio, mode,"],
        ),
        (head(mode="gaussian"), ["model.head.context.mode", "ratio, pooling, fusions"]),
        (head(block="snl", ratio=0.5), ["model.head.context.ratio", "it has none"]),
        (
            head(transform="linear", ratio=0.5),
            ["model.head.context.ratio", "linear has no bottleneck"],
        ),
        (
            head(block="nl", mode="gaussian", use_scale=False),
            ["model.head.context.use_scale", "embedded_gaussian", "is gaussian"],
        ),
        (
            minimal(model={"backbone": {"architecture": MOBILE[0], "depth": 18}}),
            ["model.backbone.depth", "18", "mobilenet_v2 has no such setting"],
        ),
        (
            minimal(model={"backbone": {"width": 0.5}}),
            ["model.backbone.width", "0.5", "resnet_v1c has no such setting"],
        ),
        (
            minimal(
                model={
                    "backbone": {
                        "architecture": MOBILE[0],
                        "context": {"block": "gc"},
                    }
                }
            ),
            ["model.backbone.context.block", "mobilenet_v2", "allowed: none"],
        ),
        (backbone(depth=18), ["model.backbone.context.block", "18", "depth 50 or 101"]),
        (backbone(stages=[]), ["model.backbone.context.stages", "[]"]),
        (backbone(stages=[2, 2]), ["model.backbone.context.stages", "each once"]),
        (backbone(ratio=0.001), ["model.backbone.context.ratio", "512 channels"]),
        (backbone(mode="gaussian"), ["model.backbone.context.mode", "block gc"]),
        (
            backbone(block="none", ratio=0.5),
            ["model.backbone.context.ratio", "block none"],
        ),
        (
            minimal(model={"head": {"context": {"fusions": []}}}),
            ["model.head.context.fusions"],
        ),
        (
            minimal(model={"head": {"context": {"fusions": ["channel_add"] * 2}}}),
            ["model.head.context.fusions"],
        ),
        (
            minimal(model={"backbone": {"base_channels": 33}}),
            ["model.backbone.base_channels", "33", "even"],
        ),
        (
            minimal(evaluation={"window": [100, 50], "stride": [100, 51]}),
            ["evaluation.stride", "[100, 51]", "[100, 50]"],
        ),
        (minimal(evaluation={"ratios": []}), ["evaluation.ratios", "[]"]),
        (
            minimal(evaluation={"scale": [9, 4], "ratios": [1.0, 0.2]}),
            ["evaluation.ratios", "[1.0, 0.2]", "[9, 4]"],
        ),
        ({}, ["data.classes", "0 names"]),
        ({"data": {"classes": ["road"]}}, ["data.classes", "1 name"]),
        ({"data": {"classes": [str(i) for i in range(256)]}}, ["256", "2 to 255"]),
        ({"data": {"classes": ["a", "b", "a"]}}, ["data.classes", '"a"', "0 and 2"]),
        ({"data": {"classes": ["a", " "]}}, ["data.classes[1]"]),
        ({"data": {"classes": CLASSES, "palette": [[0, 0, 0]]}}, ["data.palette"]),
        ({"data": {"dataset": "voc12aug", "classes": CLASSES}}, ["voc12aug"]),
        ({"data": {"dataset": "shapes", "palette": [[0, 0, 0]]}}, ["shapes"]),
        ({"data": {"classes": CLASSES, "root": ""}}, ["data.root"]),
        ({"data": {"classes": CLASSES, "records": " "}}, ["data.records"]),
    ],
)
def test_settings_that_do_not_fit_each_other_are_refused(raw, phrases):
    message = refusal(config_from_dict, raw)
    for phrase in phrases:
        assert phrase in message


def test_bounds_of_the_checks_are_allowed():
    raw = minimal(
        augment={"ratio_range": [1, 1]},
        train={"learning_rate": 0.5, "min_learning_rate": 0.5},
        model={"head": {"channels": 4}},
        evaluation={"window": [64, 64], "stride": [64, 64]},
    )
    raw["data"]["classes"] = [str(i) for i in range(255)]
    config = config_from_dict(raw)
    assert len(config.data.classes) == 255


# To a dict and back


@pytest.mark.parametrize("name", sorted(shipped_configs()))
def test_round_trip_through_json_is_exact(name):
    config = load_config(name)
    text = json.dumps(config_to_dict(config))
    assert config_from_dict(json.loads(text)) == config


def test_round_trip_of_awkward_floats():
    config = config_from_dict(minimal(train={"learning_rate": 0.1 + 0.2}))
    text = json.dumps(config_to_dict(config))
    assert config_from_dict(json.loads(text)).train.learning_rate == 0.1 + 0.2


def test_dict_holds_every_setting_as_plain_json():
    raw = config_to_dict(config_from_dict(minimal()))
    assert raw["augment"]["crop_size"] == [512, 512]
    assert raw["data"]["classes"] == ["road", "sky"]
    assert set(raw["train"]) == {f.name for f in dataclasses.fields(Config().train)}


# Files


def test_file_is_read_and_schema_key_is_ignored(tmp_path):
    path = write(tmp_path, "a.json", {"$schema": "schema.json", **minimal()})
    assert load_config(path) == config_from_dict(minimal())
    assert load_config(str(path)) == config_from_dict(minimal())


def test_byte_order_mark_is_accepted(tmp_path):
    path = write(tmp_path, "a.json", "\ufeff" + json.dumps(minimal()))
    assert load_config(path) == config_from_dict(minimal())


def test_syntax_error_names_file_line_and_column(tmp_path):
    path = write(tmp_path, "a.json", '{\n  "train": {\n    "seed": 1,,\n  }\n}')
    message = refusal(load_config, path)
    assert f"{path}, line 3, column 15" in message


@pytest.mark.parametrize(
    "text, phrase",
    [
        ('{"train": {"seed": 1, "seed": 2}}', '"seed"'),
        ('{"train": {}, "data": {}, "train": {}}', '"train"'),
        ('{"train": {"momentum": NaN}}', "NaN"),
        ('{"train": {"momentum": -Infinity}}', "-Infinity"),
        ('{"train": {"poly_power": 1e999}}', "train.poly_power"),
        ('{"train": {"seed": ' + "1" * 5000 + "}}", "too long"),
        # These took 12 and 18 s to find what is nearest.
        ('{"' + "a" * 3_000_000 + '": 1}', "is not a setting"),
        ('{"train": {"' + "ab" * 3_000_000 + '": 1}}', "is not a setting"),
        ('{"_base_": "' + "a/" * 5000 + '"}', "that no file system takes"),
        ('{"_base_": "\\u0000"}', "that no file system takes"),
        ('{"data": {"root": "' + "a" * 256 + '"}}', "data.root: received a text that"),
        ('{"data": {"records": "\\u0000"}}', "data.records: received a text that no"),
        ("[" * 200_000, "too deeply"),
        ('{"data":' * 200_000, "too deeply"),
        ('{"data": {"root": ' + "[" * 850 + "]" * 850 + "}}", "recursion"),
        ('{"checksum": "", "a": ' + "[" * 900 + "]" * 900 + "}", ""),
        ("[1, 2]", "[1, 2]"),
        ("", "line 1, column 1"),
        ('{"train": {"batchsize": 1}}', "train.batch_size"),
        ('{"train": {"seed": -1}}', "train.seed"),
    ],
)
def test_faulty_files_are_refused_by_name(tmp_path, text, phrase):
    path = write(tmp_path, "a.json", text)
    message = refusal(load_config, path)
    assert message.startswith(str(path))
    assert phrase in message


def test_file_that_is_not_text(tmp_path):
    path = tmp_path / "a.json"
    path.write_bytes(b'{"data": "\xff"}')
    assert "UTF-8" in refusal(load_config, path)


def test_missing_file_lists_the_nearest_shipped_names():
    assert "voc_r50_20k" in refusal(load_config, "voc_r50_20")
    assert "cityscapes_r50_769x769_40k" in refusal(
        load_config, "configs/cityscapes_r50_768x768_40k.json"
    )


def test_folder_is_refused(tmp_path):
    assert "folder" in refusal(load_config, tmp_path)


def test_a_file_is_preferred_to_a_shipped_name(tmp_path, monkeypatch):
    write(tmp_path, "voc_r50_20k", minimal(train={"seed": 77}))
    monkeypatch.chdir(tmp_path)
    assert load_config("voc_r50_20k").train.seed == 77
    assert load_config("voc_r50_40k").data.dataset == "voc12aug"


def test_shipped_names_leave_the_schema_out():
    assert "schema" not in shipped_configs()
    assert {"shapes_r18", "camvid_r18", "template_folder"} <= set(shipped_configs())


# _base_


def test_bases_merge_left_to_right_then_the_file(tmp_path):
    write(
        tmp_path,
        "bases/left.json",
        minimal(train={"seed": 1, "batch_size": 1, "panels": 1}),
    )
    write(tmp_path, "bases/right.json", {"train": {"batch_size": 2, "panels": 2}})
    path = write(
        tmp_path,
        "a.json",
        {"_base_": ["bases/left.json", "bases/right.json"], "train": {"panels": 3}},
    )
    train = load_config(path).train
    assert (train.seed, train.batch_size, train.panels) == (1, 2, 3)


def test_lists_replace_those_of_a_base(tmp_path):
    write(tmp_path, "base.json", {"data": {"classes": ["a", "b", "c"]}})
    path = write(
        tmp_path, "a.json", {"_base_": "base.json", "data": {"classes": ["d", "e"]}}
    )
    assert load_config(path).data.classes == ("d", "e")


def test_two_levels_are_allowed_and_three_are_not(tmp_path):
    write(tmp_path, "0.json", minimal(train={"seed": 5}))
    for level in (1, 2, 3):
        write(tmp_path, f"{level}.json", {"_base_": f"{level - 1}.json"})
    assert load_config(tmp_path / "2.json").train.seed == 5
    message = refusal(load_config, tmp_path / "3.json")
    assert "3 levels" in message and "allowed: 2" in message and "0.json" in message


def test_base_that_leads_back_is_refused(tmp_path):
    write(tmp_path, "a.json", {"_base_": "b.json"})
    write(tmp_path, "b.json", {"_base_": "./a.json"})
    assert "circle" in refusal(load_config, tmp_path / "a.json")
    write(tmp_path, "self.json", {"_base_": "self.json"})
    assert "circle" in refusal(load_config, tmp_path / "self.json")


def test_one_base_may_be_reached_twice(tmp_path):
    write(tmp_path, "base.json", minimal())
    write(tmp_path, "b.json", {"_base_": "base.json", "train": {"seed": 2}})
    path = write(tmp_path, "a.json", {"_base_": ["base.json", "b.json"]})
    assert load_config(path).train.seed == 2


def test_mistake_in_a_base_names_the_base(tmp_path):
    base = write(tmp_path, "base.json", {"train": {"seed": "x"}})
    path = write(tmp_path, "a.json", {"_base_": "base.json", "train": {"seed": 1}})
    assert refusal(load_config, path).startswith(f"{base}: train.seed")


@pytest.mark.parametrize("bases", [3, {"a": "b.json"}, [1], None])
def test_base_of_a_wrong_type_is_refused(tmp_path, bases):
    path = write(tmp_path, "a.json", {"_base_": bases})
    assert "_base_" in refusal(load_config, path)


def test_missing_base_is_named(tmp_path):
    path = write(tmp_path, "a.json", {"_base_": "no.json"})
    message = refusal(load_config, path)
    assert '"no.json"' in message and str(tmp_path) in message


@pytest.mark.parametrize("name", sorted(shipped_configs()))
def test_a_users_file_can_start_from_every_shipped_one(tmp_path, name):
    path = write(tmp_path, "mine.json", {"_base_": str(shipped_configs()[name])})
    mine, shipped = load_config(path), load_config(name)
    # The published numbers are those of the shipped file alone.
    assert mine.published == Config().published
    assert dataclasses.replace(mine, published=shipped.published) == shipped


# --set


@pytest.mark.parametrize(
    "override, section, name, expected",
    [
        ("train.batch_size=8", "train", "batch_size", 8),
        ("train.learning_rate=1", "train", "learning_rate", 1.0),
        ("train.learning_rate=2e-3", "train", "learning_rate", 0.002),
        ("model.align_corners=true", "model", "align_corners", True),
        ("augment.crop_size=[3, 4]", "augment", "crop_size", (3, 4)),
        ('data.classes=["a", "b"]', "data", "classes", ("a", "b")),
        ("data.root=/some where/x", "data", "root", "/some where/x"),
        ('data.root="quoted"', "data", "root", "quoted"),
        ("data.root=2012", "data", "root", "2012"),
        ("data.root=null", "data", "root", "null"),
        ("data.root=a=b", "data", "root", "a=b"),
        ("train.precision=mixed_bfloat16", "train", "precision", "mixed_bfloat16"),
        ("published.checkpoint_url=null", "published", "checkpoint_url", None),
        (
            "published.checkpoint_url=http://x",
            "published",
            "checkpoint_url",
            "http://x",
        ),
        ('train={"batch_size": 5}', "train", "batch_size", 5),
    ],
)
def test_override_values(tmp_path, override, section, name, expected):
    path = write(tmp_path, "a.json", minimal())
    config = load_config(path, [override])
    assert getattr(getattr(config, section), name) == expected


def test_overrides_apply_in_order_and_leave_the_rest(tmp_path):
    path = write(tmp_path, "a.json", minimal(train={"seed": 9}))
    config = load_config(path, ["train.batch_size=1", "train.batch_size=2"])
    assert (config.train.batch_size, config.train.seed) == (2, 9)


@pytest.mark.parametrize(
    "override, phrases",
    [
        ("train.batch_size", ["key=value"]),
        ("=3", ["key=value"]),
        ("train.batch_size=x", ["--set", "train.batch_size", '"x"', "an integer"]),
        ("train.batch_size=", ["train.batch_size", "an integer"]),
        ("train.batch_size=0", ["train.batch_size", "at least 1"]),
        ("train.batchsize=1", ["train.batchsize", "train.batch_size"]),
        ("train.batch_size.x=1", ["train.batch_size.x", "train.batch_size"]),
        ("batch_size=1", ["train.batch_size"]),
        ("train=1", ["train", "an object"]),
        ("_base_=x.json", ["_base_"]),
        ("train.momentum=NaN", ["NaN"]),
        ('train={"seed": 1, "seed": 2}', ['"seed"']),
        ("data.classes=[a,b]", ["data.classes", "a list of strings"]),
        ("train.learning_rate=1e-6", ["--set", "train.min_learning_rate"]),
        ("train.head_lr_multiplier=1e-3", ["would rise from 1e-05 to", "0.0001"]),
    ],
)
def test_wrong_overrides_are_refused(tmp_path, override, phrases):
    path = write(tmp_path, "a.json", minimal())
    message = refusal(load_config, path, [override])
    for phrase in phrases:
        assert phrase in message


def test_overrides_as_one_string_are_refused(tmp_path):
    path = write(tmp_path, "a.json", minimal())
    assert '["train.seed=1"]' in refusal(load_config, path, "train.seed=1")

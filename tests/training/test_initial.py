"""Initial weights: backbones, whole models, other numbers of classes."""

import sys

import numpy as np
import pytest
from file_server import FileServer
from weights.mmseg_states import backbone_state, drawn_state
from weights.torch_files import write_torch_file

from gcnet_tf.config import config_to_dict, format_json, load_config
from gcnet_tf.errors import UserError
from gcnet_tf.models import build_model
from gcnet_tf.training.initial import initialise
from gcnet_tf.weights import official
from gcnet_tf.weights.files import (
    save_weights,
    weight_shapes,
    weights_by_path,
)
from gcnet_tf.weights.mmseg_names import reference_key, to_ours

pytestmark = pytest.mark.usefixtures("shallow")

SMALL = [
    "model.backbone.base_channels=4",
    "model.head.channels=8",
    "model.auxiliary.channels=8",
    "data.dataset=folder",
]
THREE = [*SMALL, 'data.classes=["a","b","c"]']
TWO = [*SMALL, 'data.classes=["a","b"]']
HEADS = {"decode_head", "auxiliary_head"}


def model_and_config(*settings, classes=THREE):
    config = load_config("shapes_r18", [*classes, *settings])
    return build_model(config), config


def values_of(model):
    return {path: w.numpy() for path, w in weights_by_path(model).items()}


@pytest.fixture(scope="module")
def state():
    """A checkpoint of three classes."""
    return drawn_state(weight_shapes(model_and_config()[0]))


@pytest.fixture()
def checkpoint(tmp_path, state):
    return write_torch_file(tmp_path / "model.pth", {"meta": {}, "state_dict": state})


@pytest.fixture()
def backbone(tmp_path, state):
    path = tmp_path / "resnet18_v1c.pth"
    return write_torch_file(path, backbone_state(state), container="legacy")


def assert_values(model, before, state, loaded):
    """Checks that the weights with `loaded(path)` are those of the checkpoint."""
    for path, value in values_of(model).items():
        expected = before[path]
        if loaded(path):
            expected = to_ours(path, state[reference_key(path)])
        np.testing.assert_array_equal(value, expected, err_msg=path)


def test_random_weights_by_default():
    model, config = model_and_config()
    before = values_of(model)
    assert initialise(model, config) == "Starting from random weights."
    assert_values(model, before, {}, lambda path: False)


def test_a_backbone(backbone, state):
    model, config = model_and_config(f"model.backbone.pretrained={backbone}")
    before = values_of(model)
    assert "backbone resnet18_v1c.pth" in initialise(model, config)
    assert_values(model, before, state, lambda path: path.startswith("backbone/"))


def test_the_official_backbone_is_downloaded_once(
    backbone, state, tmp_path, monkeypatch
):
    monkeypatch.setenv("GCNET_TF_CACHE", str(tmp_path / "cache"))
    with FileServer({"/resnet18_v1c.pth": backbone.read_bytes()}) as server:
        url = server.url("/resnet18_v1c.pth")
        monkeypatch.setitem(official.IMAGENET_BACKBONES, 18, url)
        for _ in range(2):
            model, config = model_and_config("model.backbone.pretrained=imagenet")
            before = values_of(model)
            initialise(model, config)
            assert_values(model, before, state, lambda p: p.startswith("backbone/"))
        assert len(server.requests) == 1


def test_without_a_network_the_message_tells_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setenv("GCNET_TF_CACHE", str(tmp_path / "cache"))
    with FileServer({}) as server:
        url = server.url("/resnet18_v1c.pth")
    model, config = model_and_config(f"model.backbone.pretrained={url}")
    with pytest.raises(UserError, match="by other means.*pretrained=null"):
        initialise(model, config)


def test_no_official_backbone_of_this_depth():
    model, config = model_and_config(
        "model.backbone.depth=34", "model.backbone.pretrained=imagenet"
    )
    with pytest.raises(UserError, match="no ImageNet weights of depth 34.*18, 50, 101"):
        initialise(model, config)


@pytest.mark.parametrize("depth", [18, 50, 101])
def test_official_backbones_carry_a_hash(depth):
    assert official.hash_in_name(official.imagenet_backbone(depth))


def test_a_checkpoint_with_the_same_classes(checkpoint, state):
    model, config = model_and_config(f"train.init_from={checkpoint}")
    assert "all weights." in initialise(model, config)
    assert_values(model, {p: None for p in weight_shapes(model)}, state, bool)


def test_a_checkpoint_with_other_classes(checkpoint, state):
    model, config = model_and_config(f"train.init_from={checkpoint}", classes=TWO)
    before = values_of(model)
    text = initialise(model, config)
    assert "another number of classes than the 2 here" in text
    classifiers = sorted(path for path in before if "/classifier/" in path)
    assert len(classifiers) == 4 and ", ".join(classifiers) in text
    assert_values(model, before, state, lambda path: "/classifier/" not in path)


def test_a_published_row(checkpoint, state, tmp_path, monkeypatch):
    monkeypatch.setenv("GCNET_TF_CACHE", str(tmp_path / "cache"))
    with FileServer({"/row.pth": checkpoint.read_bytes()}) as server:
        monkeypatch.setattr(
            "gcnet_tf.training.initial.published_checkpoint",
            lambda name: server.url("/row.pth") if name == "voc_r50_20k" else None,
        )
        model, config = model_and_config("train.init_from=voc_r50_20k")
        initialise(model, config)
    assert_values(model, {p: None for p in weight_shapes(model)}, state, bool)


@pytest.mark.parametrize("same_classes", [True, False])
@pytest.mark.parametrize("kind", ["weights", "run"])
def test_weights_of_our_own(kind, same_classes, checkpoint, tmp_path):
    source, config = model_and_config(f"train.init_from={checkpoint}")
    initialise(source, config)
    run = tmp_path / "run"
    run.mkdir()
    save_weights(source, run / "best.weights.h5")
    (run / "config.json").write_text(format_json(config_to_dict(config)))
    start = run if kind == "run" else run / "best.weights.h5"
    # The name of the model, which Keras numbers, has no influence.
    model, config = model_and_config(
        f"train.init_from={start}", classes=THREE if same_classes else TWO
    )
    before = values_of(model)
    text = initialise(model, config)
    assert ("classifier" in text) != same_classes
    for path, value in values_of(model).items():
        is_random = not same_classes and "/classifier/" in path
        expected = before[path] if is_random else weights_by_path(source)[path].numpy()
        np.testing.assert_array_equal(value, expected, err_msg=path)


def test_init_from_makes_the_backbone_unnecessary(checkpoint, tmp_path):
    model, config = model_and_config(
        f"train.init_from={checkpoint}", f"model.backbone.pretrained={tmp_path}/gone"
    )
    initialise(model, config)


@pytest.mark.parametrize(
    "settings, words",
    [
        (["train.init_from=voc_r50"], "allowed: a run folder.*voc_r50_20k"),
        (["train.init_from=shapes_r18"], "allowed: a run folder"),
        (["train.init_from={tmp}/no.weights.h5"], "No weights file"),
        (["train.init_from={tmp}/no.pth"], "no file .*no.pth"),
        (["model.backbone.pretrained={tmp}/no.pth"], "no file .*no.pth"),
        (["model.backbone.pretrained=ftp://host/file.pth"], r"gcnet_tf\[cloud\]"),
        (["train.init_from={tmp}/model.pth", "model.head.channels=16"], "shape"),
        (["model.backbone.pretrained={tmp}/model.pth"], "whole segmentation model"),
        (["train.init_from={tmp}/resnet18_v1c.pth"], "not a segmentation model"),
    ],
)
def test_bad_sources(settings, words, tmp_path, checkpoint, backbone, monkeypatch):
    monkeypatch.setitem(sys.modules, "fsspec", None)  # nothing is asked for
    model, config = model_and_config(*[text.format(tmp=tmp_path) for text in settings])
    before = values_of(model)
    with pytest.raises(UserError, match=words) as error:
        initialise(model, config)
    assert "\n" not in str(error.value)
    assert_values(model, before, {}, lambda path: False)


def test_weights_of_another_width_change_nothing(tmp_path):
    wider, _ = model_and_config("model.head.channels=16", classes=TWO)
    save_weights(wider, tmp_path / "other.weights.h5")
    model, config = model_and_config(f"train.init_from={tmp_path}/other.weights.h5")
    before = values_of(model)
    with pytest.raises(UserError, match="do not fit"):
        initialise(model, config)
    assert_values(model, before, {}, lambda path: False)

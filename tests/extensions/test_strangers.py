"""Configurations from others: they run nothing, and do not choose where files go."""

import json
import subprocess
import sys

import keras
import pytest
from exported_files import write_onnx
from helpers import (
    call_script,
    make_folder_tree,
    random_image,
    random_label,
    save_image,
)

from gcnet_tf.config import load_config
from gcnet_tf.data.prepare import ensure_records
from gcnet_tf.errors import UserError
from gcnet_tf.extensions import here, named
from gcnet_tf.extensions.classes import KINDS, REFUSED
from gcnet_tf.models import build_model

# What the package imports from elsewhere, or a program of it does.
IMPORTED = ("argparse", "ast", "numpy", "PIL", "pydantic", "shlex", "tqdm")

CONFIG = {
    "custom_imports": ["payload"],
    "data": {"classes": ["a", "b"], "root": "none", "records": "none"},
}


def payload(folder, name="payload"):
    """Writes a module that leaves a file beside it when it is imported."""
    (folder / f"{name}.py").write_text(
        "from pathlib import Path\nPath(__file__).with_suffix('.ran').touch()\n"
    )
    return folder


@pytest.fixture
def strangers_run(tmp_path):
    """A run folder, and beside it the module that its configuration imports."""
    run = payload(tmp_path) / "run"
    run.mkdir()
    (run / "config.json").write_text(json.dumps(CONFIG))
    (run / "best.weights.h5").touch()
    return run


COMMANDS = {
    "predict": ["--image", "a.png", "--out", "out"],
    "evaluate": [],
    "export": ["--out", "out"],
    "export_mmseg": ["--out", "a.npz"],
    "show_attention": ["--image", "a.png", "--out", "out"],
}


@pytest.mark.parametrize("command", COMMANDS)
def test_no_module_here_is_imported_without_leave(command, strangers_run, scripts):
    folder = strangers_run.parent
    save_image(folder / "a.png", random_image(0))
    arguments = ["--model", "run", *COMMANDS[command]]
    result = scripts.run(command, *arguments, cwd=folder, code=2)
    assert "custom_imports: cannot import payload (No module named" in result.stderr
    assert "--allow-imports" in result.stderr
    assert not (folder / "payload.ran").exists()
    result = scripts.run(command, *arguments, "--allow-imports", cwd=folder, code=2)
    assert "custom_imports" not in result.stderr
    assert (folder / "payload.ran").exists()


def test_training_imports_modules_here(scripts, tmp_path):
    (payload(tmp_path) / "mine.json").write_text(json.dumps(CONFIG))
    result = scripts.run("train", "--cfg", "mine.json", cwd=tmp_path, code=2)
    assert "custom_imports" not in result.stderr
    assert (tmp_path / "payload.ran").exists()


@pytest.mark.parametrize("program", ["gcnet_tf", "gcnet_tf.runtime"])
def test_started_with_m_nothing_comes_from_here(program, tmp_path):
    for name in IMPORTED:
        payload(tmp_path, name)
    command = [sys.executable, "-m", program, "--help"]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    assert not list(tmp_path.glob("*.ran"))


def test_modules_here_come_last(tmp_path, monkeypatch, tiny_config):
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.chdir(payload(tmp_path, "tabnanny"))
    config = tiny_config('custom_imports=["tabnanny"]')
    assert here.holds_modules(config) and not here.is_searched()
    here.search()
    named.import_modules(config)
    assert not list(tmp_path.glob("*.ran"))


@pytest.mark.parametrize(
    "name, text, message",
    [
        ("unittest.__main__", "", "unittest.__main__, which is a program"),
        ("ends", "raise SystemExit('gone')", r"cannot import ends \(gone\)"),
        ("..ends", "", "cannot import ..ends"),
    ],
)
def test_modules_that_are_none(name, text, message, tmp_path, monkeypatch, tiny_config):
    (tmp_path / "ends.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(UserError, match=message):
        named.import_modules(tiny_config(f'custom_imports=["{name}"]'))


@pytest.mark.parametrize("name", REFUSED)
def test_classes_that_run_what_they_are_given(name):
    kinds = [kind for kind, (home, _) in KINDS.items() if hasattr(home, name)]
    if not kinds:
        pytest.skip(f"this Keras has no {name}")
    (kind,) = kinds
    with pytest.raises(UserError, match=f"setting: received {name}, which .*others"):
        named.make(kind, {"class_name": name, "config": {}}, "setting")
    inner = {"class_name": name, "config": {}}
    around = {"class_name": "TimeDistributed", "config": {"layer": inner}}
    if kind == "layer":
        with pytest.raises(UserError, match=f"config.layer: received {name}"):
            named.make(kind, around, "setting")


def test_a_saved_model_is_not_run_as_a_layer(tiny_config, tmp_path):
    """Keras itself runs it: its constructor does not ask (keras#23654)."""
    layer = {"class_name": "TFSMLayer", "config": {"filepath": str(tmp_path)}}
    config = tiny_config(f"model.head.context_layer={json.dumps(layer)}")
    with pytest.raises(UserError, match="context_layer: received TFSMLayer"):
        build_model(config)


def test_the_users_own_class_may_have_such_a_name():
    @keras.saving.register_keras_serializable("mine")
    class Lambda(keras.layers.Layer):
        pass

    layer = {"class_name": "mine>Lambda", "config": {}}
    assert isinstance(named.make("layer", layer, "setting"), Lambda)


@pytest.mark.parametrize("key", ["module", "registered_name"])
@pytest.mark.parametrize("inside", [lambda v: v, lambda v: [v], lambda v: {"a": v}])
def test_descriptions_that_keras_would_make_objects_of(key, inside):
    described = {"class_name": "function", "config": "system", key: "os"}
    layer = {"class_name": "Dense", "config": {"units": 1, "activation": described}}
    layer["config"]["activation"] = inside(described)
    with pytest.raises(UserError, match=r"activation.*: received an object with .*"):
        named.make("layer", layer, "setting")


@pytest.mark.parametrize("dataset", ["folder", "shapes"])
def test_a_manifest_does_not_choose_where_evaluate_writes(dataset, tmp_path):
    """The images are there, or drawn, as far as the manifest goes."""
    root, records = tmp_path / "images", tmp_path / "chosen" / "records"
    settings = [f"data.root={root}", f"data.records={records}"]
    if dataset == "folder":
        classes = json.dumps([f"c{i}" for i in range(6)])
        settings += ["data.dataset=folder", f"data.classes={classes}"]
        make_folder_tree(root)
    path = write_onnx(tmp_path, settings=settings)
    before = sorted(tmp_path.rglob("*"))
    for more in ([], ["--set", f"data.records={tmp_path / 'mine'}"]):
        with pytest.raises(UserError, match="no records of the split val in .*: --set"):
            call_script("evaluate", "--model", path, *more)
        assert sorted(tmp_path.rglob("*")) == before
    if dataset == "folder":
        mine = [f"data.root={root}", f"data.records={tmp_path / 'mine'}"]
        call_script("evaluate", "--model", path, "--set", *mine)
        assert (tmp_path / "mine" / "val" / "manifest.json").is_file()
        assert not (tmp_path / "chosen").exists()


def test_evaluate_replaces_no_records_that_a_manifest_names(tmp_path):
    """The labels have changed since; with --cfg, the records would be made again."""
    root, records = make_folder_tree(tmp_path / "images"), tmp_path / "records"
    classes = json.dumps([f"c{i}" for i in range(6)])
    settings = [f"data.root={root}", f"data.records={records}"]
    settings += ["data.dataset=folder", f"data.classes={classes}"]
    ensure_records(load_config("template_folder", settings))
    path = write_onnx(tmp_path, settings=settings)
    for label in (root / "val" / "labels").iterdir():
        save_image(label, random_label(99))
    before = {file: file.read_bytes() for file in records.rglob("*.*")}
    with pytest.raises(UserError, match="are not those that the records .*=ignore"):
        call_script("evaluate", "--model", path)
    assert {file: file.read_bytes() for file in records.rglob("*.*")} == before

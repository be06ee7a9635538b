"""Files of HDF5, and .keras files, that hold something else than weights of ours."""

import json
import zipfile

import h5py
import keras
import numpy as np
import pytest

from gcnet_tf.config import config_to_dict, format_json
from gcnet_tf.errors import UserError
from gcnet_tf.evaluation.load import load_model
from gcnet_tf.models import build_model
from gcnet_tf.weights.files import load_weights, save_weights
from gcnet_tf.weights.hdf5_file import check_hdf5

pytestmark = pytest.mark.usefixtures("shallow")
BIAS = "decode_head/classifier/vars/1"


@pytest.fixture(scope="module")
def model(tiny_config, shallow):
    return build_model(tiny_config())


@pytest.fixture(scope="module")
def weights(model, tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "a.weights.h5"
    save_weights(model, path)
    return path


def outside(file):
    file[BIAS] = h5py.ExternalLink("other.h5", "/x")


def soft(file):
    file[BIAS] = h5py.SoftLink("/decode_head/classifier/vars/0")


def stored_elsewhere(file):
    file.create_dataset(BIAS, (6,), "f4", external=[("secret.bin", 0, 24)])


def virtual(file):
    layout = h5py.VirtualLayout((6,), "f4")
    layout[:] = h5py.VirtualSource("other.h5", "x", (6,))
    file.create_virtual_dataset(BIAS, layout)


def huge(file):
    file.create_dataset(BIAS, (2**40,), "f4", chunks=(2**16,), compression="gzip")


def circle(file):
    file["decode_head/classifier/again"] = file["decode_head"]
    file[BIAS] = np.zeros(6, "f4")


FORGERIES = {
    outside: "is a link to another place",
    soft: "is a link to another place",
    stored_elsewhere: "lies in another file",
    virtual: "lies in another file",
    huge: "would take 4398046[0-9]* bytes",
    circle: "nested more deeply",
}


@pytest.mark.parametrize("forge", FORGERIES)
def test_weights_from_elsewhere_or_without_end(forge, weights, model, tmp_path):
    path = tmp_path / "b.weights.h5"
    path.write_bytes(weights.read_bytes())
    (tmp_path / "secret.bin").write_bytes(np.arange(6, dtype="f4").tobytes())
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["x"] = np.zeros(6, "f4")
    with h5py.File(path, "r+") as file:
        del file[BIAS]
        forge(file)
    before = model.get_layer("decode_head").classifier.weights[1].numpy()
    with pytest.raises(UserError, match=f"b.weights.h5 is .*{FORGERIES[forge]}"):
        load_weights(model, path)
    after = model.get_layer("decode_head").classifier.weights[1].numpy()
    np.testing.assert_array_equal(after, before)


def test_good_files_pass(weights, tmp_path):
    check_hdf5(weights, weights.stat().st_size)
    mobile = keras.applications.MobileNetV2((32, 32, 3), 0.35, weights=None, classes=5)
    mobile.save_weights(tmp_path / "m.weights.h5")
    check_hdf5(tmp_path / "m.weights.h5", (tmp_path / "m.weights.h5").stat().st_size)


@pytest.mark.parametrize("content", [b"", b"\x89HDF\r\n\x1a\n", b"text"])
def test_no_hdf5(content, model, tmp_path):
    path = tmp_path / "b.weights.h5"
    path.write_bytes(content)
    with pytest.raises(UserError, match="is damaged: it cannot be read as HDF5"):
        load_weights(model, path)


@pytest.fixture(scope="module")
def keras_file(model, tiny_config, tmp_path_factory):
    """A saved model, and its configuration beside it."""
    path = tmp_path_factory.mktemp("keras") / "m.keras"
    model.save(path)
    path.with_name("c.json").write_text(format_json(config_to_dict(tiny_config())))
    return path


def changed(keras_file, path, change=None, members=None, **options):
    """Writes the archive again: with another config, or other members."""
    with zipfile.ZipFile(keras_file) as archive:
        contents = {name: archive.read(name) for name in archive.namelist()}
    config = json.loads(contents["config.json"])
    if change:
        change(config)
        contents["config.json"] = json.dumps(config).encode()
    with zipfile.ZipFile(path, "w", **options) as archive:
        for name, content in {**contents, **(members or {})}.items():
            archive.writestr(name, content)
    return path


def load(path, keras_file):
    return load_model(str(keras_file.with_name("c.json")), None, str(path), [])


def function(name, module="os"):
    return {
        "module": module,
        "class_name": "function",
        "config": name,
        "registered_name": "function",
    }


CHANGES = {
    "another model": lambda config: config.update(registered_name="Functional"),
    "a function as the type": lambda config: config["config"].update(
        dtype=function("system")
    ),
    "deep inside": lambda config: config["config"]["head"].update(
        context={"block": [function("load_model", "keras.models")]}
    ),
    "a policy with more": lambda config: config["config"]["dtype"]["config"].update(
        quantization_config=function("system")
    ),
    "Lambda": lambda config: config["config"]["head"].update(
        context_layer={"class_name": "Lambda", "config": {}}
    ),
    "TFSMLayer": lambda config: config["config"]["head"].update(
        context_layer={"class_name": "TFSMLayer", "config": {"filepath": "x"}}
    ),
    "no object": lambda config: config.update(config=[1, 2]),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_keras_file_makes_a_model_of_ours_alone(change, keras_file, tmp_path):
    load(changed(keras_file, tmp_path / "same.keras"), keras_file)
    path = changed(keras_file, tmp_path / "m.keras", CHANGES[change])
    with pytest.raises(UserError, match="Cannot read .*m.keras as a Keras model: "):
        load(path, keras_file)


def test_what_it_was_compiled_with_is_not_made(keras_file, tmp_path):
    def change(config):
        config["compile_config"] = {"optimizer": function("system"), "loss": "nope"}

    load(changed(keras_file, tmp_path / "m.keras", change), keras_file)


def test_archives_that_are_bombs_or_none(keras_file, tmp_path):
    path = tmp_path / "m.keras"
    bomb = {"model.weights.h5": bytes(10**7)}
    changed(keras_file, path, members=bomb, compression=zipfile.ZIP_DEFLATED)
    with pytest.raises(UserError, match="members are larger than itself"):
        load(path, keras_file)
    changed(keras_file, path, members={"config.json": b"[" * 200_000})
    with pytest.raises(UserError, match="Cannot read .* nested too deeply"):
        load(path, keras_file)
    changed(keras_file, path, members={"config.json": b"\xff"})
    with pytest.raises(UserError, match="Cannot read"):
        load(path, keras_file)
    path.write_bytes(b"PK")
    with pytest.raises(UserError, match="no archive of Keras"):
        load(path, keras_file)

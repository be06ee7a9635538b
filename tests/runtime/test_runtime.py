"""The runtime with exported files of every format, intact and damaged ones."""

import dataclasses
import json
import os
import shutil
import subprocess
import sys
import threading
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import onnx
import pytest
from exported_files import SIZE, logits, write_onnx, write_saved_model, write_tflite
from helpers import random_image

import gcnet_tf
from gcnet_tf.errors import UserError
from gcnet_tf.evaluation.load import load_predictor
from gcnet_tf.runtime import Predictor, backends
from gcnet_tf.runtime.manifest import LABELS, LOGITS, content_hash, read_manifest
from gcnet_tf.runtime.predict import Network, predict_labels, predict_logits
from gcnet_tf.runtime.windows import softmax

IMAGE = random_image(0, 48, 64)  # the protocol's scale does not resize it
SMALL = random_image(1, *SIZE)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """One file of each kind, made only once."""
    paths = {}
    for name, write in {
        "tflite": write_tflite,
        "tflite_labels": lambda folder: write_tflite(folder, LABELS),
        "onnx": write_onnx,
        "onnx_nchw": lambda folder: write_onnx(folder, layout="nchw", size=(48, 64)),
        "onnx_logits": lambda folder: write_onnx(folder, kinds=[LOGITS]),
        "saved_model": write_saved_model,
    }.items():
        paths[name] = write(tmp_path_factory.mktemp(name))
    return paths


@pytest.fixture
def copy(files, tmp_path):
    """A function that copies a file, by its name, with its manifest."""

    def copied(name):
        shutil.copytree(files[name].parent, tmp_path / name)
        return tmp_path / name / files[name].name

    return copied


def change_manifest(path, **changes):
    file = path.with_name(path.name + ".json")
    manifest = {**json.loads(file.read_text()), "sha256": content_hash(path), **changes}
    file.write_text(json.dumps(manifest))


@pytest.mark.parametrize("name", ["onnx", "onnx_nchw", "onnx_logits", "saved_model"])
def test_labels_logits_and_probabilities(files, name):
    predictor = Predictor(files[name])
    np.testing.assert_array_equal(predictor(IMAGE), logits(IMAGE).argmax(-1))
    actual = predictor.logits(IMAGE)
    assert actual.shape == (48, 64, 6) and actual.dtype == np.float32
    np.testing.assert_allclose(softmax(actual), softmax(logits(IMAGE)), atol=1e-5)
    probabilities = predictor.probabilities(IMAGE)
    np.testing.assert_allclose(probabilities, softmax(logits(IMAGE)), atol=1e-5)
    assert predictor.classes[0] == "background" and len(predictor.palette) == 6


def test_tflite_logits_of_an_image_that_does_not_fit(files):
    """The expected logits are those of numpy's network with the same weights."""
    predictor = Predictor(files["tflite"], threads=1)
    network = Network(logits, size=SIZE, batch=1)
    expected = predict_logits(network, predictor.protocol, IMAGE)
    actual = predictor.logits(IMAGE)
    np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-5)
    agree = predictor(IMAGE) == predict_labels(network, predictor.protocol, IMAGE)
    assert agree.mean() > 0.999


def test_tflite_labels(files):
    predictor = Predictor(files["tflite_labels"])
    np.testing.assert_array_equal(predictor(SMALL), logits(SMALL).argmax(-1))
    with pytest.raises(UserError, match="labels only.*32x24.*with probabilities"):
        predictor(IMAGE)
    tiled = Predictor(files["tflite_labels"], mode="tiled")
    np.testing.assert_array_equal(tiled(IMAGE), logits(IMAGE).argmax(-1))


@pytest.mark.parametrize("name", ["tflite", "onnx", "saved_model"])
@pytest.mark.parametrize("mode", [None, "slide", "ms_flip", "tiled"])
def test_batches_and_lists(files, name, mode):
    predictor = Predictor(files[name], mode=mode)
    images = np.stack([IMAGE, IMAGE[::-1]])
    expected = [predictor(image) for image in images]
    np.testing.assert_array_equal(predictor(images), expected)
    actual = predictor([SMALL, IMAGE])
    np.testing.assert_array_equal(actual[0], predictor(SMALL))
    np.testing.assert_array_equal(actual[1], expected[0])


def test_modes_change_the_inputs(files):
    """Windows do not change a function of single pixels; ms_flip smooths it."""
    plain = Predictor(files["onnx"]).probabilities(IMAGE)
    slide = Predictor(files["onnx"], mode="slide").probabilities(IMAGE)
    np.testing.assert_allclose(slide, plain, atol=1e-5)
    ms_flip = Predictor(files["onnx"], mode="ms_flip").probabilities(IMAGE)
    np.testing.assert_allclose(ms_flip.sum(-1), 1, atol=1e-5)
    assert np.abs(ms_flip - plain).max() > 0.05
    with pytest.raises(UserError, match='mode: received "fast"'):
        Predictor(files["onnx"], mode="fast")


def test_an_image_of_20000_pixels(files):
    wide = random_image(0, 30, 20000)
    actual = Predictor(files["tflite"], mode="tiled")(wide)
    np.testing.assert_array_equal(actual, logits(wide).argmax(-1))
    assert Predictor(files["onnx"])(wide).shape == (30, 20000)


def test_quantised_inputs(files):
    """An int8 file whose input has another scale than 1 gets quantised values."""

    class Interpreter:
        def set_tensor(self, index, tensor):
            self.tensor = tensor

        def invoke(self):
            pass

    backend = object.__new__(backends.TFLite)
    backend._interpreter, backend._turn = Interpreter(), threading.Lock()
    manifest = read_manifest(files["tflite"])
    info = dataclasses.replace(manifest.input, dtype="uint8")
    backend._manifest = dataclasses.replace(manifest, input=info, outputs={})
    for quantization, expected in {
        (0.0, 0): [0, 7, 200, 255],
        (1.0, 0): [0, 7, 200, 255],
        (2.0, 10): [10, 14, 110, 138],
    }.items():
        backend._input = {"index": 0, "quantization": quantization}
        backend.run(np.array([0, 7, 200, 255], np.uint8).reshape(1, 1, 4, 1))
        actual = backend._interpreter.tensor
        assert actual.dtype == np.uint8 and actual.ravel().tolist() == expected


def test_other_paths_than_exported_models_are_refused(tmp_path, copy):
    with pytest.raises(UserError, match="nowhere.tflite does not exist"):
        Predictor(tmp_path / "nowhere.tflite")
    with pytest.raises(UserError, match="not an exported model; allowed: a .tflite"):
        Predictor(tmp_path)
    (tmp_path / "model.keras").write_text("")
    with pytest.raises(UserError, match="model.keras is not an exported model"):
        Predictor(tmp_path / "model.keras")
    path = copy("onnx")
    with pytest.raises(UserError, match="threads: received 0"):
        Predictor(path, threads=0)
    path.with_name("model.onnx.json").unlink()
    with pytest.raises(UserError, match="has no manifest: expected .*model.onnx.json"):
        Predictor(path)


def test_a_file_that_does_not_match_its_manifest(copy):
    path = copy("onnx")
    path.write_bytes(path.read_bytes() + b"more")
    with pytest.raises(UserError, match="belongs to another file"):
        Predictor(path)


@pytest.mark.parametrize("name", ["onnx", "tflite"])
def test_damaged_files_with_the_right_hash(name, copy):
    path = copy(name)
    path.write_bytes(path.read_bytes()[:300])
    change_manifest(path)
    with pytest.raises(UserError, match=f"Cannot open .*{path.name}: "):
        Predictor(path)


@pytest.mark.parametrize("outside", [True, False])
def test_an_onnx_file_reads_no_data_outside_its_folder(outside, copy, tmp_path):
    path = copy("onnx")
    place = tmp_path if outside else path.parent
    model = onnx.load(path)
    weights = max(model.graph.initializer, key=lambda tensor: len(tensor.raw_data))
    (place / "secret.bin").write_bytes(weights.raw_data)
    location = os.path.relpath(place / "secret.bin", path.parent)
    onnx.external_data_helper.set_external_data(weights, location)
    weights.ClearField("raw_data")
    path.write_bytes(model.SerializeToString())
    change_manifest(path)
    if not outside:
        assert Predictor(path)(IMAGE).shape == (48, 64)
        return
    with pytest.raises(UserError, match="Cannot open .*escapes model directory"):
        Predictor(path)


def test_a_damaged_saved_model(copy):
    path = copy("saved_model")
    (path / "saved_model.pb").write_bytes(b"nothing")
    manifest = json.loads((path / "manifest.json").read_text())
    manifest["sha256"] = content_hash(path)
    (path / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(UserError, match="Cannot open .*saved_model: "):
        Predictor(path)


@pytest.mark.parametrize("name", ["onnx", "tflite", "saved_model"])
def test_a_manifest_that_does_not_fit_the_file(name, copy, files):
    manifest = read_manifest(files[name])
    info = dataclasses.asdict(manifest.input)
    kind, output = next(iter(manifest.outputs.items()))
    output = dataclasses.asdict(output)
    wrong = [
        {"input": {**info, "name": "pictures"}},
        {"input": {**info, "dtype": "float64"}},
        {"input": {**info, "layout": "nchw"}},
        {"size": [48, 65]},
        {"outputs": {kind: {**output, "name": "other"}}},
        {"outputs": {kind: {**output, "dtype": "int64"}}},
    ]
    path = copy(name)
    file = path / "manifest.json" if path.is_dir() else Path(f"{path}.json")
    settings = json.loads(file.read_text())
    for changes in wrong:
        file.write_text(json.dumps({**settings, **changes}))
        with pytest.raises(UserError, match="does not fit its manifest: its (in|out)"):
            Predictor(path)


@pytest.mark.parametrize("name", ["onnx_logits", "tflite"])
def test_a_manifest_of_other_classes(name, copy):
    path = copy(name)
    names = ["a", "b", "c"]
    change_manifest(path, classes=names, palette=[[1, 2, 3]] * 3)
    with pytest.raises(UserError, match=r"float32 \[.*6\], and the manifest .*3\]"):
        Predictor(path)


@pytest.mark.parametrize(
    "changes",
    [
        {"sha256": 5},
        {"config": []},
        {"protocol": None},
        {"palette": [[0, 0, 1e999]] * 6},
        {"palette": [[0, 0, 256]] * 6},
        {"outputs": {"pictures": {}}},
        {"outputs": {"sums": dict(name="a", dtype="", layout="", meaning="")}},
        {"input": dict(name=[], dtype="", layout="", meaning="")},
        {"size": [0, 5]},
        {"batch": -1},
        {"batch": "1"},
        {"format": ["onnx"]},
    ],
)
def test_manifests_that_are_none(changes, copy):
    path = copy("onnx")
    change_manifest(path, **changes)
    with pytest.raises(UserError, match="is not an export manifest, or is damaged"):
        Predictor(path)


@pytest.mark.parametrize("text", ["[" * 200_000, '{"a":' * 200_000, "[]", "5", "\xff"])
def test_texts_that_are_no_manifest(text, copy):
    path = copy("onnx")
    path.with_name(path.name + ".json").write_text(text, encoding="latin-1")
    with pytest.raises(UserError, match="is not an export manifest") as caught:
        Predictor(path)
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize("protocol", [{}, {"mode": "whole"}, {"mode": []}])
def test_a_protocol_that_is_not_whole(protocol, copy):
    path = copy("onnx")
    change_manifest(path, protocol=protocol)
    for load in (Predictor, lambda path: load_predictor(None, None, str(path), [])):
        with pytest.raises(UserError, match="does not say how images are scaled"):
            load(path)


def test_other_manifests_that_do_not_fit(copy):
    path = copy("onnx")
    change_manifest(path, format="tflite")
    with pytest.raises(UserError, match="not the tflite model that its manifest"):
        Predictor(path)
    change_manifest(path, format="onnx", batch=4)
    with pytest.raises(UserError, match="takes 4 images at once"):
        Predictor(path)
    change_manifest(path, batch=None, protocol={"mode": "whole"})
    with pytest.raises(UserError, match="does not say how images are scaled"):
        Predictor(path)


@pytest.mark.parametrize(
    "name, module, package",
    [
        ("onnx", "onnxruntime", "onnxruntime"),
        ("tflite", "ai_edge_litert.interpreter", "ai-edge-litert"),
        ("saved_model", "tensorflow", "tensorflow"),
    ],
)
def test_a_missing_package_is_named(name, module, package, files, monkeypatch):
    monkeypatch.setitem(sys.modules, module, None)  # import then treats it as missing
    with pytest.raises(UserError, match=f"pip install {package}$"):
        Predictor(files[name])


def test_threads_of_tensorflow_that_has_started(files):
    with pytest.raises(UserError, match="threads: received 77; TensorFlow has start"):
        Predictor(files["saved_model"], threads=77)


def test_threads_of_tensorflow_that_has_not_started(files, scripts, tmp_path):
    """Winograd's products are operations of their own, which run side by side."""
    program = tmp_path / "program.py"
    program.write_text(
        "import sys; from gcnet_tf.runtime import Predictor;"
        "Predictor(sys.argv[1], threads=2);"
        "from tensorflow.config import threading as t;"
        "print(t.get_intra_op_parallelism_threads(),"
        " t.get_inter_op_parallelism_threads())"
    )
    result = scripts.run(program, files["saved_model"])
    assert result.stdout.split() == ["2", "2"]


def test_an_environment_of_numpy_and_one_interpreter(files, tmp_path):
    """The packages are links to those installed here; no others can be imported."""
    for package in ("numpy", "ai_edge_litert"):
        folder = Path(find_spec(package).submodule_search_locations[0])
        (tmp_path / package).symlink_to(folder)
        libraries = folder.with_name(f"{package}.libs")  # of numpy's wheel
        if libraries.is_dir():
            (tmp_path / libraries.name).symlink_to(libraries)
    (tmp_path / "gcnet_tf").symlink_to(Path(gcnet_tf.__file__).parent)
    code = (
        "import sys, numpy as np; from gcnet_tf.runtime import Predictor; "
        f"image = np.load({str(tmp_path / 'image.npy')!r}); "
        f"labels = Predictor({str(files['tflite'])!r})(image); "
        f"np.save({str(tmp_path / 'labels.npy')!r}, labels); "
        "print(*sorted({name.split('.')[0] for name in sys.modules} & "
        "{'tensorflow', 'keras', 'cv2', 'PIL', 'tqdm', 'onnxruntime'}))"
    )
    np.save(tmp_path / "image.npy", IMAGE)
    result = subprocess.run(
        # -S: without site-packages.
        [sys.executable, "-S", "-c", code],
        env={"PYTHONPATH": str(tmp_path), "PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip() == ""
    actual = np.load(tmp_path / "labels.npy")
    np.testing.assert_array_equal(actual, Predictor(files["tflite"])(IMAGE))

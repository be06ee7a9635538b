"""The three lines of Python: models by name, images of every kind, files, errors."""

import hashlib
import io
import json
import os
import pickle
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from exported_files import SIZE, logits, write_onnx, write_saved_model, write_tflite
from file_server import FileServer
from helpers import call_script, random_image, save_image
from PIL import Image
from weights.mmseg_states import drawn_state
from weights.torch_files import write_torch_file

import gcnet_tf
from gcnet_tf import UserError
from gcnet_tf.runtime import Predictor
from gcnet_tf.runtime.image_files import read_image
from gcnet_tf.runtime.manifest import LABELS

pytestmark = pytest.mark.usefixtures("shallow")

# Images that no protocol of these files resizes.
IMAGES = [random_image(seed, 48, 64) for seed in range(4)]
TINY = [
    "model.backbone.base_channels=4",
    "model.backbone.pretrained=null",
    "model.head.channels=8",
    "model.auxiliary.channels=8",
    "evaluation.scale=[64,48]",
]


def expected(image):
    return logits(image).argmax(-1)


@pytest.fixture(scope="module")
def onnx_file(tmp_path_factory):
    return write_onnx(tmp_path_factory.mktemp("onnx"))


@pytest.fixture(scope="module")
def model(onnx_file):
    return gcnet_tf.load(onnx_file)


@pytest.fixture
def folder(tmp_path):
    """A folder with two images, one of them in a sub-folder."""
    for name, image in zip(("a", "left/b"), IMAGES):
        save_image(tmp_path / "in" / f"{name}.png", image)
    return tmp_path / "in"


# What a user may name


def test_exported_files_have_the_same_type_and_answer(onnx_file, tmp_path):
    others = [write_saved_model(tmp_path), write_tflite(tmp_path, size=(48, 64))]
    for path in (onnx_file, *others):
        model = gcnet_tf.load(path)
        assert type(model) is gcnet_tf.Model and model.classes[0] == "background"
        np.testing.assert_array_equal(
            model.predict(IMAGES[0]).labels, expected(IMAGES[0])
        )


def write_run(folder, overrides=(), seed=0):
    import keras

    from gcnet_tf.models import build_model
    from gcnet_tf.training.monitor.run_folder import open_run
    from gcnet_tf.weights.files import BEST_WEIGHTS, save_weights

    config = gcnet_tf.load_config("shapes_r18", [*TINY, *overrides])
    open_run(folder, config)
    keras.utils.set_random_seed(seed)
    model = build_model(config)
    kernel = model.decode_head.classifier.kernel
    kernel.assign(np.random.default_rng(0).normal(size=kernel.shape))
    save_weights(model, folder / BEST_WEIGHTS)
    return model, config


def test_a_run_its_weights_and_its_keras_file_are_one_model(tmp_path):
    keras_model, config = write_run(tmp_path / "run")
    keras_model.save(tmp_path / "model.keras")
    weights = tmp_path / "run" / "best.weights.h5"
    loaded = [
        gcnet_tf.load(tmp_path / "run"),
        gcnet_tf.load(weights, config),
        gcnet_tf.load(weights, tmp_path / "run" / "config.json"),
        gcnet_tf.load(str(tmp_path / "model.keras"), config),
    ]
    answers = [model.predict(IMAGES[0]).labels for model in loaded]
    for answer in answers:
        np.testing.assert_array_equal(answer, answers[0])
    assert len(np.unique(answers[0])) > 1
    assert loaded[0].record == loaded[1].record != loaded[3].record


def test_a_published_row_is_downloaded_once_and_checked(tmp_path, monkeypatch):
    """A local server and a small network stand in for the official checkpoint."""
    from gcnet_tf.models import build_model
    from gcnet_tf.weights.files import weight_shapes

    base = gcnet_tf.load_config("voc_r50_20k", TINY)
    state = drawn_state(weight_shapes(build_model(base)))
    classes = list(gcnet_tf.load_config("voc_r50_20k").data.classes or ())
    content = write_torch_file(
        tmp_path / "x.pth", {"meta": {}, "state_dict": state}
    ).read_bytes()
    digits = hashlib.sha256(content).hexdigest()[:8]
    name = f"/gcnet_r50-{digits}.pth"
    monkeypatch.setenv("GCNET_TF_CACHE", str(tmp_path / "cache"))
    assert classes == []  # the catalog owns them
    with FileServer({name: content}) as server:
        shipped = tmp_path / "voc_small.json"
        raw = json.loads(json.dumps({"_base_": _shipped("voc_r50_20k")}))
        raw["model"] = {
            "backbone": {"base_channels": 4, "pretrained": None},
            "head": {"channels": 8},
            "auxiliary": {"channels": 8},
        }
        raw["published"] = {"checkpoint_url": server.url(name)}
        shipped.write_text(json.dumps(raw))
        rows = {"voc_small": shipped, "shapes_r18": Path(_shipped("shapes_r18"))}
        for module in ("config.load", "weights.official", "evaluation.load"):
            monkeypatch.setattr(f"gcnet_tf.{module}.shipped_configs", lambda: rows)
        first = gcnet_tf.load("voc_small", mode="whole")
        again = gcnet_tf.load("voc_small", mode="whole")
        assert len(server.requests) == 1
        assert first.record == again.record and len(first.classes) == 21
        checkpoint = gcnet_tf.load(tmp_path / "x.pth", shipped, mode="whole")
        image = random_image(0, 60, 80)
        for other in (again, checkpoint):
            np.testing.assert_array_equal(
                first.predict(image).labels, other.predict(image).labels
            )
        (cached,) = (tmp_path / "cache").rglob("*.pth")
        cached.write_bytes(content[:-1] + b"x")
        with pytest.raises(UserError, match="SHA-256"):
            gcnet_tf.load("voc_small")
    with pytest.raises(UserError, match="without published weights: train it first"):
        gcnet_tf.load("shapes_r18")
    with pytest.raises(UserError, match="The nearest rows are voc_small"):
        gcnet_tf.load("voc_smal")
    cached.unlink()
    with pytest.raises(UserError, match="download of http://127.* failed"):
        gcnet_tf.load("voc_small")


def _shipped(name):
    from gcnet_tf.config.load import shipped_configs

    return str(shipped_configs()[name])


def test_names_of_nothing(tmp_path, onnx_file):
    wrong = {
        tmp_path / "gone": "neither a run folder .*nor the name of a published row",
        tmp_path / "gone.onnx": "does not exist; name an exported model",
        onnx_file.parent: f"holds exported models; name one: {onnx_file}",
        "x.weights.h5": "holds weights alone; give the configuration",
        "x.pth": "holds weights alone",
    }
    for name, sentence in wrong.items():
        with pytest.raises(UserError, match=sentence) as error:
            gcnet_tf.load(name)
        assert "\n" not in str(error.value)
    with pytest.raises(UserError, match="load: received NoneType; allowed: the path"):
        gcnet_tf.load(None)
    with pytest.raises(UserError, match="leave out cfg"):
        gcnet_tf.load(onnx_file, "shapes_r18")
    with pytest.raises(UserError, match='mode: received "fast"'):
        gcnet_tf.load(onnx_file, mode="fast")


# One image, and several


def test_one_image_gives_one_result(model, folder):
    path = folder / "a.png"
    with Image.open(path) as opened:
        images = (path, str(path), opened, IMAGES[0], Image.fromarray(IMAGES[0]))
        results = [model.predict(image) for image in images]
    for result in results:
        assert isinstance(result, gcnet_tf.Result)
        np.testing.assert_array_equal(result.labels, expected(IMAGES[0]))
        np.testing.assert_array_equal(result.image, IMAGES[0])
        assert result.labels.dtype == np.uint8
    assert [result.name for result in results] == ["a", "a", "a", "image", "image"]
    assert [result.path for result in results] == [path, path, None, None, None]


def test_what_numpy_understands_is_an_array(model):
    import tensorflow as tf

    labels = model.predict(tf.constant(IMAGES[0])).labels
    np.testing.assert_array_equal(labels, expected(IMAGES[0]))


def test_several_images_give_an_iterator(model, folder):
    several = {
        "folder": folder,
        "list": [folder / "a.png", IMAGES[1]],
        "generator": (image for image in IMAGES[:2]),
        "batch": np.stack(IMAGES[:2]),
        "nested": [[Image.fromarray(IMAGES[0])], (IMAGES[1],)],
        "glob": sorted(folder.rglob("*.png")),
    }
    names = {}
    for kind, images in several.items():
        results = model.predict(images)
        assert iter(results) is results
        results = list(results)
        names[kind] = [result.name for result in results]
        for result, image in zip(results, IMAGES[:2], strict=True):
            np.testing.assert_array_equal(result.labels, expected(image))
    assert names["folder"] == ["a", "left/b"] and names["glob"] == ["a", "b"]
    assert names["list"] == ["a", "image_00001"]
    assert names["batch"] == ["image_00000", "image_00001"] == names["nested"]
    assert list(model.predict([])) == []


def test_a_generator_is_asked_for_one_image_at_a_time(model):
    asked = []

    def frames():
        buffer = np.empty_like(IMAGES[0])
        for index, image in enumerate(IMAGES):
            asked.append(index)
            buffer[:] = image
            yield buffer

    results = model.predict(frames())
    assert asked == []
    kept = [next(results)]
    assert asked == [0]
    kept += results
    # Each result has its own image, though the generator had one array for all.
    for result, image in zip(kept, IMAGES, strict=True):
        np.testing.assert_array_equal(result.image, image)


def test_an_error_does_not_end_the_iterator(model, folder):
    (folder / "b.png").write_bytes(b"\x89PNG")
    results = model.predict([folder / "a.png", folder / "gone.png", folder, None])
    assert next(results).name == "a"
    with pytest.raises(UserError, match="no image file or folder at .*gone.png"):
        next(results)
    assert next(results).name == "a"
    with pytest.raises(UserError, match="Cannot read .*b.png as an image"):
        next(results)
    assert next(results).name == "left/b"
    with pytest.raises(UserError, match="Received NoneType; allowed: the path"):
        next(results)
    assert list(results) == []


# Images as training reads them


@pytest.mark.parametrize("opened", [False, True], ids=["path", "pillow"])
def test_images_are_read_as_in_training(model, tmp_path, opened):
    def predict(path):
        if not opened:
            return model.predict(path)
        with Image.open(path) as image:
            return model.predict(image)

    turned = save_image(tmp_path / "turned.png", IMAGES[0], exif=_exif(orientation=6))
    result = predict(turned)
    assert result.labels.shape == (64, 48)
    np.testing.assert_array_equal(result.image, read_image(turned))
    alpha = np.dstack([IMAGES[1], np.full((48, 64), 9, np.uint8)])
    result = predict(save_image(tmp_path / "alpha.png", alpha))
    np.testing.assert_array_equal(result.image, IMAGES[1])
    grey = save_image(tmp_path / "grey.png", IMAGES[2][..., 0])
    np.testing.assert_array_equal(
        predict(grey).image, np.repeat(IMAGES[2][..., :1], 3, axis=-1)
    )
    deep = tmp_path / "deep.png"
    _write_rgb16(deep)
    with pytest.raises(UserError, match="deep.png has 16 bits per channel"):
        predict(deep)


def test_pillow_images_without_a_file(model, tmp_path):
    _write_rgb16(tmp_path / "deep.png")
    stream = io.BytesIO((tmp_path / "deep.png").read_bytes())
    with pytest.raises(UserError, match="16 bits per channel"):
        model.predict(Image.open(stream))
    with pytest.raises(UserError, match="The Pillow image has 16 bits per channel"):
        model.predict(Image.new("I;16", (64, 48)))
    cut = save_image(tmp_path / "cut.jpg", IMAGES[0]).read_bytes()[:-600]
    with pytest.raises(UserError, match="Cannot read The Pillow image"):
        model.predict(Image.open(io.BytesIO(cut)))
    palette = Image.fromarray(IMAGES[0]).convert("P")
    before = palette.copy()
    model.predict(palette)
    assert palette.tobytes() == before.tobytes() and palette.mode == "P"


def _exif(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


def _write_rgb16(path):
    import cv2

    cv2.imwrite(str(path), np.full((48, 64, 3), 4095, np.uint16))


@pytest.mark.parametrize(
    "image, sentence",
    [
        (np.zeros((48, 64, 3), np.float32), "Not an 8-bit image: received float32"),
        (np.zeros((48, 64), np.uint8), "Not a colour image.*Repeat a grey image"),
        (np.zeros((48, 64, 4), np.uint8), "Leave out the alpha channel"),
        (b"\xff\xd8", "Received bytes; allowed: the path"),
        ({"image": 1}, "Received dict; allowed"),
        (None, "Received NoneType; allowed"),
        (7, "Received int; allowed"),
        ("https://example.org/a.jpg", "download the image first"),
        ("gone.jpg", "There is no image file or folder at gone.jpg"),
    ],
)
def test_what_is_no_image_is_one_sentence(model, image, sentence):
    with pytest.raises(UserError, match=sentence) as error:
        model.predict(image)
    assert "\n" not in str(error.value)


# Results


def test_probabilities_are_those_of_the_predictor(model, onnx_file):
    result = model.predict(random_image(9, 90, 130))  # which is resized
    probabilities = result.probabilities()
    np.testing.assert_array_equal(
        probabilities, Predictor(onnx_file).probabilities(result.image)
    )
    np.testing.assert_allclose(probabilities.sum(-1), 1, atol=1e-5)
    np.testing.assert_array_equal(probabilities.argmax(-1), result.labels)


def test_a_file_of_labels_has_no_probabilities(tmp_path):
    result = gcnet_tf.load(write_tflite(tmp_path, LABELS)).predict(
        random_image(0, *SIZE)
    )
    assert result.labels.shape == SIZE
    with pytest.raises(UserError, match="gives labels only"):
        result.probabilities()


def test_pictures(model):
    result = model.predict(IMAGES[0])
    plain = np.asarray(result.overlay(opacity=0, legend=False))
    borders = (plain != IMAGES[0]).any(-1)
    assert plain.shape == (48, 64, 3) and borders.mean() < 0.9
    full = np.asarray(result.overlay(opacity=1, legend=False))
    np.testing.assert_array_equal(full, np.array(model.palette)[result.labels])
    shown = Image.open(io.BytesIO(result._repr_png_()))
    assert shown.format == "PNG" and shown.width >= 512 < shown.height * 2
    large = model.predict(random_image(0, 100, 2400))
    shown = Image.open(io.BytesIO(large._repr_png_()))
    assert shown.width <= 1000 and shown.height > 34  # a legend below
    shares = result.shares
    assert list(shares.values()) == sorted(shares.values(), reverse=True)
    truth = {
        model.classes[i]: (expected(IMAGES[0]) == i).mean()
        for i in np.unique(result.labels)
    }
    assert shares == pytest.approx(truth)
    for name, share in truth.items():
        assert f"{name} {share:.1%}" in repr(result)
    with pytest.raises(UserError, match="opacity: received 2"):
        result.overlay(opacity=2)


def test_results_cannot_be_changed(model):
    result = model.predict(IMAGES[0].copy())
    for array in (result.labels, result.image):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 0


# Files


def contents(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_files_are_those_of_the_command(model, onnx_file, folder, tmp_path, capsys):
    saved = [f for r in model.predict(folder) for f in r.save(tmp_path / "ours")]
    assert len(saved) == 4 and all(path.is_file() for path in saved)
    arguments = ("--model", onnx_file, "--image", folder, "--out")
    call_script("predict", *arguments, tmp_path / "theirs")
    assert contents(tmp_path / "ours") == contents(tmp_path / "theirs")
    # The command knows our files: it does only what is missing.
    call_script("predict", *arguments, tmp_path / "ours")
    assert "Wrote 0 prediction(s)" in capsys.readouterr().out


def test_a_file_of_another_name(model, tmp_path):
    result = model.predict(IMAGES[0])
    files = result.save(tmp_path / "new" / "monday.png")
    assert [path.name for path in files] == ["monday.png", "monday_overlay.png"]
    np.testing.assert_array_equal(np.asarray(Image.open(files[0])), result.labels)


def test_no_other_file_is_replaced(model, folder, tmp_path):
    photo = (folder / "a.png").read_bytes()
    with Image.open(folder / "a.png") as opened:
        for image in (folder / "a.png", opened):
            with pytest.raises(UserError, match="would (replace an|be replaced)"):
                model.predict(image).save(folder)
    assert (folder / "a.png").read_bytes() == photo
    (tmp_path / "blocked").write_text("x")
    with pytest.raises(UserError, match="Cannot write"):
        model.predict(IMAGES[0]).save(tmp_path / "blocked" / "out")


def test_images_of_one_name_do_not_replace_each_other(model, onnx_file, tmp_path):
    paths = [tmp_path / side / "x.png" for side in ("left", "right")]
    for path, image in zip(paths, IMAGES):
        save_image(path, image)
    first, second = model.predict(paths)
    first.save(tmp_path / "out")
    before = contents(tmp_path / "out")
    with pytest.raises(UserError, match=r"another image of this name, .*left/x.png.*"):
        second.save(tmp_path / "out")
    assert contents(tmp_path / "out") == before
    second.save(tmp_path / "out" / "right.png")
    # The same image again, as when a cell of a notebook is run again.
    model.predict(paths[0]).save(tmp_path / "out")
    # Another model's results replace those of this one, as in the command.
    gcnet_tf.load(onnx_file, mode="ms_flip").predict(paths[0]).save(tmp_path / "out")
    assert contents(tmp_path / "out").keys() == {
        *before,
        "right.png",
        "right_overlay.png",
    }


# Threads and processes


def test_threads_share_a_model(model, tmp_path):
    def work(index):
        result = model.predict(IMAGES[index % 4])
        result.save(tmp_path / f"{index}.png")
        return result.labels, result.probabilities()

    with ThreadPoolExecutor(6) as pool:
        for index, (labels, probabilities) in enumerate(pool.map(work, range(24))):
            np.testing.assert_array_equal(labels, expected(IMAGES[index % 4]))
            np.testing.assert_array_equal(probabilities.argmax(-1), labels)


def test_a_fork_is_refused(model):
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        try:
            model.predict(IMAGES[0])
            os.write(writing, b"answered")
        except UserError as error:
            os.write(writing, str(error).encode())
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    os.close(writing)
    with os.fdopen(reading, "rb") as answer:
        assert b"a fork of it" in answer.read()


def test_models_and_results_are_not_pickled(model):
    for thing in (model, model.predict(IMAGES[0])):
        with pytest.raises(UserError, match="result.labels"):
            pickle.dumps(thing)


def test_an_exported_file_needs_no_tensorflow(onnx_file):
    code = (
        "import sys, numpy, gcnet_tf\n"
        f"model = gcnet_tf.load({str(onnx_file)!r})\n"
        "result = model.predict(numpy.zeros((48, 64, 3), numpy.uint8))\n"
        "print(result.labels.shape, 'tensorflow' in sys.modules)"
    )
    command = [sys.executable, "-c", code]
    outcome = subprocess.run(command, capture_output=True, text=True, check=True)
    assert outcome.stdout.strip() == "(48, 64) False"

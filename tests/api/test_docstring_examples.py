"""The examples in docstrings of `gcnet_tf.api` run, beside a tiny run and export."""

import doctest
from importlib import import_module

import pytest
from exported_files import write_onnx
from helpers import random_image, save_image

from gcnet_tf.config import load_config
from gcnet_tf.models import build_model
from gcnet_tf.training.monitor.run_folder import open_run
from gcnet_tf.weights.files import BEST_WEIGHTS, save_weights

pytestmark = pytest.mark.usefixtures("shallow")

TINY = [
    "model.backbone.base_channels=4",
    "model.backbone.pretrained=null",
    "model.head.channels=8",
    "model.auxiliary.channels=8",
    "evaluation.scale=[128,96]",
]


@pytest.fixture(scope="module")
def things(tmp_path_factory):
    """A folder with all that the examples name."""
    folder = tmp_path_factory.mktemp("examples")
    config = load_config("voc_r50_20k", TINY)
    run = folder / "runs" / "voc"
    open_run(run, config)
    save_weights(build_model(config), run / BEST_WEIGHTS)
    (folder / "voc.weights.h5").write_bytes((run / BEST_WEIGHTS).read_bytes())
    (folder / "my_config.json").write_bytes((run / "config.json").read_bytes())
    exports = folder / "exports" / "voc"
    exports.mkdir(parents=True)
    file = write_onnx(exports)
    for path in (file, file.with_name("model.onnx.json")):
        path.rename(path.with_name(path.name.replace("model", "model_fp32")))
    for seed, name in enumerate(["street", "photos/left", "photos/right"]):
        save_image(folder / f"{name}.jpg", random_image(seed, 375, 500))
    return folder


@pytest.fixture(scope="module")
def model(things):
    import gcnet_tf

    return gcnet_tf.load(things / "runs" / "voc")


EXAMPLES = [
    test
    for module in map(import_module, ("gcnet_tf.api.model", "gcnet_tf.api.result"))
    for test in doctest.DocTestFinder().find(module, module.__name__)
    if test.examples
]


def test_there_are_examples():
    names = {test.name.removeprefix("gcnet_tf.api.") for test in EXAMPLES}
    assert {"model.load", "model.Model.predict", "result.Result.save"} <= names


@pytest.mark.parametrize("test", EXAMPLES, ids=lambda test: test.name)
def test_the_example_prints_what_it_says(test, model, things, monkeypatch):
    monkeypatch.chdir(things)
    test.globs["model"] = model
    lines = []
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
    assert runner.run(test, out=lines.append).failed == 0, "".join(lines)

"""Replacements for tensorflow-addons, and the configuration that uses it."""

import json
import re
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from gcnet_tf import compat
from gcnet_tf.config import config_to_dict, format_json
from gcnet_tf.errors import UserError
from gcnet_tf.extensions import addons, named
from gcnet_tf.extensions.classes import KINDS
from gcnet_tf.models import build_model
from gcnet_tf.training import train
from gcnet_tf.weights.files import (
    WEIGHTS_FILE,
    list_checkpoints,
    load_weights,
    weights_by_path,
)

ROOT = Path(__file__).parents[2]
with_addons = pytest.mark.skipif(
    not compat.MAY_HAVE_ADDONS, reason="tensorflow-addons needs the other stack"
)
without_addons = pytest.mark.skipif(
    compat.MAY_HAVE_ADDONS, reason="advice is for the stack without tensorflow-addons"
)


def test_the_table_is_in_the_documentation():
    header = addons.table().splitlines()[0]
    files = [ROOT / "README.md", ROOT / "docs" / "addons.md"]
    texts = [text for file in files if header in (text := file.read_text())]
    assert texts and all(addons.table() in text for text in texts)


@without_addons
def test_replacements_exist():
    modules = [module for module, _ in KINDS.values()]
    names = re.findall(r"`([A-Z]\w+)`", " ".join(addons.REPLACEMENTS.values()))
    assert len(names) > 10
    for name in names:
        assert any(hasattr(module, name) for module in modules), name


@with_addons
def test_replaced_classes_exist_in_addons():
    with compat.without_farewell():
        import tensorflow_addons as tfa

    registered = keras.saving.get_custom_objects()
    for name in addons.REPLACEMENTS:
        if name.startswith("tfa.image."):
            assert hasattr(tfa.image, name.removeprefix("tfa.image.")), name
        elif name != "AverageModelCheckpoint":  # the one that was never registered
            assert f"Addons>{name}" in registered, name


@without_addons
@pytest.mark.parametrize("imports", ["[]", None])
def test_addons_on_the_other_stack_are_refused_with_advice(
    imports, tiny_config, tmp_path
):
    more = (
        [] if imports is None else [f"custom_imports={imports}", "augment.layer=null"]
    )
    config = tiny_config(*more, name="shapes_r18_addons")
    with pytest.raises(UserError) as raised:
        train(config, tmp_path / "run")
    for text in ("constraints-addons.txt", "Addons>MovingAverage: `AdamW`"):
        assert text in str(raised.value)
    assert ("Addons>LAMB: `Lamb`" in str(raised.value)) == (imports is None)
    assert not (tmp_path / "run").exists()


@without_addons
@pytest.mark.parametrize(
    "module, name, expected",
    [
        ("tensorflow_addons.optimizers", "Addons>Yogi", "a class of your own"),
        (
            "gcnet_tf.extensions.addons_layers",
            "Addons>SomethingElse",
            "a class of your own",
        ),
        ("tensorflow_addons", "AdamW", "docs/addons.md"),
    ],
)
def test_modules_and_names_of_addons_are_known(module, name, expected, tiny_config):
    config = tiny_config(
        f'custom_imports=["{module}"]',
        f'train.optimizer={{"class_name": "{name}", "config": {{}}}}',
    )
    with pytest.raises(UserError, match=f"received {module}.*{expected}"):
        named.check_names(config)


@pytest.fixture(scope="module")
def trained(tiny_config, scripts, tmp_path_factory):
    """Trains the shipped configuration, smaller, by its command; keeps the output."""
    folder = tmp_path_factory.mktemp("addons")
    settings = ["train.iterations=12", "train.evaluate_every=4"]
    config = tiny_config(*settings, name="shapes_r18_addons")
    (folder / "config.json").write_text(format_json(config_to_dict(config)))
    hidden = {"PYTHONWARNINGS": None, "TF_CPP_MIN_LOG_LEVEL": None}
    arguments = ["--cfg", "config.json", "--out", "run"]
    result = scripts.run("train", *arguments, cwd=folder, environment=hidden)
    return config, folder / "run", result


@with_addons
def test_the_shipped_configuration_trains(trained):
    config, run, result = trained
    assert "iteration 12: val mIoU" in result.stdout
    assert "val_mIoU" in result.stderr and "epochs" in result.stderr  # the bar of TQDM
    best, last = build_model(config), build_model(config)
    load_weights(best, run / "best.weights.h5")
    load_weights(last, list_checkpoints(run)[-1] / WEIGHTS_FILE)
    path = "decode_head/conv_joined/conv/kernel"
    averaged, newest = (weights_by_path(m)[path].numpy() for m in (best, last))
    start = build_model(config)
    assert not np.array_equal(averaged, newest)
    assert np.abs(newest - weights_by_path(start)[path].numpy()).max() > 0.01


@with_addons
def test_there_are_no_warnings_of_deprecation_or_retracing(trained):
    _, _, result = trained
    warnings = re.findall(
        r"(?i).*(?:deprecat|retrac|warning|has ended).*", result.stderr
    )
    # XLA's line at its first compilation comes before absl's logging has started.
    assert [
        line for line in warnings if "All log messages before absl" not in line
    ] == []


@with_addons
def test_a_resumed_run_equals_one_without_interruption(tiny_config, tmp_path):
    config = {"weight_decay": 0.01, "momentum": 0.9}
    inner = {"class_name": "Addons>SGDW", "config": config}
    text = json.dumps({"optimizer": inner})
    settings = ["train.logical_cpus=2", "train.callbacks=[]"]
    config = tiny_config(
        *settings, f"train.optimizer.config={text}", name="shapes_r18_addons"
    )

    class StopAfterTwo(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            self.model.stop_training = batch == 1

    train(config, tmp_path / "one")
    train(config, tmp_path / "two", callbacks=[StopAfterTwo()])
    train(config, tmp_path / "two", resume=True)
    for name in (WEIGHTS_FILE, "optimizer.npz"):
        files = [list_checkpoints(tmp_path / run)[-1] / name for run in ("one", "two")]
        if name.endswith("npz"):
            first, second = (dict(np.load(file)) for file in files)
        else:
            models = [build_model(config) for _ in files]
            for model, file in zip(models, files):
                load_weights(model, file)
            first, second = (
                {path: weight.numpy() for path, weight in weights_by_path(m).items()}
                for m in models
            )
        assert first.keys() == second.keys()
        for key, value in first.items():
            np.testing.assert_allclose(second[key], value, rtol=1e-4, atol=1e-5)


@with_addons
def test_colours_change_by_the_seed_of_each_image(tiny_config):
    config = tiny_config(name="shapes_r18_addons")
    named.check_names(config)
    layer = named.make("layer", vars(config.augment.layer), "augment.layer")
    image = np.random.default_rng(0).integers(0, 256, (1, 16, 16, 3), np.uint8)
    images = tf.constant(np.concatenate([image, image]))
    first = layer(images, tf.constant([[0, 1], [0, 2]]))
    assert first.dtype == tf.uint8 and first.shape == images.shape
    assert not np.array_equal(first[0], first[1])
    swapped = layer(images, tf.constant([[0, 2], [0, 1]]))
    np.testing.assert_array_equal(swapped[0], first[1])
    assert not np.array_equal(first[0], image[0])
    still = {"hue": 0.0, "saturation": [1, 1], "value": [1, 1], "sharpness": [1, 1]}
    same = type(layer)(**still)(images, tf.constant([[0, 1], [0, 2]]))
    # The matrices to YIQ and back are inverse to three digits.
    assert np.abs(same.numpy().astype(int) - images.numpy()).max() <= 2

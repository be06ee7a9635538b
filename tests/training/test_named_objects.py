"""Classes of a user's module, of all kinds that a configuration can name."""

import json
import re
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from training.runs import records, values_of

from gcnet_tf import compat
from gcnet_tf.errors import UserError
from gcnet_tf.extensions import named
from gcnet_tf.models import build_model
from gcnet_tf.models.inference_graph import fold, inference_function
from gcnet_tf.training import train
from gcnet_tf.training.keras_objects import colour_layer
from gcnet_tf.training.optimization.losses import cross_entropy, keras_loss, make_loss
from gcnet_tf.weights.files import list_checkpoints, load_weights, weights_by_path

pytestmark = pytest.mark.usefixtures("shallow")

MODULE = '''
import keras
import tensorflow as tf

register = keras.saving.register_keras_serializable("my_package")
CALLS = []


@register
class MySGD(keras.optimizers.SGD):
    pass


@register
class Doubled(keras.losses.Loss):
    def __init__(self, factor=2.0, **kwargs):
        super().__init__(**kwargs)
        self.factor = factor

    def call(self, y_true, y_pred):
        y_true = tf.where(y_true == 255, 0, y_true)
        return self.factor * tf.nn.sparse_softmax_cross_entropy_with_logits(
            labels=y_true, logits=y_pred
        )


@register
class PerImage(keras.losses.Loss):
    """Means over the labelled pixels of an image, of which there may be none."""

    def call(self, y_true, y_pred):
        labelled = tf.cast(y_true != 255, y_pred.dtype)[..., None]
        sums = tf.reduce_sum(y_pred * labelled, axis=[1, 2, 3])
        return sums / tf.reduce_sum(labelled, axis=[1, 2, 3])


@register
class Pixels(keras.metrics.Sum):
    def update_state(self, y_true, y_pred, sample_weight=None):
        super().update_state(tf.ones(len(y_true)))


@register
class Remember(keras.callbacks.Callback):
    def on_epoch_end(self, epoch, logs=None):
        CALLS.append((epoch, sorted(logs)))

    def get_config(self):  # Keras registers no class without it
        return {}


@register
class Gate(keras.layers.Layer):
    """A layer that scales each channel by a function of the means."""

    def __init__(self, named=True, **kwargs):
        super().__init__(**kwargs)
        more = {"name": "dense"} if named else {}
        self.dense = keras.layers.Dense(8, dtype=self.dtype_policy, **more)

    def call(self, inputs):
        mean = tf.reduce_mean(inputs, axis=[1, 2], keepdims=True)
        return inputs * tf.sigmoid(self.dense(mean))


@register
class Half(keras.layers.Layer):
    def call(self, inputs):
        return inputs[:, ::2]


@register
class Darker(keras.layers.Layer):
    def call(self, images, seeds):
        CALLS.append((images.dtype, tuple(seeds.shape)))
        return images // 2
'''


def setting(class_name, **config):
    return json.dumps({"class_name": class_name, "config": config})


@pytest.fixture(scope="module")
def my_package(tmp_path_factory):
    """The module, in the working folder of the command, which is searched."""
    folder = tmp_path_factory.mktemp("mine")
    (folder / "my_module.py").write_text(MODULE)
    before = list(sys.path)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(sys, "path", [*filter(None, before), str(folder)])
        yield 'custom_imports=["my_module"]'
    sys.modules.pop("my_module", None)


@pytest.mark.slow
def test_all_of_them_train(my_package, tiny_config, tmp_path):
    settings = [
        my_package,
        f"train.optimizer={setting('my_package>MySGD', momentum=0.5, use_ema=True)}",
        f"train.loss={setting('my_package>Doubled', factor=3.0)}",
        f"train.metrics=[{setting('my_package>Pixels', name='pixels')}, "
        f"{setting('MeanIoU', num_classes=6)}]",
        f"train.callbacks=[{setting('my_package>Remember')}]",
        f"model.head.context_layer={setting('my_package>Gate')}",
        f"augment.layer={setting('my_package>Darker')}",
        "train.logical_cpus=2",
    ]
    config = tiny_config(*settings)
    run = train(config, tmp_path / "run")
    calls = sys.modules["my_module"].CALLS
    logs = ["auxiliary_loss", "decode_loss", "loss", "val_mIoU", "val_mean_io_u"]
    assert [call for call in calls if call[0] in (0, 1)] == [
        (epoch, sorted([*logs, "val_pixels"])) for epoch in (0, 1)
    ]
    assert (tf.uint8, (1, 2)) in calls
    for metrics, our_metrics in zip(records(run, "val_metrics"), records(run, "val")):
        # Three images of 32x32, of which the borders of shapes are not labelled.
        assert 1000 < metrics["pixels"] <= 3 * 32 * 32
        assert metrics["mean_io_u"] == pytest.approx(our_metrics["mIoU"], abs=1e-6)
    # The best weights are the averages; those of the checkpoint are not.
    best, last = build_model(config), build_model(config)
    load_weights(best, run / "best.weights.h5")
    load_weights(last, list_checkpoints(run)[-1] / "model.weights.h5")
    path = "decode_head/context/dense/kernel"
    values = [values_of(model)[path] for model in (best, last)]
    assert not np.array_equal(*values)

    # It resumes, averages included, and is the same for inference.
    longer = tiny_config(*settings)
    train(longer, tmp_path / "run", resume=True)
    images = np.random.default_rng(0).integers(0, 256, (1, 32, 32, 3), np.uint8)
    expected = best(images)["logits"]
    assert "decode_head/context/dense/kernel" in weights_by_path(fold(best))
    actual = inference_function(best)(tf.constant(images))
    np.testing.assert_allclose(actual, expected, atol=1e-5)


def test_layers_of_keras_change_colours_on_two_replicas(
    tiny_config, toy_network, tmp_path
):
    settings = [f"augment.layer={setting('GaussianDropout', rate=0.02)}"]
    config = tiny_config(*settings, "train.logical_cpus=2", "train.iterations=1")
    images = tf.constant(np.full((2, 16, 16, 3), 128, np.uint8))
    changed = colour_layer(config)(images, None)
    assert changed.dtype == tf.uint8
    assert 15 < np.std(changed) < 25 and not np.array_equal(changed[0], changed[1])
    assert list_checkpoints(train(config, tmp_path / "run"))


@pytest.mark.skipif(compat.MAY_HAVE_ADDONS, reason="Keras has them from 3 on")
@pytest.mark.parametrize(
    "name", ["Equalization", "RandomSharpness", "RandomGaussianBlur", "RandomErasing"]
)
def test_layers_that_replace_those_of_addons(name, tiny_config):
    rng = np.random.default_rng(0)
    images = tf.constant(rng.integers(60, 160, (4, 32, 32, 3), np.uint8))
    arguments = {"factor": 1.0} if name.startswith("Random") else {}
    config = tiny_config(f"augment.layer={setting(name, **arguments)}")
    changed = colour_layer(config)(images, None)
    assert changed.dtype == tf.uint8 and changed.shape == images.shape
    assert not np.array_equal(changed, images) and np.mean(changed) > 60


@pytest.mark.parametrize("weights", [None, (1.0, 2.0, 0.5)])
def test_keras_cross_entropy_is_ours(weights):
    rng = np.random.default_rng(0)
    logits = tf.constant(rng.normal(size=(2, 5, 6, 3)), tf.float32)
    labels = rng.choice([0, 1, 2, 255], (2, 5, 6)).astype(np.uint8)
    loss = keras.losses.SparseCategoricalCrossentropy(
        from_logits=True, ignore_class=255
    )
    actual = keras_loss(loss, logits, labels, weights)
    np.testing.assert_allclose(
        actual, cross_entropy(logits, labels, weights), rtol=1e-6
    )


def test_a_loss_that_knows_no_255_is_the_one_that_does(tiny_config):
    rng = np.random.default_rng(0)
    logits = tf.constant(rng.normal(size=(2, 5, 7, 6)), tf.float32)
    labels = rng.choice([*range(6), 255], (2, 5, 7)).astype(np.uint8)
    weights = (1.0, 2.0, 0.5, 1.0, 3.0, 1.0)
    name = "SparseCategoricalCrossentropy"
    config = tiny_config(f"train.loss={setting(name, from_logits=True)}")
    actual = make_loss(config, weights)(logits, labels)
    np.testing.assert_allclose(
        actual, cross_entropy(logits, labels, weights), rtol=1e-6
    )


class EagerOnly(keras.losses.Loss):
    """Works with arrays at hand, and not in the graph of a training step."""

    def call(self, y_true, y_pred):
        assert y_pred.numpy().size
        return tf.where(y_true == 255, 0.0, tf.reduce_mean(y_pred**2, axis=-1))


def registered_loss(cls):
    """Returns the setting that names a loss of this module."""
    registered = keras.saving.register_keras_serializable("test")(cls)
    return f"train.loss={setting(keras.saving.get_registered_name(registered))}"


def test_a_loss_is_tried_in_a_graph(tiny_config):
    config = tiny_config(registered_loss(EagerOnly))
    with pytest.raises(UserError, match="EagerOnly fails with .*numpy"):
        make_loss(config)


def test_a_loss_that_counts_pixels_without_a_label_says_so(tiny_config):
    config = tiny_config(registered_loss(Whole))
    with pytest.warns(UserWarning, match="Whole counts pixels that are not labelled"):
        make_loss(config)


def test_the_loss_of_the_documentation():
    text = (Path(__file__).parents[2] / "docs/addons.md").read_text()
    names: dict = {}
    exec(re.search("```python\n(.*?)```", text, re.DOTALL)[1], names)
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, (2, 5, 6), np.int32)
    right = tf.one_hot(labels, 3) * 50
    labels[:, :2] = 255
    losses = [
        float(keras_loss(names["Dice"](), tf.constant(logits, tf.float32), labels))
        for logits in (right, np.where(labels[..., None] == 255, 7.0, right), -right)
    ]
    assert losses[0] == pytest.approx(0, abs=1e-5) == losses[1]
    assert losses[2] > 0.5


class Whole(keras.losses.Loss):
    def call(self, y_true, y_pred):
        return tf.reduce_sum(y_pred, axis=[1, 2, 3])

    def get_config(self):
        return {}


def test_a_loss_per_image_has_no_class_weights():
    logits, labels = tf.ones((2, 3, 3, 2)), np.zeros((2, 3, 3), np.uint8)
    assert float(keras_loss(Whole(), logits, labels)) == 18.0
    with pytest.raises(UserError, match="Whole of train.loss returns no value per"):
        keras_loss(Whole(), logits, labels, (1.0, 1.0))


@pytest.mark.parametrize(
    "setting, message",
    [
        (
            f"train.optimizer={setting('my_package>Nope')}",
            "my_package>MySGD.*or a opti",
        ),
        (f"train.optimizer={setting('AdamWW')}", "not known.*AdamW, "),
        (f"train.loss={setting('my_package>MySGD')}", "is registered, but no loss"),
        (
            f"train.loss={setting('SparseCategoricalCrossentropy')}",
            "from_logits.: true",
        ),
        (
            f"train.loss={setting('MeanSquaredError')}",
            "MeanSquaredError fails with class ids .*: Incompatible .*. Name",
        ),
        (
            f"train.loss={setting('my_package>PerImage')}",
            "PerImage fails .*: its value or its gradient is not finite",
        ),
        (f"train.metrics=[{setting('Meen')}]", r"train.metrics\[0\]: .*Mean"),
        ('custom_imports=["nowhere"]', "cannot import nowhere .*No module named"),
        ('custom_imports=["broken"]', "cannot import broken .*1 / 0|division by zero"),
        (
            f"train.optimizer={setting('SGD', moment=1)}",
            "train.optimizer: SGD does not take these arguments: .*moment",
        ),
        (
            f"train.optimizer={setting('SGD', learning_rate=1)}",
            "received a learning_rate; leave it out",
        ),
        (
            f"model.head.context_layer={setting('my_package>Gate', named=False)}",
            "other names each time; name every layer",
        ),
        (
            f"model.head.context_layer={setting('my_package>Half')}",
            "my_package>Half does not keep the shape",
        ),
    ],
)
def test_errors_come_before_the_run_folder(
    setting, message, my_package, tiny_config, tmp_path
):
    (tmp_path / "broken.py").write_text("1 / 0")
    sys.path.append(str(tmp_path))
    with pytest.raises(UserError, match=message):
        train(tiny_config(my_package, setting), tmp_path / "run")
    sys.path.remove(str(tmp_path))
    assert not (tmp_path / "run").exists()


def test_objects_inside_others_are_made_first(my_package, tiny_config):
    named.import_modules(tiny_config(my_package))
    regularizer = {"class_name": "L2", "config": {"l2": 0.5}}
    layer = {"class_name": "Dense", "config": {"kernel_regularizer": regularizer}}
    dense = named.make("layer", layer, "here", {"units": 3})
    assert dense.units == 3
    assert float(dense.kernel_regularizer(tf.ones(4))) == 2.0

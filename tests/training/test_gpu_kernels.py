"""A GPU's part in the graphs of a training, by TensorFlow's own register."""

import keras
import pytest
import tensorflow as tf
from gpu_kernels import NOTHING, SMALL, findings, needs_register

from gcnet_tf import compat
from gcnet_tf.data.stream.pipeline import training_dataset
from gcnet_tf.models import build_model
from gcnet_tf.models.inference_graph import inference_graph
from gcnet_tf.training.distributed.strategy import make_strategy
from gcnet_tf.training.optimization.losses import LOSSES, keras_loss, make_loss
from gcnet_tf.training.optimization.optimizers import make_optimizer
from gcnet_tf.training.step import make_train_step

pytestmark = [needs_register, pytest.mark.usefixtures("shallow", "on_a_gpu")]

PRECISIONS = ("float32", "mixed_bfloat16", "mixed_float16")
# As `build_model` chooses by itself where there is a GPU.
DIRECT = ("model.winograd=false",)
# Kinds of networks: the context blocks, and depthwise convolutions.
NETWORKS = {
    "nl": ["model.head.context.block=nl"],
    "snl": ["model.head.context.block=snl"],
    "se": ["model.head.context.block=se", "model.head.context.ratio=0.5"],
    "separable": ["model.head.separable=true"],
}


@pytest.fixture
def on_a_gpu(monkeypatch):
    """Chooses what a GPU chooses: all its kernels can be dilated backwards, too."""
    name = "gcnet_tf.layers.convolution.trainable.has_dilated_gradient"
    monkeypatch.setattr(name, lambda dtype: True)


def step_graph(config, replicas=1):
    """Traces the training step for the batches of the real input."""
    strategy = make_strategy("mirrored", replicas)
    with strategy.scope():
        model = build_model(config)
        _, optimizer = make_optimizer(config)
        compat.build_optimizer(optimizer, model)
    weights = [1.0] * model.num_classes
    step = make_train_step(model, optimizer, strategy, 0.4, make_loss(config, weights))
    batch = {**training_dataset(config, num_replicas=replicas).element_spec}
    del batch["name"]  # as in `Batches`
    return step.get_concrete_function(batch).graph


@pytest.mark.parametrize(
    "precision, replicas",
    [*((precision, 1) for precision in PRECISIONS), ("mixed_float16", 2)],
)
def test_the_step_stays_on_the_gpu(tiny_config, precision, replicas):
    config = tiny_config(
        f"train.precision={precision}",
        *DIRECT,
        "augment.photometric_distortion=true",
        "augment.photometric_on_device=true",
    )
    assert findings(step_graph(config, replicas)) == NOTHING


@pytest.mark.slow
@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("network", NETWORKS)
def test_the_step_of_other_networks_stays_on_the_gpu(tiny_config, precision, network):
    config = tiny_config(f"train.precision={precision}", *DIRECT, *NETWORKS[network])
    assert findings(step_graph(config)) == NOTHING


@pytest.mark.parametrize("network", [None, *NETWORKS])
def test_the_graph_of_an_evaluation_stays_on_the_gpu(tiny_config, network):
    config = tiny_config(*DIRECT, *NETWORKS.get(network, []))
    outputs = ["labels", "logits", "probabilities"]
    images = tf.TensorSpec([None, None, None, 3], tf.uint8)
    graph = inference_graph(build_model(config), images, outputs).graph
    assert findings(graph) == NOTHING


# Beside the defaults, those that compute otherwise.
OTHER_SETTINGS = [
    ("cross_entropy", {"avg_non_ignore": True, "label_smoothing": 0.1}),
    ("ohem_sampler", {"threshold": 0.5}),
    ("lovasz", {"per_image": True}),
]


# The distances of `hausdorff` are computed on the processor, as its docstring says.
ON_THE_GPU = [kind for kind in LOSSES if kind != "hausdorff"]


@pytest.mark.parametrize(
    "kind, settings", [*((kind, {}) for kind in ON_THE_GPU), *OTHER_SETTINGS]
)
def test_a_term_of_the_loss_stays_on_the_gpu(kind, settings):
    weights = {} if kind == "dice" else {"class_weights": [1.0] * 5}

    def gradient(logits, labels):
        return tf.gradients(LOSSES[kind](logits, labels, **weights, **settings), logits)

    logits = tf.TensorSpec([2, 32, 32, 5])
    labels = tf.TensorSpec([2, 32, 32], tf.uint8)
    assert findings(graph_of(gradient, logits, labels)) == NOTHING


@pytest.mark.parametrize("ignore_class", [None, 255])
def test_a_loss_of_keras_stays_on_the_gpu(ignore_class):
    """Keras compares labels with `ignore_class`, and we with 255."""
    loss = keras.losses.SparseCategoricalCrossentropy(True, ignore_class)

    def gradient(logits, labels):
        return tf.gradients(keras_loss(loss, logits, labels, [1.0] * 5), logits)

    logits = tf.TensorSpec([2, 32, 32, 5])
    labels = tf.TensorSpec([2, 32, 32], tf.uint8)
    assert findings(graph_of(gradient, logits, labels)) == NOTHING


def graph_of(function, *arguments):
    return tf.function(function).get_concrete_function(*arguments).graph


LABELS = tf.TensorSpec([SMALL + 1], tf.int32)


def test_finds_a_detour_also_in_a_function_of_a_function():
    def detour(labels):
        return tf.reshape(labels, [1, -1])

    inner = tf.function(detour)
    # int32 arguments of a function are detours already.
    large = f"int32 ({SMALL + 1},)"
    expected = {f"Placeholder.output {large}", f"Reshape.tensor {large}"}
    for graph in (
        graph_of(detour, LABELS),
        graph_of(lambda x: inner(x) + 1, LABELS),
        graph_of(
            lambda x: tf.cond(x[0] > 0, lambda: inner(x), lambda: x[None]), LABELS
        ),
    ):
        assert expected <= findings(graph).through_host
    # As small as shapes are, it may be there.
    assert findings(graph_of(detour, tf.TensorSpec([SMALL], tf.int32))) == NOTHING
    compiled = tf.function(lambda x: detour(tf.cast(x, tf.int32)), jit_compile=True)
    pixels = tf.TensorSpec([2 * SMALL], tf.uint8)
    assert (
        findings(graph_of(lambda x: tf.cast(compiled(x), tf.uint8), pixels)) == NOTHING
    )


def test_finds_what_has_no_kernel():
    graph = graph_of(tf.strings.length, tf.TensorSpec([2], tf.string))
    assert findings(graph).without_kernel == {"StringLength (string) int32"}

"""The inference form: normalisation folded into convolutions, weights of one moment.

Evaluation, prediction and every export share it. On a CPU it is about twice as fast as
the training model.
"""

from collections.abc import Callable, Collection, Container, Sequence
from typing import Any

import tensorflow as tf
from tensorflow.python.framework.convert_to_constants import (
    convert_variables_to_constants_v2,
)

from gcnet_tf.compat import weights_by_path
from gcnet_tf.layers import BatchNorm, SymmetricConv2D
from gcnet_tf.models import Segmentor
from gcnet_tf.runtime.manifest import LABELS, LOGITS, PROBABILITIES

INPUT = "images"
_FIRST_KERNEL = "backbone/stem1/conv/kernel"
# Largest number of weights of direct convolutions that become constants in
# `inference_function`. TensorFlow's optimiser makes some twenty copies of constants,
# here up to 0.3 GB; a ResNet-18 or MobileNet has less, a ResNet-50 four times as much.
_MOST_CONSTANTS = 2**22


def fold(model: Segmentor, dtype: str = "float32", winograd: bool = False) -> Segmentor:
    """Returns a copy of `model` for inference.

    Each batch normalisation becomes part of the convolution before it, the division by
    the images' standard deviation part of the first one, and the auxiliary head is
    gone. In float32 the outputs equal those of `model` up to rounding.

    Args:
        model: the trained model.
        dtype: of weights and arithmetic, "float32" or "bfloat16".
        winograd: see `SymmetricConv2D`.
    """
    changes = {
        "auxiliary": None,
        "winograd": winograd,
        "folded": True,
        "dtype": dtype,
    }
    folded = Segmentor.from_config({**model.get_config(), **changes})
    folded.build((None, None, None, 3))
    source, weights = weights_by_path(model), weights_by_path(folded)
    deviation = model.backbone.standard_deviation
    epsilons = _folded_norms(model, source, weights)
    for path, weight in weights.items():
        value = _folded_value(path, source, epsilons)
        if path == _FIRST_KERNEL:
            value /= tf.constant(deviation, value.dtype)[:, tf.newaxis]  # (3, 1)
        weight.assign(tf.cast(value, weight.dtype))
    return folded


def _folded_norms(
    model: Segmentor, source: dict, kept_paths: Container[str]
) -> dict[str, float]:
    """Collects epsilons of the folded normalisations, by "backbone/stem1/norm/".

    A layer of the user's own (model.head.context_layer) keeps those that it has.
    """
    paths = {id(weight): path for path, weight in source.items()}
    norms = [layer for layer in model._flatten_layers() if isinstance(layer, BatchNorm)]
    all_epsilons = {paths[id(norm.gamma)]: norm.epsilon for norm in norms}
    return {
        path.removesuffix("gamma"): epsilon
        for path, epsilon in all_epsilons.items()
        if path not in kept_paths
    }


def _folded_value(path: str, source: dict, epsilons: dict[str, float]) -> tf.Tensor:
    """Computes the weight `path` of the folded model.

    Args:
        path: such as "backbone/stem1/conv/kernel", of any kind of convolution.
        source: the weights of the training model.
        epsilons: see `_folded_norms`.
    """
    unit = path.removesuffix("conv/kernel").removesuffix("conv/bias")
    norm = unit + "norm/"
    if unit == path or norm not in epsilons:
        return tf.convert_to_tensor(source[path])
    gamma, beta, mean, variance = (
        tf.convert_to_tensor(source[norm + name])
        for name in ("gamma", "beta", "moving_mean", "moving_variance")
    )
    scale = gamma * tf.math.rsqrt(variance + epsilons[norm])
    if path.endswith("kernel"):
        return tf.convert_to_tensor(source[path]) * scale
    return beta - mean * scale


def infer(
    folded: Segmentor, images: tf.Tensor, outputs: Collection[str]
) -> dict[str, tf.Tensor]:
    """Computes the outputs of `inference_graph` with a model that `fold` returned."""
    logits = folded(images)["logits"]
    tensors = {LOGITS: logits}
    if LABELS in outputs:
        labels = tf.argmax(logits, axis=-1, output_type=tf.int32)
        tensors[LABELS] = tf.cast(labels, tf.uint8)
    if PROBABILITIES in outputs:
        tensors[PROBABILITIES] = tf.nn.softmax(logits)
    return {name: tensors[name] for name in outputs}


def inference_graph(
    model: Segmentor,
    images: tf.TensorSpec,
    outputs: Sequence[str],
    dtype: str = "float32",
    winograd: bool = False,
) -> Any:
    """Folds and freezes `model`.

    The graph keeps the weights of this moment: later training does not reach it.

    Args:
        model: the trained model.
        images: shape and type of the input, RGB 0-255 `(batch, height, width, 3)`;
            None in the shape for what is known only when it runs.
        outputs: which of "labels", uint8 `(batch, height, width)`, "logits" and
            "probabilities", float32 `(batch, height, width, num_classes)`.
        dtype, winograd: see `fold`.

    Returns:
        A `ConcreteFunction` without variables, from a tensor named "images" to a list
        of the outputs *in alphabetical order*.
    """
    folded = fold(model, dtype, winograd)
    signature = tf.TensorSpec(images.shape, images.dtype, INPUT)
    traced = tf.function(
        lambda images: infer(folded, images, outputs), input_signature=[signature]
    ).get_concrete_function()
    # Loops as they are: lowered, ONNX's converter does not know them.
    return convert_variables_to_constants_v2(traced, lower_control_flow=False)


def inference_function(
    model: Segmentor,
    size: tuple[int | None, int | None] = (None, None),
    dtype: str = "float32",
) -> Callable[[tf.Tensor], tf.Tensor]:
    """Makes `model` a function from uint8 images to their logits.

    It keeps the weights of this moment, as `inference_graph` does, in a fraction of its
    memory: transformed once, Winograd's kernels are inputs of the graph, and so are
    other weights where there are many.

    Args:
        model: the trained model.
        size: (height, width) of the images; None for what is known only when it runs.
        dtype: see `fold`.
    """
    return folded_function(fold(model, dtype, model.winograd), size)


def folded_function(
    folded: Segmentor, size: tuple[int | None, int | None] = (None, None)
) -> Callable[[tf.Tensor], tf.Tensor]:
    """Makes a model that `fold` returned the function of `inference_function`."""
    layers = [x for x in folded._flatten_layers() if isinstance(x, SymmetricConv2D)]
    direct = [layer for layer in layers if not layer.uses_winograd]
    if sum(layer.count_params() for layer in direct) <= _MOST_CONSTANTS:
        fixed = layers
    else:
        fixed = [layer for layer in layers if layer.uses_winograd]
    for layer in fixed:
        layer.fix_kernel()
    traced = tf.function(
        lambda images: infer(folded, images, [LOGITS])[LOGITS],
        input_signature=[tf.TensorSpec([None, *size, 3], tf.uint8)],
        autograph=False,
    ).get_concrete_function()
    # The graph itself does not keep the variables that it reads. All others are freed.
    traced.weights = traced.variables
    return lambda images: traced(tf.convert_to_tensor(images))

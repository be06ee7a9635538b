"""Parameters and multiply-adds of networks and context blocks, counted.

A multiply-add is counted for every product in a convolution or a matrix product, and
nothing for the rest, such as norms, softmax and resizing.
"""

import math

import tensorflow as tf

from gcnet_tf.models import Segmentor
from gcnet_tf.models.inference_graph import fold
from gcnet_tf.weights.files import weights_by_path


def of_block(layer, input_shape: tuple[int, int, int, int]) -> int:
    """Computes the multiply-adds of a context block's forward pass in closed form.

    Args:
        layer: a built layer from `make_context`.
        input_shape: `(batch, height, width, channels)`.
    """
    batch, height, width, channels = input_shape
    positions = height * width
    if hasattr(layer, "mode"):
        return batch * _of_non_local(layer, height, width, channels)
    # Attention logits by a 1x1 convolution, and the sum that their softmax weighs.
    pooling = 2 * positions * channels if layer.pooling == "att" else 0
    transform = channels * channels
    if layer.transform != "linear":
        hidden = getattr(layer, layer.fusions[0]).hidden
        transform = 2 * channels * hidden
    return batch * (pooling + len(layer.fusions) * transform)


def _of_non_local(layer, height: int, width: int, channels: int) -> int:
    queries = keys = height * width
    if layer.sub_sample:
        keys = (height // 2) * (width // 2)
    hidden = layer.g.filters
    compared_channels = channels if layer.mode == "gaussian" else hidden
    # The projections are g, theta, phi and conv_out; in gaussian mode g and conv_out.
    # All work at full size: subsampling halves only the results of g and phi.
    projections = 2 if layer.mode == "gaussian" else 4
    outer = projections * queries * channels * hidden
    if layer.mode == "dot_product":
        return outer + keys * hidden * hidden + queries * hidden * hidden
    if layer.mode == "concatenation":
        affinity = (queries + keys) * hidden
    else:
        affinity = queries * keys * compared_channels
    return outer + affinity + queries * keys * hidden


def of_function(function) -> int:
    """Counts the multiply-adds of a `ConcreteFunction` with static sizes and no loops.

    TensorFlow's own profiler counts a product with a transposed first factor wrongly.
    """
    return sum(map(_of_operation, function.graph.get_operations()))


def _of_operation(operation) -> int:
    if operation.type in ("Conv2D", "DepthwiseConv2dNative"):
        height, width, channels, _ = operation.inputs[1].shape
        summed = height * width * (channels if operation.type == "Conv2D" else 1)
    elif operation.type == "MatMul":
        summed = operation.inputs[0].shape[
            0 if operation.get_attr("transpose_a") else 1
        ]
    elif operation.type.startswith("BatchMatMul"):
        summed = operation.inputs[0].shape[-2 if operation.get_attr("adj_x") else -1]
    else:
        return 0
    return operation.outputs[0].shape.num_elements() * summed


def of_network(model: Segmentor, size: tuple[int, int]) -> int:
    """Counts the multiply-adds of the inference graph for one image.

    Args:
        model: a training model.
        size: (height, width) of the image.
    """
    folded = fold(model)
    images = tf.TensorSpec((1, *size, 3))
    return of_function(tf.function(folded).get_concrete_function(images))


def parameters(model: Segmentor) -> int:
    """Counts the trainable parameters without those of the auxiliary head."""
    return sum(
        math.prod(weight.shape)
        for path, weight in weights_by_path(model).items()
        if not path.startswith("auxiliary_head/")
        and not path.endswith(("moving_mean", "moving_variance"))
    )

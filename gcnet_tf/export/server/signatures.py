"""Signatures of a SavedModel for photos of any size."""

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from gcnet_tf.export.server.decode import decode_photo
from gcnet_tf.export.server.photos import PhotoGraph
from gcnet_tf.models.inference_graph import INPUT
from gcnet_tf.runtime.manifest import LABELS, PROBABILITIES

# TensorFlow Serving's REST interface takes and gives base64 for names with this ending.
ENCODED_INPUT, PNG_OUTPUT = "image_bytes", "png_bytes"
SIZES, ERRORS = "sizes", "errors"
# In what surrounds the labels of the smaller photos of a batch.
OUTSIDE = 255

Tensors = dict[str, tf.Tensor]


def photo_signatures(graph: PhotoGraph) -> dict[str, Any]:
    """Makes the signatures that take photos, by name; see `export_saved_model`."""
    photos = tf.TensorSpec([None, None, None, 3], tf.uint8, INPUT)
    files = tf.TensorSpec([None], tf.string, ENCODED_INPUT)

    def labels(images: tf.Tensor) -> Tensors:
        return {LABELS: graph.labels(images)}

    def probabilities(images: tf.Tensor) -> Tensors:
        return {PROBABILITIES: graph.probabilities(images)}

    def of_file(file: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        image, error = decode_photo(file)
        is_image = tf.size(image) > 0
        ids = tf.cond(
            is_image,
            lambda: graph.labels(image[tf.newaxis])[0],
            lambda: tf.zeros([0, 0], tf.uint8),
        )
        return ids, error

    def encoded(image_bytes: tf.Tensor) -> Tensors:
        def run(file: tf.Tensor) -> tuple:
            ids, error = of_file(file)
            # A batch of arrays of one size is all that an output can be.
            return tf.RaggedTensor.from_tensor(ids), tf.shape(ids), error

        specs = (
            tf.RaggedTensorSpec([None, None], tf.uint8, ragged_rank=1),
            tf.TensorSpec([2], tf.int32),
            tf.TensorSpec([], tf.string),
        )
        ids, sizes, errors = _each(run, image_bytes, specs)
        return {LABELS: ids.to_tensor(OUTSIDE), SIZES: sizes, ERRORS: errors}

    def png(image_bytes: tf.Tensor) -> Tensors:
        def run(file: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            ids, error = of_file(file)
            encoded = tf.cond(
                tf.size(ids) > 0,
                lambda: tf.io.encode_png(ids[..., tf.newaxis]),
                lambda: "",
            )
            return encoded, error

        pngs, errors = _each(run, image_bytes, (tf.TensorSpec([], tf.string),) * 2)
        return {PNG_OUTPUT: pngs, ERRORS: errors}

    signatures = {
        "serving_default": (labels, photos),
        "serving_probabilities": (probabilities, photos),
        "serving_encoded": (encoded, files),
        "serving_png": (png, files),
    }
    return {
        name: tf.function(function, input_signature=[spec], autograph=False)
        for name, (function, spec) in signatures.items()
    }


def _each(run: Callable, files: tf.Tensor, specs: tuple) -> Any:
    return tf.map_fn(run, files, fn_output_signature=specs, parallel_iterations=1)

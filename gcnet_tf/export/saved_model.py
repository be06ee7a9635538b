"""Export to a TensorFlow SavedModel that a server can load without this package."""

from pathlib import Path
from typing import Any

import tensorflow as tf

from gcnet_tf.config import Config
from gcnet_tf.export.files import describe, placed
from gcnet_tf.export.plan import CPU_FP32, PORTABLE
from gcnet_tf.models import Segmentor
from gcnet_tf.models.inference_graph import INPUT, inference_graph
from gcnet_tf.runtime.manifest import LABELS, PROBABILITIES, TensorInfo

ENCODED_SIGNATURE = "serving_encoded"
# TensorFlow Serving's REST interface accepts base64 only for names with this ending.
ENCODED_INPUT = "image_bytes"

_DTYPES = {"fp32": "float32", "bf16": "bfloat16"}


def export_saved_model(
    model: Segmentor,
    config: Config,
    out: Path,
    *,
    precision: str = "fp32",
    target: str = PORTABLE,
    size: tuple[int, int] | None = None,
    values: str = PROBABILITIES,
) -> list[Path]:
    """Writes the folder `saved_model_PRECISION` into `out`, or `saved_model_fp32_cpu`.

    Its signature `serving_default` takes `images`, uint8 RGB 0-255 `(batch, height,
    width, 3)`, and `serving_encoded` takes `image_bytes`, strings `(batch,)`, JPEG or
    PNG files of one size; their EXIF orientation is ignored. Both return
    `labels`, uint8 `(batch, height, width)`, and `probabilities` or `logits`, float32
    `(batch, height, width, num_classes)`.

    Args:
        model: the trained model.
        config: its configuration.
        out: the parent folder.
        precision: "fp32", or "bf16": weights and arithmetic in bfloat16, for
            processors that have it.
        target: "portable", or "cpu-fp32": in fp32 with Winograd convolutions, which
            halve the time on processors. See `inference_graph.fold`.
        size: (height, width) of the images; None for any.
        values: the second output, "probabilities" or "logits".

    Raises:
        UserError: when the folder exists and is not an earlier export.
    """
    winograd = (precision, target) == ("fp32", CPU_FP32)
    spec = tf.TensorSpec([None, *(size or (None, None)), 3], tf.uint8, INPUT)
    outputs = {
        LABELS: TensorInfo(LABELS, "uint8", "nhw", "class ids"),
        values: TensorInfo(values, "float32", "nhwc", f"{values} of the classes"),
    }
    manifest = describe(
        model,
        config,
        format="saved_model",
        precision=precision,
        target=target if winograd else PORTABLE,
        size=size,
        batch=None,
        input=TensorInfo(INPUT, "uint8", "nhwc", "RGB, 0-255"),
        outputs=outputs,
        packages=("tensorflow", "keras"),
    )
    path = out / f"saved_model_{precision}{'_cpu' if winograd else ''}"
    with placed(path, manifest) as partial:
        names = sorted(outputs)
        graph = inference_graph(model, spec, names, _DTYPES[precision], winograd)
        module = _module(graph, spec, names)
        signatures = {
            "serving_default": module.serve,
            ENCODED_SIGNATURE: module.serve_encoded,
        }
        tf.saved_model.save(module, str(partial), signatures=signatures)
    return [path]


def _module(graph: Any, spec: tf.TensorSpec, outputs: list[str]) -> tf.Module:
    """Adds to the graph a signature for arrays and one for encoded files."""

    @tf.function(input_signature=[spec], autograph=False)
    def serve(images: tf.Tensor) -> dict[str, tf.Tensor]:
        return dict(zip(outputs, graph(images)))

    encoded = tf.TensorSpec([None], tf.string, ENCODED_INPUT)

    @tf.function(input_signature=[encoded], autograph=False)
    def serve_encoded(image_bytes: tf.Tensor) -> dict[str, tf.Tensor]:
        image = tf.TensorSpec([*spec.shape[1:]], tf.uint8)
        images = tf.map_fn(_decode, image_bytes, fn_output_signature=image)
        return serve(tf.ensure_shape(images, spec.shape))

    module = tf.Module()
    module.serve, module.serve_encoded = serve, serve_encoded
    return module


def _decode(encoded: tf.Tensor) -> tf.Tensor:
    # The function reads PNG as well.
    return tf.io.decode_jpeg(encoded, channels=3, dct_method="INTEGER_ACCURATE")

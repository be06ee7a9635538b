"""Export to a TensorFlow SavedModel that a server can load without this package."""

from pathlib import Path

import tensorflow as tf

from gcnet_tf.compat import plain_variables
from gcnet_tf.config import Config
from gcnet_tf.evaluation.load import protocol_settings
from gcnet_tf.export.files import describe, placed
from gcnet_tf.export.loaded import LoadedTensor
from gcnet_tf.export.plan import CPU_FP32, PORTABLE
from gcnet_tf.export.server.photos import PhotoGraph
from gcnet_tf.export.server.signatures import photo_signatures
from gcnet_tf.layers import SymmetricConv2D
from gcnet_tf.layers.convolution.conv import Compute
from gcnet_tf.models import Segmentor
from gcnet_tf.models.inference_graph import INPUT, fold, infer
from gcnet_tf.runtime.backends.saved_model import NETWORK_SIGNATURE
from gcnet_tf.runtime.manifest import LABELS, LOGITS, PROBABILITIES, TensorInfo
from gcnet_tf.runtime.protocol import Protocol

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

    Four signatures take photos of any size, scale, pad and cut them as the
    configuration's `evaluation` says, and answer at the size of the photos:

    - `serving_default`: `images`, uint8 RGB 0-255 `(batch, height, width, 3)`, to
      `labels`, uint8 `(batch, height, width)`.
    - `serving_probabilities`: the same to `probabilities`, float32 `(batch, height,
      width, num_classes)`.
    - `serving_encoded`: `image_bytes`, strings `(batch,)`, files of any sizes in JPEG,
      PNG, GIF or BMP, turned by their EXIF orientation, to `labels`, padded with 255
      to the largest of the photos, their `sizes`, int32 `(batch, 2)`, and `errors`,
      strings `(batch,)`. A file that is no image has size 0 and an error; the others
      have an empty error.
    - `serving_png`: the same to `png_bytes`, strings `(batch,)`, grey PNG files of
      labels, empty where there is an error, and `errors`.

    The signature `network` is the network alone: `images` to `labels` and `values`,
    all at the size of its input. The runtime calls it.

    Args:
        model: the trained model.
        config: its configuration.
        out: the parent folder.
        precision: "fp32", or "bf16": weights and arithmetic in bfloat16, for
            processors that have it.
        target: "portable", or "cpu-fp32": in fp32 with Winograd convolutions, which
            halve the time on processors. See `inference_graph.fold`.
        size: (height, width) of the network's images; None for any.
        values: the second output of the network, "probabilities" or "logits".

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
        folded = fold(model, _DTYPES[precision], winograd)
        loaded = _transform_when_loaded(folded)
        settings = protocol_settings(config, model.backbone.padding_colour)
        photos = PhotoGraph(
            lambda images: infer(folded, images, [LOGITS])[LOGITS],
            model.num_classes,
            Protocol.from_settings(settings),
            size,
        )
        module = tf.Module()
        # Variables and not constants, of which TensorFlow makes twenty copies while it
        # loads a file and runs it first: 4.2 GB for the 0.2 GB of an R50, beside 1.0.
        module.weights = plain_variables(folded)
        functions = {
            NETWORK_SIGNATURE: tf.function(
                lambda images: infer(folded, images, outputs),
                input_signature=[spec],
                autograph=False,
            ),
            **photo_signatures(photos),
        }
        signatures = {
            name: function.get_concrete_function()
            for name, function in functions.items()
        }
        module.loaded = loaded  # complete only now, after all graphs are made
        tf.saved_model.save(module, str(partial), signatures=signatures)
    return [path]


def _transform_when_loaded(folded: Segmentor) -> list[LoadedTensor]:
    """Lets a file transform Winograd's kernels once: a twentieth of an answer.

    Returns:
        The kernels' list, which grows while graphs of `folded` are made.
    """
    loaded: list[LoadedTensor] = []

    def keep(compute: Compute) -> Compute:
        loaded.append(LoadedTensor(f"winograd_{len(loaded)}", compute))
        return loaded[-1].read

    for layer in folded._flatten_layers():
        if isinstance(layer, SymmetricConv2D):
            layer.keep_transformed(keep)
    return loaded

"""Texts of the files beside the models in a server's folders."""

from collections.abc import Sequence

from gcnet_tf.export.server.signatures import ENCODED_INPUT, ERRORS, PNG_OUTPUT
from gcnet_tf.runtime.manifest import ExportManifest, TensorInfo

# Name, type and sides of an input or output; no sides for strings, one for a photo.
Tensor = tuple[str, str, tuple[int, ...]]

# Images in a batch. Servers join requests of different clients up to it.
MAX_BATCH = 8

# Requests wait a millisecond for others to join their batch.
BATCHING = f"""\
max_batch_size {{ value: {MAX_BATCH} }}
batch_timeout_micros {{ value: 1000 }}
max_enqueued_batches {{ value: 100 }}
num_batch_threads {{ value: 2 }}
"""

_TYPES = {"uint8": "TYPE_UINT8", "float32": "TYPE_FP32"}


def models_config(name: str) -> str:
    """Returns the list of models of TensorFlow Serving."""
    return f"""\
model_config_list {{
  config {{
    name: "{name}"
    base_path: "/models/{name}"
    model_platform: "tensorflow"
  }}
}}
"""


def triton_saved_model(name: str) -> str:
    """Returns Triton's configuration of a SavedModel: files in, PNG files out."""
    return f"""\
name: "{name}"
platform: "tensorflow_savedmodel"
max_batch_size: {MAX_BATCH}
{_tensors("input", [(ENCODED_INPUT, "TYPE_STRING", ())])}\
{_tensors("output", [(kind, "TYPE_STRING", ()) for kind in (PNG_OUTPUT, ERRORS)])}\
dynamic_batching {{ max_queue_delay_microseconds: 1000 }}
parameters {{
  key: "TF_SIGNATURE_DEF"
  value {{ string_value: "serving_png" }}
}}
"""


def triton_onnx(name: str, manifest: ExportManifest) -> str:
    """Returns Triton's configuration of an ONNX file: the network alone."""
    sides = manifest.size or (-1, -1)

    def tensor(info: TensorInfo, channels: int) -> Tensor:
        shapes = {
            "nhw": sides,
            "nhwc": (*sides, channels),
            "nchw": (channels, *sides),
        }
        return info.name, _TYPES[info.dtype], shapes[info.layout]

    outputs = [
        tensor(info, len(manifest.classes)) for info in manifest.outputs.values()
    ]
    return f"""\
name: "{name}"
backend: "onnxruntime"
max_batch_size: {MAX_BATCH}
{_tensors("input", [tensor(manifest.input, 3)])}\
{_tensors("output", outputs)}\
"""


def readme(name: str, saved_model: bool, onnx: bool) -> str:
    """Returns the text that says how to start the servers and to ask them."""
    parts = ["# Servers\n"]
    if saved_model:
        parts += [_TENSORFLOW_SERVING, _TRITON]
    if onnx:
        parts += [_TRITON_ONNX]
    return "\n".join(parts).replace("NAME", name)


def _tensors(kind: str, tensors: Sequence[Tensor]) -> str:
    texts = []
    for name, dtype, sides in tensors:
        dims = ", ".join(map(str, sides)) or "1"
        # A string for each photo: no axis but that of the batch.
        reshape = "" if sides else " reshape { shape: [] }"
        texts.append(
            f'{kind} {{ name: "{name}" data_type: {dtype} dims: [{dims}]{reshape} }}\n'
        )
    return "".join(texts)


_TENSORFLOW_SERVING = """\
## TensorFlow Serving

In this folder:

```
docker run -p 8500:8500 -p 8501:8501 \\
    -v "$PWD/tensorflow_serving:/models" tensorflow/serving \\
    --model_config_file=/models/models.config \\
    --enable_batching --batching_parameters_file=/models/batching.txt
```

A photo in, a PNG file of class ids out, each of its own size, by curl:

```
echo "{\\"signature_name\\": \\"serving_png\\", \\"instances\\": [
    {\\"image_bytes\\": {\\"b64\\": \\"$(base64 -w0 photo.jpg)\\"}}]}" |
  curl -s -d @- http://localhost:8501/v1/models/NAME:predict > answer.json
```

and in Python:

```python
import base64, json, urllib.request
from pathlib import Path

photo = base64.b64encode(Path("photo.jpg").read_bytes()).decode()
body = {
    "signature_name": "serving_png",
    "instances": [{"image_bytes": {"b64": photo}}],
}
address = "http://localhost:8501/v1/models/NAME:predict"
with urllib.request.urlopen(address, json.dumps(body).encode()) as reply:
    (answer,) = json.load(reply)["predictions"]
if answer["errors"]:
    raise SystemExit(answer["errors"])
Path("labels.png").write_bytes(base64.b64decode(answer["png_bytes"]["b64"]))
```

With batching the server joins requests of different clients. `serving_png` and
`serving_encoded` are made for that: photos may differ in size, and a file that is no
image fails alone, with a sentence in `errors`. Arrays for `serving_default` must have
one size in a batch: leave out `--enable_batching` for clients that send arrays.
"""

_TRITON = """\
## Triton

`triton/NAME` takes `image_bytes` and gives `png_bytes` and `errors`, as above. It needs
a Triton with the TensorFlow backend:

```
docker run -p 8000:8000 -p 8001:8001 -v "$PWD/triton:/models" \\
    nvcr.io/nvidia/tritonserver:24.12-py3 tritonserver --model-repository=/models
```
"""

_TRITON_ONNX = """\
## Triton with ONNX

`triton/NAME_onnx` is the network alone: it neither decodes nor scales photos. Scale
them first as `protocol` in the manifest beside the file says, or let
`gcnet_tf.runtime.Predictor` do both.
"""

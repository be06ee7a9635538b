"""The folders for TensorFlow Serving and Triton, read as the servers read them."""

import ast
import base64
import json
import re
import threading
from contextlib import chdir
from http.server import BaseHTTPRequestHandler, HTTPServer

import keras
import numpy as np
import pytest
import tensorflow as tf
from google.protobuf import (
    descriptor_pb2,
    descriptor_pool,
    message_factory,
    text_format,
)
from tensorflow_serving.apis import prediction_log_pb2
from tensorflow_serving.config import model_server_config_pb2

from gcnet_tf.errors import UserError
from gcnet_tf.export.onnx import export_onnx
from gcnet_tf.export.saved_model import export_saved_model
from gcnet_tf.export.server.folders import write_server_folders
from gcnet_tf.models import build_model

pytestmark = pytest.mark.usefixtures("shallow")

# The servers' own message types, as far as they are used, as their documentation has
# them: field names, kinds and whether repeated. TF Serving: BatchingParameters; Triton:
# ModelConfig.
_KINDS = {"string": 9, "int64": 3, "int32": 5, "bytes": 12}
MESSAGES = {
    "Int64Value": {"value": ("int64", False)},
    "BatchingParameters": {
        name: ("Int64Value", False)
        for name in (
            "max_batch_size",
            "batch_timeout_micros",
            "max_enqueued_batches",
            "num_batch_threads",
        )
    },
    "Reshape": {"shape": ("int64", True)},
    "Tensor": {
        "name": ("string", False),
        "data_type": ("DataType", False),
        "dims": ("int64", True),
        "reshape": ("Reshape", False),
    },
    "DynamicBatching": {"max_queue_delay_microseconds": ("int64", False)},
    "Parameter": {"string_value": ("string", False)},
    "Entry": {"key": ("string", False), "value": ("Parameter", False)},
    "ModelConfig": {
        "name": ("string", False),
        "platform": ("string", False),
        "backend": ("string", False),
        "max_batch_size": ("int32", False),
        "input": ("Tensor", True),
        "output": ("Tensor", True),
        "dynamic_batching": ("DynamicBatching", False),
        "parameters": ("Entry", True),
    },
}
DATA_TYPES = {"TYPE_UINT8": 2, "TYPE_FP32": 11, "TYPE_STRING": 13}


def parse(kind, text):
    """Reads a text message of one of the `MESSAGES`; any other field is an error."""
    file = descriptor_pb2.FileDescriptorProto(name="servers.proto", package="servers")
    enum = file.enum_type.add(name="DataType")
    for name, number in {"TYPE_INVALID": 0, **DATA_TYPES}.items():
        enum.value.add(name=name, number=number)
    for message, fields in MESSAGES.items():
        descriptor = file.message_type.add(name=message)
        for number, (name, (type_name, repeated)) in enumerate(fields.items(), 1):
            field = descriptor.field.add(name=name, number=number)
            field.label = 3 if repeated else 1
            if type_name in _KINDS:
                field.type = _KINDS[type_name]
            else:
                field.type = 14 if type_name == "DataType" else 11
                field.type_name = f".servers.{type_name}"
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    types = message_factory.GetMessageClass
    return text_format.Parse(
        text, types(pool.FindMessageTypeByName(f"servers.{kind}"))()
    )


def make_model(config):
    keras.utils.set_random_seed(0)
    return build_model(config)


@pytest.fixture(scope="module")
def exported(tiny_config, tmp_path_factory):
    """Folder of an export, its files, and the folder for servers."""
    out = tmp_path_factory.mktemp("export")
    config = tiny_config()
    model = make_model(config)
    paths = export_saved_model(model, config, out) + export_onnx(model, config, out)
    return out, paths, write_server_folders(out, paths)


def test_tensorflow_serving_gets_versions_and_settings(exported):
    out, (saved_model, _), server = exported
    folder = server / "tensorflow_serving"
    version = folder / "gcnet" / "1"
    files = {
        path.relative_to(saved_model): path.read_bytes()
        for path in saved_model.rglob("*")
        if path.is_file()
    }
    for name, content in files.items():
        assert (version / name).read_bytes() == content
    config = text_format.Parse(
        (folder / "models.config").read_text(),
        model_server_config_pb2.ModelServerConfig(),
    )
    (entry,) = config.model_config_list.config
    assert (entry.name, entry.base_path) == ("gcnet", "/models/gcnet")
    batching = parse("BatchingParameters", (folder / "batching.txt").read_text())
    assert batching.max_batch_size.value > 1


def test_requests_that_warm_up_are_answered(exported):
    _, _, server = exported
    version = server / "tensorflow_serving" / "gcnet" / "1"
    loaded = tf.saved_model.load(str(version))
    records = tf.data.TFRecordDataset(
        str(version / "assets.extra" / "tf_serving_warmup_requests")
    )
    seen = []
    for record in records.as_numpy_iterator():
        log = prediction_log_pb2.PredictionLog.FromString(record)
        request = log.predict_log.request
        assert request.model_spec.name == "gcnet"
        inputs = {
            name: tf.constant(tf.make_ndarray(value))
            for name, value in request.inputs.items()
        }
        outputs = loaded.signatures[request.model_spec.signature_name](**inputs)
        assert all(size > 0 for value in outputs.values() for size in value.shape)
        assert not any(outputs.get("errors", tf.constant([""])).numpy())
        seen.append(request.model_spec.signature_name)
    assert seen == ["serving_default", "serving_encoded", "serving_png"]


def test_triton_gets_the_tensors_of_the_files(exported):
    _, (saved_model, onnx), server = exported
    folder = server / "triton" / "gcnet"
    config = parse("ModelConfig", (folder / "config.pbtxt").read_text())
    assert (folder / "1" / "model.savedmodel" / "saved_model.pb").is_file()
    assert config.platform == "tensorflow_savedmodel"
    (parameter,) = config.parameters
    assert parameter.key == "TF_SIGNATURE_DEF"
    signature = tf.saved_model.load(str(saved_model)).signatures[
        parameter.value.string_value
    ]
    names = {tensor.name for tensor in config.input}
    assert names == set(signature.structured_input_signature[1])
    assert {t.name for t in config.output} == set(signature.structured_outputs)
    for tensor in [*config.input, *config.output]:
        assert tensor.data_type == DATA_TYPES["TYPE_STRING"]
        # One string a photo: an axis of length 1 that Triton takes away again.
        assert list(tensor.dims) == [1] and not tensor.reshape.shape

    folder = server / "triton" / "gcnet_onnx"
    config = parse("ModelConfig", (folder / "config.pbtxt").read_text())
    assert (folder / "1" / "model.onnx").read_bytes() == onnx.read_bytes()
    shapes = {t.name: (t.data_type, *t.dims) for t in [*config.input, *config.output]}
    assert shapes == {
        "images": (DATA_TYPES["TYPE_UINT8"], -1, -1, 3),
        "labels": (DATA_TYPES["TYPE_UINT8"], -1, -1),
        "probabilities": (DATA_TYPES["TYPE_FP32"], -1, -1, 6),
    }
    assert config.max_batch_size > 1


def test_an_onnx_file_of_one_size_takes_any_number(tiny_config, tmp_path):
    config = tiny_config()
    paths = export_onnx(
        make_model(config), config, tmp_path, size=(32, 48), layout="nchw"
    )
    server = write_server_folders(tmp_path, paths)
    text = (server / "triton" / "gcnet_onnx" / "config.pbtxt").read_text()
    message = parse("ModelConfig", text)
    assert message.max_batch_size > 1
    (images,) = message.input
    assert list(images.dims) == [3, 32, 48]
    assert {t.name: list(t.dims) for t in message.output} == {
        "labels": [32, 48],
        "probabilities": [6, 32, 48],
    }
    assert images.data_type == DATA_TYPES["TYPE_FP32"]
    assert not (server / "tensorflow_serving").exists()


class Server(BaseHTTPRequestHandler):
    """Answers as TensorFlow Serving's REST interface does, with a SavedModel."""

    def do_POST(self):
        assert self.path == "/v1/models/gcnet:predict"
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        files = [
            base64.b64decode(instance["image_bytes"]["b64"])
            for instance in body["instances"]
        ]
        function = self.server.loaded.signatures[body["signature_name"]]
        outputs = function(image_bytes=tf.constant(files))
        predictions = [
            {
                "png_bytes": {"b64": base64.b64encode(png).decode()},
                "errors": error.decode(),
            }
            for png, error in zip(
                outputs["png_bytes"].numpy(), outputs["errors"].numpy()
            )
        ]
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps({"predictions": predictions}).encode())

    def log_message(self, *_):
        pass


def test_the_readmes_python_example_runs(exported, tmp_path):
    _, (saved_model, _), server = exported
    (code,) = re.findall(
        "```python\n(.*?)```", (server / "README.md").read_text(), re.DOTALL
    )
    http = HTTPServer(("localhost", 0), Server)
    http.loaded = tf.saved_model.load(str(saved_model))
    threading.Thread(target=http.serve_forever, daemon=True).start()
    code = code.replace("localhost:8501", f"localhost:{http.server_port}")
    photo = np.random.default_rng(0).integers(0, 256, (50, 70, 3), np.uint8)
    (tmp_path / "photo.jpg").write_bytes(tf.io.encode_jpeg(photo).numpy())
    try:
        with chdir(tmp_path):
            exec(compile(ast.parse(code), "README.md", "exec"), {})
    finally:
        http.shutdown()
        http.server_close()
    labels = tf.io.decode_png((tmp_path / "labels.png").read_bytes()).numpy()
    assert labels.shape == (50, 70, 1) and labels.max() < 6


def test_another_folder_of_that_name_is_kept(exported, tmp_path):
    _, paths, _ = exported
    (tmp_path / "server").mkdir()
    (tmp_path / "server" / "mine.txt").write_text("mine")
    with pytest.raises(UserError, match="is not of an earlier export"):
        write_server_folders(tmp_path, paths)
    assert (tmp_path / "server" / "mine.txt").read_text() == "mine"

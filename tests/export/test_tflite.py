import os
import signal
import subprocess
import zipfile

import keras
import numpy as np
import pytest
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter
from ai_edge_litert.tools import flatbuffer_utils
from worker_here import run_worker, started_workers

from gcnet_tf.errors import UserError
from gcnet_tf.evaluation.load import protocol_settings
from gcnet_tf.export.calibration import calibration_inputs
from gcnet_tf.export.tflite import export as tflite
from gcnet_tf.export.tflite.export import export_tflite
from gcnet_tf.export.tflite.graph import check_graph, operations
from gcnet_tf.export.tflite.quantise import large_kernels
from gcnet_tf.models import build_model
from gcnet_tf.models.inference_graph import inference_function
from gcnet_tf.runtime.backends import open_backend
from gcnet_tf.runtime.manifest import read_manifest
from gcnet_tf.runtime.protocol import Protocol
from gcnet_tf.weights.files import weights_by_path

SIZE = (33, 47)
INT8 = 9  # in TFLite's schema
IMAGE = np.random.default_rng(0).integers(0, 256, (1, *SIZE, 3), np.uint8)


@pytest.fixture(scope="module")
def model(tiny_config):
    keras.utils.set_random_seed(0)
    model = build_model(tiny_config())
    rng = np.random.default_rng(0)
    for path, weight in weights_by_path(model).items():
        # The last scale of each unit and the context start at zero; here they matter.
        if "expand" in path or path.endswith("gamma"):
            weight.assign(rng.uniform(0.5, 1.0, weight.shape))
    kernel = model.decode_head.classifier.kernel
    kernel.assign(rng.normal(size=kernel.shape))
    return model


@pytest.fixture(scope="module")
def exported(model, tiny_config, tmp_path_factory):
    """A function from a precision to its two files, which it exports once."""
    folder = tmp_path_factory.mktemp("tflite")

    def export(precision):
        path = folder / f"model_{precision}.tflite"
        if not path.exists():
            with pytest.MonkeyPatch.context() as patch:
                if precision != "int8":  # that one uses the real process
                    patch.setattr(tflite, "_run_worker", run_worker)
                export_tflite(
                    model, tiny_config(), folder, precision=precision, size=SIZE
                )
        return path, folder / f"model_{precision}_labels.tflite"

    return export


def run(path, images=IMAGE):
    interpreter = Interpreter(str(path))
    interpreter.allocate_tensors()
    (source,) = interpreter.get_input_details()
    (result,) = interpreter.get_output_details()
    interpreter.set_tensor(source["index"], images.astype(source["dtype"]))
    interpreter.invoke()
    return source, result, interpreter.get_tensor(result["index"])


@pytest.mark.parametrize(
    "precision, dtype, tolerance",
    [
        ("fp32", np.float32, 1e-4),
        ("fp16", np.float32, 1e-2),
        ("int8", np.uint8, 0.15),
        ("full_int8", np.uint8, 0.25),
    ],
)
def test_gives_the_logits_of_the_model(exported, model, precision, dtype, tolerance):
    expected = inference_function(model)(IMAGE).numpy()
    path, labels_path = exported(precision)
    source, result, logits = run(path)
    assert (source["name"], result["name"]) == ("images", "logits")
    integers = precision == "full_int8"
    assert source["dtype"] == dtype
    assert result["dtype"] == (np.int8 if integers else np.float32)
    if integers:
        scale, zero_point = result["quantization"]
        logits = (logits.astype(np.float32) - zero_point) * scale
    difference = np.abs(logits - expected).max() / np.abs(expected).max()
    assert difference < tolerance
    source, result, labels = run(labels_path)
    assert (result["name"], result["dtype"]) == ("labels", np.uint8)
    np.testing.assert_array_equal(labels, logits.argmax(-1))


@pytest.mark.parametrize("precision", ["fp32", "int8", "full_int8"])
def test_has_only_operations_that_phones_have(exported, precision):
    for path in exported(precision):
        names = [name for name, _ in operations(flatbuffer_utils.read_model(str(path)))]
        # 3 in the stem, 16 and 3 shortcuts, 3 and the classifier, 3 for the context.
        assert names.count("CONV_2D") == 29
        assert not {"TRANSPOSE", "CUSTOM", "SPACE_TO_BATCH_ND"} & set(names)


def test_the_context_and_the_resizing_stay_float_in_int8(exported):
    for path in exported("int8"):
        types = {}
        for name, outputs in operations(flatbuffer_utils.read_model(str(path))):
            types.setdefault(name, set()).update(tensor.type for tensor in outputs)
        assert types["RESIZE_BILINEAR"] == types["EXP"] == {0}
        assert INT8 in types["CONV_2D"]


@pytest.mark.parametrize("precision", ["fp32", "int8", "full_int8"])
def test_the_signature_has_the_name_that_tools_look_for(exported, precision):
    for path, output in zip(exported(precision), ("logits", "labels")):
        interpreter = Interpreter(str(path))
        signature = {"inputs": ["images"], "outputs": [output]}
        assert interpreter.get_signature_list() == {"serving_default": signature}
        serve = interpreter.get_signature_runner("serving_default")
        dtype = np.float32 if precision == "fp32" else np.uint8
        answer = serve(images=IMAGE.astype(dtype))[output]
        np.testing.assert_array_equal(answer, run(path)[2])


@pytest.mark.parametrize("precision", ["int8", "full_int8"])
def test_an_image_is_its_own_quantised_form(exported, precision):
    assert run(exported(precision)[0])[0]["quantization"] == (1.0, 0)


def test_full_int8_holds_integers_alone(exported):
    """Also every tensor that an interpreter plans, not only what the file names."""
    integers = {np.dtype(name) for name in ("uint8", "int8", "int32")}
    for path in exported("full_int8"):
        interpreter = Interpreter(str(path))
        interpreter.allocate_tensors()
        tensors = interpreter.get_tensor_details()
        assert {np.dtype(tensor["dtype"]) for tensor in tensors} <= integers
        (graph,) = flatbuffer_utils.read_model(str(path)).subgraphs
        used = {*graph.inputs, *graph.outputs}
        for operation in graph.operators:
            used |= {*operation.inputs, *operation.outputs}
        assert used - {-1} == set(range(len(graph.tensors)))


@pytest.mark.parametrize("precision", ["int8", "full_int8"])
def test_weights_have_a_scale_for_each_channel(exported, precision):
    flat = flatbuffer_utils.read_model(str(exported(precision)[0]))
    (graph,) = flat.subgraphs
    names = [name for name, _ in operations(flat)]
    convolutions = [
        item for name, item in zip(names, graph.operators) if name == "CONV_2D"
    ]
    kernels = [graph.tensors[item.inputs[1]] for item in convolutions]
    integers = [kernel for kernel in kernels if kernel.type == INT8]
    # The three of the context are float in the first.
    assert len(integers) == {"int8": 26, "full_int8": 29}[precision]
    for kernel in integers:
        assert len(kernel.quantization.scale) == kernel.shape[0]


def test_our_runtime_gives_logits_of_integers_in_float(exported, model):
    path, _ = exported("full_int8")
    manifest = read_manifest(path)
    assert manifest.outputs["logits"].dtype == "int8"
    logits = open_backend(path, manifest).run(IMAGE)["logits"]
    expected = inference_function(model)(IMAGE).numpy()
    assert logits.dtype == np.float32
    assert np.abs(logits - expected).max() < 0.25 * np.abs(expected).max()


def test_manifests_describe_the_files(exported):
    path, labels_path = exported("int8")
    manifest = read_manifest(path)
    assert (manifest.format, manifest.precision) == ("tflite", "int8")
    assert (manifest.size, manifest.batch) == (SIZE, 1)
    assert manifest.input.dtype == "uint8" and list(manifest.outputs) == ["logits"]
    assert list(read_manifest(labels_path).outputs) == ["labels"]
    # The warning is in the description of the file's metadata, too.
    assert "network alone" in manifest.usage
    assert manifest.usage.encode() in path.read_bytes()


def test_calibration_images_are_padded_as_the_runtime_pads(tiny_config):
    config = tiny_config()
    protocol = Protocol.from_settings(protocol_settings(config, (10, 20, 30)))
    inputs = list(calibration_inputs(config, protocol, SIZE, 4))
    assert len(inputs) == 4 and inputs[0].shape == (*SIZE, 3)
    assert (inputs[0][:, 33:] == (10, 20, 30)).all()
    assert not (inputs[0][:, :32] == (10, 20, 30)).all()
    repeated = list(calibration_inputs(config, protocol, SIZE, 4))
    np.testing.assert_array_equal(inputs, repeated)
    assert len({image.tobytes() for image in inputs}) == 4


def test_calibration_takes_a_window_where_windows_slide(tiny_config):
    config = tiny_config(
        "evaluation.mode=slide",
        "evaluation.window=[16,16]",
        "evaluation.stride=[16,16]",
    )
    protocol = Protocol.from_settings(protocol_settings(config, (0, 0, 0)))
    first, second = list(calibration_inputs(config, protocol, (16, 16), 9))[:2]
    assert first.shape == second.shape == (16, 16, 3)


def test_int8_without_records_is_refused(model, tiny_config, tmp_path):
    config = tiny_config(f"data.records={tmp_path / 'none'}")
    with pytest.raises(UserError, match="no records of the split 'train'"):
        export_tflite(model, config, tmp_path / "out", precision="int8", size=SIZE)
    assert not list((tmp_path / "out").iterdir())


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"precision": "bf16", "size": SIZE}, 'received the precision "bf16"'),
        ({"size": None}, "one size"),
        ({"size": (0, 8)}, "one size"),
    ],
)
def test_wrong_arguments_are_refused(model, tiny_config, tmp_path, arguments, message):
    with pytest.raises(UserError, match=message):
        export_tflite(model, tiny_config(), tmp_path, **arguments)
    assert not list(tmp_path.iterdir())


def test_a_killed_conversion_leaves_nothing(model, tiny_config, tmp_path, monkeypatch):
    temporary, out = tmp_path / "temporary", tmp_path / "out"
    temporary.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(temporary))

    class Killed(subprocess.Popen):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            os.kill(self.pid, signal.SIGKILL)

    monkeypatch.setattr(tflite.subprocess, "Popen", Killed)
    with pytest.raises(UserError, match="ended by signal 9"):
        export_tflite(model, tiny_config(), out, size=SIZE)
    assert not list(out.iterdir()) and not list(temporary.iterdir())


def test_an_interrupt_ends_the_conversion_and_leaves_nothing(
    model, tiny_config, tmp_path, monkeypatch
):
    temporary, out = tmp_path / "temporary", tmp_path / "out"
    temporary.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    started = started_workers(monkeypatch)

    def interrupt(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(tflite, "_show_progress", interrupt)
    with pytest.raises(KeyboardInterrupt):
        export_tflite(model, tiny_config(), out, size=SIZE)
    assert started[0].returncode == -signal.SIGKILL
    assert not list(out.iterdir()) and not list(temporary.iterdir())


def test_a_failure_gives_its_reason_in_one_line(
    model, tiny_config, tmp_path, monkeypatch
):
    def save_nothing(model, size, names, folder):
        folder.mkdir()

    monkeypatch.setattr(tflite, "_save_model", save_nothing)
    with pytest.raises(UserError, match="SavedModel file does not exist") as caught:
        export_tflite(model, tiny_config(), tmp_path, size=SIZE)
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_other_files_are_not_replaced(model, tiny_config, tmp_path, monkeypatch):
    (tmp_path / "model_fp32_labels.tflite").write_text("mine")
    monkeypatch.setattr(tflite, "_run_worker", lambda *arguments: 1 / 0)
    with pytest.raises(UserError, match="not an earlier export"):
        export_tflite(model, tiny_config(), tmp_path, size=SIZE)
    assert [path.read_text() for path in tmp_path.iterdir()] == ["mine"]


def test_a_graph_with_other_operations_is_refused():
    @tf.function(input_signature=[tf.TensorSpec([1, 8, 8, 3])])
    def transposed(images):
        return tf.transpose(images, [0, 2, 1, 3])

    converter = tf.lite.TFLiteConverter.from_concrete_functions(
        [transposed.get_concrete_function()], transposed
    )
    flat = flatbuffer_utils.convert_bytearray_to_object(bytearray(converter.convert()))
    with pytest.raises(RuntimeError, match="1 TRANSPOSE.*0 convolutions in place of 2"):
        check_graph(flat, num_convolutions=2)


def test_the_labels_lie_behind_the_model_as_an_archive(exported):
    with zipfile.ZipFile(exported("fp32")[0]) as archive:
        names = archive.read("labels.txt").decode().splitlines()
    assert tuple(names) == read_manifest(exported("fp32")[0]).classes


def test_a_kernel_of_over_32_mib_is_quantised():
    """An R50 has one in its head. Once the quantiser can, `large_kernels` goes."""
    from litert_quantizer import qtyping
    from litert_quantizer.algorithms.uniform_quantize import uniform_quantize_tensor

    kernel = np.random.default_rng(0).standard_normal((512, 3, 3, 2048), np.float32)
    scale = np.abs(kernel).max(axis=(1, 2, 3), keepdims=True) / 127
    parameters = qtyping.UniformQuantParams(
        num_bits=8,
        quantized_dimension=0,
        scale=scale,
        zero_point=np.zeros_like(scale, np.int32),
        symmetric=True,
    )
    with pytest.raises(ValueError, match="axis remapping"):
        uniform_quantize_tensor.uniform_quantize(kernel, parameters)
    with large_kernels():
        actual = uniform_quantize_tensor.uniform_quantize(kernel, parameters)
    np.testing.assert_array_equal(actual, np.rint(kernel / scale))
    assert actual.dtype == np.int8

import pytest

from gcnet_tf.config import load_config
from gcnet_tf.errors import UserError
from gcnet_tf.export.plan import PRECISIONS, Checks, Job, plan

CONFIG = load_config("voc_r50_20k")


def test_everything_by_default():
    jobs = plan("all", "all", None, CONFIG)
    names = [(job.format, job.precision) for job in jobs]
    assert names == [(a, b) for a, group in PRECISIONS.items() for b in group]
    sizes = {job.format: job.size for job in jobs}
    assert sizes == {"saved_model": None, "tflite": (512, 512), "onnx": None}


def test_a_size_holds_for_all():
    jobs = plan("all", "fp32", "64x96", CONFIG)
    assert jobs == [Job(name, "fp32", (64, 96)) for name in PRECISIONS]


def test_dynamic_is_not_for_phones():
    jobs = [Job("onnx", name, None) for name in ("fp32", "int8")]
    assert plan("onnx", "all", "dynamic", CONFIG) == jobs
    with pytest.raises(UserError, match="phones need one size"):
        plan("all", "all", "dynamic", CONFIG)
    # The only bf16 file is a SavedModel.
    assert plan("all", "bf16", "dynamic", CONFIG)[0].size is None


@pytest.mark.parametrize(
    "precision, format", [("bf16", "tflite"), ("full_int8", "onnx")]
)
def test_unknown_combinations_are_refused_with_a_list(precision, format):
    with pytest.raises(UserError, match="saved_model: fp32, bf16; tflite: fp32, fp16"):
        plan(format, precision, None, CONFIG)


@pytest.mark.parametrize("size", ["512", "512,512", "0x512", "16x512", "9999x512", ""])
def test_a_wrong_size_is_refused(size):
    with pytest.raises(UserError, match="HEIGHTxWIDTH such as 512x1024"):
        plan("onnx", "all", size, CONFIG)


def test_a_negative_number_of_samples_is_refused():
    with pytest.raises(UserError, match="received -1"):
        Checks(samples=-1)

import pytest

from gcnet_tf.config import load_config
from gcnet_tf.errors import UserError
from gcnet_tf.export.plan import (
    PRECISIONS,
    Checks,
    Job,
    plan,
    require_for_servers,
    require_for_web,
)

CONFIG = load_config("voc_r50_20k")
# The page for browsers needs packages of npm, and is written only when it is named.
BY_DEFAULT = {name: PRECISIONS[name] for name in ("saved_model", "tflite", "onnx")}


def test_everything_by_default_but_the_page():
    jobs = plan("all", "all", None, CONFIG)
    names = [(job.format, job.precision) for job in jobs]
    assert names == [(a, b) for a, group in BY_DEFAULT.items() for b in group]
    sizes = {job.format: job.size for job in jobs}
    assert sizes == {"saved_model": None, "tflite": (512, 512), "onnx": None}


def test_a_size_holds_for_all():
    jobs = plan("all", "fp32", "64x96", CONFIG)
    assert jobs == [Job(name, "fp32", (64, 96)) for name in BY_DEFAULT]


def test_a_page_has_models_of_one_size():
    jobs = plan("web", "all", None, CONFIG)
    assert jobs == [Job("web", name, (512, 512)) for name in ("int8", "fp16", "fp32")]
    with pytest.raises(UserError, match="browsers need one size"):
        plan("web", "int8", "dynamic", CONFIG)
    with pytest.raises(UserError, match="received with --format web"):
        require_for_servers(jobs)


def test_a_page_refuses_the_protocol_that_it_cannot_follow():
    config = load_config("voc_r50_20k", ["evaluation.ms_flip=true"])
    jobs = plan("web", "int8", None, config)
    with pytest.raises(UserError, match="allowed: the modes whole and slide"):
        require_for_web(jobs, config)
    require_for_web(plan("onnx", "all", None, config), config)
    slide = load_config("voc_r50_20k", ["evaluation.mode=slide"])
    require_for_web(jobs, slide)


def test_dynamic_is_not_for_phones():
    jobs = [Job("onnx", name, None) for name in ("fp32", "int8")]
    assert plan("onnx", "all", "dynamic", CONFIG) == jobs
    with pytest.raises(UserError, match="phones and browsers need one size"):
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

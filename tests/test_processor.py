"""The allocators that the package chooses before TensorFlow starts."""

import os
import subprocess
import sys

import pytest

from gcnet_tf import processor
from gcnet_tf.processor import (
    ALLOCATOR,
    GROWTH,
    ONEDNN,
    set_defaults,
    settings_text,
    unused_gpu,
)

LIMIT = "TF_CPU_BFC_MEM_LIMIT_IN_MB"


@pytest.fixture
def no_gpu(monkeypatch):
    """Hides the GPUs of this machine."""
    monkeypatch.setattr(processor, "_GPUS", ())


def test_tensorflow_gets_an_allocator_that_keeps_its_pages(no_gpu):
    environment = {}
    set_defaults(environment)
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20
    # The limit is the memory of the machine, not TensorFlow's 64 GB.
    assert int(environment.pop(LIMIT)) == pytest.approx(total, rel=0.01)
    # TensorFlow itself chooses oneDNN, whose kernels corrupt memory with AVX2 alone.
    assert environment == {ALLOCATOR: "true", GROWTH: "true"}
    assert settings_text(environment) == f"{ALLOCATOR}=true"


@pytest.mark.parametrize(
    "name, value", [(ALLOCATOR, "false"), (ALLOCATOR, "0"), (ONEDNN, "0"), (LIMIT, "9")]
)
def test_settings_of_the_user_stay(name, value, no_gpu):
    environment = {name: value}
    set_defaults(environment)
    assert environment[name] == value
    assert f"{name}={value}" in settings_text(environment)
    assert (LIMIT in environment) == (name != ALLOCATOR)


@pytest.fixture
def a_gpu(tmp_path, monkeypatch):
    """Makes a device file such as a driver makes."""
    (tmp_path / "nvidia0").touch()
    monkeypatch.setattr(processor, "_GPUS", (f"{tmp_path}/nvidia[0-9]*",))


def test_where_a_gpu_may_compute_only_its_memory_is_set(a_gpu):
    environment = {}
    set_defaults(environment)
    assert environment == {GROWTH: "true"}
    assert settings_text(environment) == f"{GROWTH}=true"
    environment = {GROWTH: "false"}
    set_defaults(environment)
    assert environment == {GROWTH: "false"}
    assert settings_text(environment) == f"{GROWTH}=false"
    # The GPU is hidden, for instance from a worker of scripts/launch_local.py.
    environment = {"CUDA_VISIBLE_DEVICES": "-1"}
    set_defaults(environment)
    assert environment[ALLOCATOR] == "true"


@pytest.mark.parametrize("value, expected", [(None, "true"), ("false", "false")])
def test_every_way_in_sets_the_growth_before_tensorflow(value, expected):
    """Commands, scripts and the Python interface all import the package first."""
    environment = {k: v for k, v in os.environ.items() if k != GROWTH}
    environment |= {GROWTH: value} if value else {}
    code = (
        "import os, sys, gcnet_tf\n"
        f"print(os.environ['{GROWTH}'], 'tensorflow' in sys.modules)"
    )
    output = subprocess.check_output(
        [sys.executable, "-c", code], env=environment, text=True
    )
    assert output.split() == [expected, "False"]


def test_a_driver_without_a_gpu_in_tensorflow_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr(processor, "_NVIDIA", (f"{tmp_path}/nvidia[0-9]*",))
    assert unused_gpu([], {}) == ""
    (tmp_path / "nvidia0").touch()
    text = unused_gpu([], {"CUDA_VISIBLE_DEVICES": "0"})
    assert f"({tmp_path}/nvidia0)" in text and 'pip install -e ".[gpu]"' in text
    assert unused_gpu(["GPU:0"], {}) == ""
    assert unused_gpu([], {"CUDA_VISIBLE_DEVICES": "-1"}) == ""  # on purpose


FAULTS = """
import resource
import gcnet_tf
import tensorflow as tf
images = tf.ones((8, 256, 256, 16))
work = tf.function(lambda images: tf.reduce_max(tf.concat([images, images + 1], 0)))
work(images)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(5):
    work(images)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.slow
def test_importing_the_package_is_enough():
    """Tests that large tensors reuse pages; with glibc each of them takes new ones."""
    faults = {}
    for value in (None, "false"):
        environment = {k: v for k, v in os.environ.items() if k != ALLOCATOR}
        environment |= {ALLOCATOR: value} if value else {}
        # With oneDNN TensorFlow has such an allocator by itself.
        environment |= {"TF_ENABLE_ONEDNN_OPTS": "0", "CUDA_VISIBLE_DEVICES": "-1"}
        result = subprocess.run(
            [sys.executable, "-c", FAULTS],
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        )
        faults[value] = int(result.stdout)
    # Each call takes 96 MB, which are 24,576 pages.
    assert faults["false"] > 5 * 10_000
    assert faults[None] < 0.1 * faults["false"]

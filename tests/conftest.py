"""Set-up before any TensorFlow operation runs, and fixtures of all tests."""

import os
import resource
import sys
from contextlib import contextmanager
from importlib.metadata import version

import pytest
from script_server import ScriptServer

from gcnet_tf.processor import num_cores

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
# Folders whose tests take longest.
_LONG = {"training", "faults", "commands", "stacks", "export", "benchmarks"}
if "PYTEST_XDIST_WORKER" in os.environ:
    # The workers share the cores, so each computes in one thread.
    os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")
    os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config):
    """Starts a worker for each core, at most eight because each takes a gigabyte."""
    return min(num_cores(), 8)


def pytest_collection_modifyitems(items):
    """Puts the longest files first, so that no process ends long after the others."""
    items.sort(key=lambda item: not _LONG & set(item.path.parts))


def pytest_configure(config):
    """Makes only warnings in our code errors on TensorFlow 2.15, which is outdated.

    On the other stack all warnings are errors, but for those that setup.cfg lists.
    """
    if version("keras").startswith("2."):
        for line in ("default", "error:::gcnet_tf"):
            config.addinivalue_line("filterwarnings", line)


def pytest_collection_finish(session):
    """Divides the CPU into two devices, which stand in for two GPUs.

    This must happen before TensorFlow starts. It is needed only if a collected test
    imports TensorFlow, so that other runs stay fast.
    """
    if "tensorflow" in sys.modules:
        import tensorflow as tf

        cpu = tf.config.list_physical_devices("CPU")[0]
        tf.config.set_logical_device_configuration(
            cpu, [tf.config.LogicalDeviceConfiguration()] * 2
        )
        # This starts TensorFlow, after which nothing can change the number.
        tf.config.list_logical_devices()


@pytest.fixture
def full_disk():
    """Context in which no file of this process can grow beyond a number of bytes."""

    @contextmanager
    def limited(num_bytes):
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, limits[1]))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)

    return limited


@pytest.fixture(scope="session")
def scripts(tmp_path_factory):
    """Server that runs scripts; it imports TensorFlow once, at the first use."""
    with ScriptServer(tmp_path_factory.mktemp("scripts")) as server:
        yield server


@pytest.fixture(scope="session")
def tiny_config(tmp_path_factory):
    """Function from overrides to a configuration that trains in seconds.

    Its records, six training and three validation images of 32x32, are made once.
    """
    from gcnet_tf.config import load_config
    from gcnet_tf.data.prepare import ensure_records
    from gcnet_tf.data.shapes import generate_shapes

    folder = tmp_path_factory.mktemp("tiny")
    generate_shapes(folder / "images", num_train=6, num_val=3, size=32, seed=0)
    tiny = [
        f"data.root={folder / 'images'}",
        f"data.records={folder / 'records'}",
        "model.backbone.base_channels=4",
        "model.head.channels=8",
        "model.auxiliary.channels=8",
        "augment.crop_size=[32,32]",
        "augment.base_scale=[32,32]",
        "evaluation.scale=[32,32]",
        "train.batch_size=2",
        "train.iterations=4",
        "train.log_every=1",
        "train.evaluate_every=2",
        "train.checkpoint_every=2",
        "train.panels=2",
    ]
    ensure_records(load_config("shapes_r18", tiny))
    return lambda *overrides, name="shapes_r18": load_config(name, [*tiny, *overrides])


@pytest.fixture(scope="module")
def shallow():
    """Gives ResNets few blocks, which halves the time to build and trace them.

    A tiny training spends its time on that. The depths change only in this process, and
    are only for modules that do not test them; golden tests keep the real depths.
    """
    from shallow import DEPTHS

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("gcnet_tf.models.resnet.DEPTHS", DEPTHS)
        yield

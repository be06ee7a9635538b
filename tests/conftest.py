"""Set-up that must happen before any TensorFlow operation runs."""

import os
import sys
from importlib.metadata import version

import pytest
from script_server import ScriptServer

from gcnet_tf.processor import num_cores

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
_LONG = {"training", "faults", "scripts", "stacks", "export", "benchmark"}
if "PYTEST_XDIST_WORKER" in os.environ:
    # The workers share the cores, so each computes in one thread.
    os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")
    os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config):
    """One worker a core; each takes a gigabyte, so no more than eight."""
    return min(num_cores(), 8)


def pytest_collection_modifyitems(items):
    """Puts the files that take longest first, so that no process ends long after."""
    items.sort(key=lambda item: not _LONG & set(item.path.parts))


def pytest_configure(config):
    """On TensorFlow 2.15, whose time is over, only warnings in our code are errors.

    setup.cfg lists what is left to pass on the other stack, where all are.
    """
    if version("keras").startswith("2."):
        for line in ("default", "error:::gcnet_tf"):
            config.addinivalue_line("filterwarnings", line)


def pytest_collection_finish(session):
    """Divides the CPU into the two devices that stand in for two GPUs.

    That is only possible before TensorFlow starts, and only needed where a collected
    test imports it: runs without TensorFlow stay fast.
    """
    if "tensorflow" in sys.modules:
        import tensorflow as tf

        cpu = tf.config.list_physical_devices("CPU")[0]
        tf.config.set_logical_device_configuration(
            cpu, [tf.config.LogicalDeviceConfiguration()] * 2
        )
        tf.config.list_logical_devices()  # starts TensorFlow: two it stays


@pytest.fixture(scope="session")
def scripts(tmp_path_factory):
    """Runs scripts; what imports TensorFlow for all of them starts at the first use."""
    with ScriptServer(tmp_path_factory.mktemp("scripts")) as server:
        yield server


@pytest.fixture(scope="session")
def tiny_config(tmp_path_factory):
    """A function from overrides to a configuration that trains in seconds.

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
    """Gives ResNets few blocks: half the time to build and to trace.

    That is what a tiny training spends its time on. Only inside this process, and only
    for modules whose subject is not the depth; goldens keep the real ones.
    """
    from shallow import DEPTHS

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("gcnet_tf.models.resnet.DEPTHS", DEPTHS)
        yield

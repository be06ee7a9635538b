"""Set-up that must happen before any TensorFlow operation runs."""

import os
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")


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

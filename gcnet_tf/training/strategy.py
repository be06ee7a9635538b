"""Which devices train, and how they share a batch."""

from functools import cache

import tensorflow as tf

from gcnet_tf.errors import UserError


def make_strategy(kind: str, logical_cpus: int = 1) -> tf.distribute.Strategy:
    """The `tf.distribute` strategy for this machine.

    Args:
        kind: "mirrored" for one replica on every GPU, or, without a GPU, on each of
            `logical_cpus` parts of the CPU; "one_device" for the first GPU or the CPU.
        logical_cpus: number of parts.

    Raises:
        UserError: when TensorFlow already runs with another number of logical CPUs.
    """
    gpus = tf.config.list_physical_devices("GPU")
    if kind == "mirrored" and not gpus:
        _divide_cpu(logical_cpus)
    return _make_once(kind, 0 if gpus else logical_cpus)


@cache
def _make_once(kind: str, num_cpus: int) -> tf.distribute.Strategy:
    """One object per process: TensorFlow numbers the exchanges between replicas anew
    for each strategy, and a second model fails on what it remembers of the first one's.
    """
    gpus = tf.config.list_physical_devices("GPU")
    for gpu in gpus:
        # Otherwise the first process takes all of the memory of every GPU.
        tf.config.experimental.set_memory_growth(gpu, True)
    if kind == "one_device":
        return tf.distribute.OneDeviceStrategy("GPU:0" if gpus else "CPU:0")
    if gpus:
        return tf.distribute.MirroredStrategy()
    return tf.distribute.MirroredStrategy([f"CPU:{i}" for i in range(num_cpus)])


def _divide_cpu(number: int) -> None:
    cpu = tf.config.list_physical_devices("CPU")[0]
    parts = [tf.config.LogicalDeviceConfiguration()] * number
    try:
        tf.config.set_logical_device_configuration(cpu, parts)
    except RuntimeError:
        pass  # TensorFlow has started already: use what is there, if it is enough
    available = len(tf.config.list_logical_devices("CPU"))
    if available < number:
        raise UserError(
            f"train.logical_cpus is {number}, but TensorFlow already runs in this "
            f"process with {available}; start a fresh process (or notebook kernel)."
        )

"""Strategies: the devices that train, on this machine or on many."""

from functools import cache

import tensorflow as tf

from gcnet_tf.errors import UserError, first_line
from gcnet_tf.training.distributed.cluster import check_alone, find_cluster


def make_strategy(kind: str, logical_cpus: int = 1) -> tf.distribute.Strategy:
    """Returns the `tf.distribute` strategy for this process.

    Args:
        kind: "mirrored" for a replica on every GPU, or, without a GPU, on each of
            `logical_cpus` parts of the CPU; "one_device" for one replica on the first
            GPU or the CPU; "multi_worker" for a replica on every GPU, or else on the
            CPU, of every worker.
        logical_cpus: number of parts of the CPU.

    Raises:
        UserError: when TensorFlow already runs with other devices, or the environment
            does not name the workers, or names several under another strategy.
    """
    if kind != "multi_worker":
        check_alone()
    gpus = tf.config.list_physical_devices("GPU")
    if kind == "mirrored" and not gpus:
        _divide_cpu(logical_cpus)
    return _make_once(kind, 0 if gpus else logical_cpus)


def check_batch_size(batch_size: int, num_replicas: int) -> None:
    """Checks that the replicas get equal numbers of images.

    Raises:
        UserError: when they do not.
    """
    if batch_size % num_replicas:
        raise UserError(
            f"train.batch_size is {batch_size}, the number of images over "
            f"all {num_replicas} replicas together; it must be a multiple of "
            f"{num_replicas}."
        )


@cache
def _make_once(kind: str, num_cpus: int) -> tf.distribute.Strategy:
    """Makes a strategy once per process.

    TensorFlow restarts the numbers of collective operations with each strategy, and a
    second model would then fail on those that it remembers of the first one.
    """
    gpus = tf.config.list_physical_devices("GPU")
    if kind == "multi_worker":
        return _join_workers(len(gpus))
    if kind == "one_device":
        return tf.distribute.OneDeviceStrategy("GPU:0" if gpus else "CPU:0")
    if gpus:
        return tf.distribute.MirroredStrategy()
    return tf.distribute.MirroredStrategy([f"CPU:{i}" for i in range(num_cpus)])


def _join_workers(num_gpus: int) -> tf.distribute.Strategy:
    cluster = find_cluster()
    resolver = tf.distribute.cluster_resolver.SimpleClusterResolver(
        tf.train.ClusterSpec(cluster.jobs),
        task_type=cluster.job,
        task_id=cluster.task,
        num_accelerators={"GPU": num_gpus},
        rpc_layer="grpc",
    )
    print(f"Worker {cluster.index} of {cluster.number}: joining.", flush=True)
    try:
        return tf.distribute.MultiWorkerMirroredStrategy(resolver)
    except RuntimeError as error:
        raise UserError(
            "multi_worker must be the first thing that TensorFlow does in a process; "
            "start a fresh one (or a fresh notebook kernel)."
        ) from error
    except tf.errors.OpError as error:
        raise UserError(
            f"Worker {cluster.index} cannot join the others: {first_line(error)}"
        ) from error


def _divide_cpu(num_parts: int) -> None:
    cpu = tf.config.list_physical_devices("CPU")[0]
    parts = [tf.config.LogicalDeviceConfiguration()] * num_parts
    try:
        tf.config.set_logical_device_configuration(cpu, parts)
    except RuntimeError:
        pass  # TensorFlow has started already: its devices may be enough
    available = len(tf.config.list_logical_devices("CPU"))
    if available < num_parts:
        raise UserError(
            f"train.logical_cpus is {num_parts}, but TensorFlow already runs in this "
            f"process with {available}; start a fresh process (or notebook kernel)."
        )

"""Strategies: the devices that train, on this machine or on many."""

import signal

import numpy as np
import tensorflow as tf

from gcnet_tf.config.schema_training import JOIN_TIMEOUT, TrainConfig
from gcnet_tf.errors import UserError, first_line, some
from gcnet_tf.training.distributed.cluster import check_alone, find_cluster
from gcnet_tf.training.distributed.exchange import sum_over_workers
from gcnet_tf.training.distributed.meeting import meet
from gcnet_tf.training.distributed.workers import GONE, WorkerLost

# Each strategy is made once per process: TensorFlow restarts the numbers of collective
# operations with each, and a second model would then fail on those that it remembers
# of the first one.
_MADE: dict[tuple[str, int], tf.distribute.Strategy] = {}


def make_strategy(
    kind: str, logical_cpus: int = 1, join_timeout: int = JOIN_TIMEOUT
) -> tf.distribute.Strategy:
    """Returns the `tf.distribute` strategy for this process.

    Args:
        kind: "mirrored" for a replica on every GPU, or, without a GPU, on each of
            `logical_cpus` parts of the CPU; "one_device" for one replica on the first
            GPU or the CPU; "multi_worker" for a replica on every GPU, or else on the
            CPU, of every worker.
        logical_cpus: number of parts of the CPU.
        join_timeout: seconds that a worker waits for the others.

    Raises:
        UserError: when TensorFlow already runs with other devices, or the environment
            does not name the workers, or names several under another strategy.
        WorkerLost: when other workers are not there in time.
    """
    if kind != "multi_worker":
        check_alone()
    gpus = tf.config.list_physical_devices("GPU")
    if kind == "mirrored" and not gpus:
        _divide_cpu(logical_cpus)
    key = (kind, 0 if gpus else logical_cpus)
    if key not in _MADE:
        _MADE[key] = _make(*key, join_timeout)
    return _MADE[key]


def strategy_of(settings: TrainConfig) -> tf.distribute.Strategy:
    """Returns the strategy of a configuration, for which its batches are right.

    Raises:
        UserError: as `make_strategy` and `check_replicas`.
        WorkerLost: when other workers are not there in time.
    """
    strategy = make_strategy(
        settings.strategy, settings.logical_cpus, settings.join_timeout
    )
    check_replicas(settings, strategy.num_replicas_in_sync)
    return strategy


def check_replicas(settings: TrainConfig, num_replicas: int) -> None:
    """Checks that settings and the number of replicas go together.

    Raises:
        UserError: when replicas, or the parts of each, would get unequal numbers of
            images, or XLA would have to compile several.
    """
    parts = num_replicas * settings.accumulate
    if settings.batch_size % parts:
        of_each = f" in {settings.accumulate} parts each (train.accumulate)"
        raise UserError(
            f"train.batch_size is {settings.batch_size}, the number of images over all "
            f"{num_replicas} replicas together"
            f"{of_each if settings.accumulate > 1 else ''}; it must be a multiple of "
            f"{parts}."
        )
    if settings.jit_compile and num_replicas > 1:
        raise UserError(
            f"train.jit_compile: received true with {num_replicas} replicas, whose "
            "batch normalisation XLA cannot synchronise; leave it out, or train on one "
            "of them: --set train.strategy=one_device"
        )


def _make(kind: str, num_cpus: int, join_timeout: int) -> tf.distribute.Strategy:
    gpus = tf.config.list_physical_devices("GPU")
    if kind == "multi_worker":
        return _join_workers(len(gpus), join_timeout)
    if kind == "one_device":
        return tf.distribute.OneDeviceStrategy("GPU:0" if gpus else "CPU:0")
    if gpus:
        return tf.distribute.MirroredStrategy()
    return tf.distribute.MirroredStrategy([f"CPU:{i}" for i in range(num_cpus)])


def _join_workers(num_gpus: int, join_timeout: int) -> tf.distribute.Strategy:
    cluster = find_cluster()
    meet(cluster, join_timeout)
    resolver = tf.distribute.cluster_resolver.SimpleClusterResolver(
        tf.train.ClusterSpec(cluster.jobs),
        task_type=cluster.job,
        task_id=cluster.task,
        num_accelerators={"GPU": num_gpus},
        rpc_layer="grpc",
    )
    try:
        strategy = tf.distribute.MultiWorkerMirroredStrategy(resolver)
        _take_sigterm_back()
        check_equal_gpus(cluster.index, cluster.number, num_gpus, join_timeout)
        return strategy
    except RuntimeError as error:
        raise UserError(
            "multi_worker must be the first thing that TensorFlow does in a process; "
            "start a fresh one (or a fresh notebook kernel)."
        ) from error
    except GONE as error:
        raise WorkerLost(
            f"Worker {cluster.index} has met the others, but TensorFlow cannot connect "
            f"them ({first_line(error)}). Let each worker reach the ports of all "
            f"({some(cluster.addresses)}), and start the job again."
        ) from error
    except tf.errors.OpError as error:
        raise UserError(
            f"Worker {cluster.index} cannot join the others: {first_line(error)}"
        ) from error


def _take_sigterm_back() -> None:
    """Lets Python handle SIGTERM, which TensorFlow's server has taken for itself."""
    try:
        handler = signal.getsignal(signal.SIGTERM)
        signal.signal(signal.SIGTERM, handler or signal.SIG_DFL)
    except ValueError:
        pass  # not the main thread, which alone may set a handler


def check_equal_gpus(
    index: int, num_workers: int, num_gpus: int, timeout: int = JOIN_TIMEOUT
) -> None:
    """Checks that all workers, which call this together, have as many GPUs.

    Otherwise they wait for each other without end: TensorFlow takes a worker's own
    number for that of all.

    Args:
        index: index of this worker.
        num_workers: number of workers.
        num_gpus: number of GPUs of this worker.
        timeout: seconds after which it gives up.

    Raises:
        DeadlineExceededError: when the workers do not reach each other in time.
        UserError: on all workers, when the numbers differ.
    """
    own = np.zeros(num_workers, np.int64)
    own[index] = num_gpus
    numbers = sum_over_workers(own, num_workers, timeout).tolist()
    if len(set(numbers)) > 1:
        raise UserError(
            "The workers have different numbers of GPUs: "
            f"{', '.join(map(str, numbers))} (workers 0 to {num_workers - 1}); under "
            "train.strategy=multi_worker all need as many. Show each as many by "
            "CUDA_VISIBLE_DEVICES, or, where TensorFlow lists none, pip install -e "
            '".[gpu]" there.'
        )


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

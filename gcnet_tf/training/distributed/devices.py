"""The devices that train, in words."""

from collections import Counter

import tensorflow as tf

from gcnet_tf.processor import processor, settings_text


def devices_text(strategy: tf.distribute.Strategy, num_workers: int = 1) -> str:
    """Names the devices of this worker on which a strategy trains.

    Args:
        strategy: the strategy.
        num_workers: number of workers, which all have as many devices.

    Returns:
        A line such as "Training on 2 GPUs: 2 x NVIDIA A100 (settings)".
    """
    names = [tf.DeviceSpec.from_string(d) for d in strategy.extended.worker_devices]
    gpus = [name.device_index for name in names if name.device_type == "GPU"]
    if gpus:
        counts = Counter(map(_gpu_name, gpus))
        listed = ", ".join(f"{count} x {name}" for name, count in counts.items())
        text = f"{len(gpus)} GPU{'' if len(gpus) == 1 else 's'}: {listed}"
    else:
        text = f"the processor: {processor()}"
    more = f"; so does each of {num_workers} workers" if num_workers > 1 else ""
    return f"Training on {text} ({settings_text()}){more}"


def _gpu_name(index: int) -> str:
    gpu = tf.config.list_physical_devices("GPU")[index]
    details = tf.config.experimental.get_device_details(gpu)
    return details.get("device_name", gpu.name)

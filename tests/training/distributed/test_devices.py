"""The line that names the devices; the GPUs are those of a fake TensorFlow."""

from types import SimpleNamespace

import pytest
import tensorflow as tf

from gcnet_tf.processor import processor, settings_text
from gcnet_tf.training.distributed.devices import devices_text
from gcnet_tf.training.distributed.strategy import make_strategy


@pytest.mark.parametrize("kind", ["mirrored", "one_device"])
def test_the_processor_is_named(kind):
    text = devices_text(make_strategy(kind))
    assert text.startswith(f"Training on the processor: {processor()} (")


@pytest.mark.parametrize(
    "indices, num_workers, expected",
    [
        ([0], 1, "1 GPU: 1 x NVIDIA A100"),
        ([0, 1], 1, "2 GPUs: 2 x NVIDIA A100"),
        ([1, 2], 1, "2 GPUs: 1 x NVIDIA A100, 1 x NVIDIA T4"),
        ([2], 4, "1 GPU: 1 x NVIDIA T4; so does each of 4 workers"),
    ],
)
def test_gpus_are_named(indices, num_workers, expected, monkeypatch):
    names = ["NVIDIA A100", "NVIDIA A100", "NVIDIA T4"]
    gpus = [SimpleNamespace(name=f"/physical_device:GPU:{i}") for i in range(3)]
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: gpus)
    monkeypatch.setattr(
        tf.config.experimental,
        "get_device_details",
        lambda gpu: {"device_name": names[gpus.index(gpu)]},
    )
    names_of_devices = [
        f"/job:worker/replica:0/task:1/device:GPU:{index}" for index in indices
    ]
    extended = SimpleNamespace(worker_devices=names_of_devices)
    strategy = SimpleNamespace(extended=extended)
    devices, _, workers = expected.partition(";")
    settings = settings_text()
    line = f"Training on {devices} ({settings}){';' if workers else ''}{workers}"
    assert devices_text(strategy, num_workers) == line

"""Training: losses, optimiser, strategy, loop, checkpoints and logs.

Names are looked up on first use, because the launcher of workers on this machine, which
is also in this package, needs no TensorFlow.
"""

from importlib import import_module
from typing import Any

_HOME_OF = {
    "Interrupted": "gcnet_tf.training.stopping",
    "WorkerLost": "gcnet_tf.training.distributed.workers",
    "train": "gcnet_tf.training.loop",
}

__all__ = ["Interrupted", "WorkerLost", "train"]


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module 'gcnet_tf.training' has no attribute {name!r}")
    return getattr(import_module(_HOME_OF[name]), name)

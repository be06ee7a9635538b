"""Training: losses, optimiser, strategy, loop, checkpoints and what is logged."""

from gcnet_tf.training.loop import train
from gcnet_tf.training.stopping import Interrupted
from gcnet_tf.training.workers import WorkerLost

__all__ = ["Interrupted", "WorkerLost", "train"]

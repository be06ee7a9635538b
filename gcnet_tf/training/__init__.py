"""Training: losses, optimiser, strategy, loop, checkpoints and what is logged."""

from gcnet_tf.training.loop import Interrupted, train

__all__ = ["Interrupted", "train"]

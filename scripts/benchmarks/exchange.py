"""What the replicas tell each other in a training step, counted from the models."""

from typing import NamedTuple

from gcnet_tf.config import load_config
from gcnet_tf.layers.norm import BatchNorm
from gcnet_tf.models import build_model


class Exchange(NamedTuple):
    """Bytes that are summed over the replicas in each step."""

    gradients: int
    """One float32 per trainable weight."""
    statistics: int
    """Mean and variance of every normalised channel, and the gradients of both."""
    num_norms: int


def exchange_of(config_name: str) -> Exchange:
    """The exchange when training a shipped configuration."""
    model = build_model(load_config(config_name))
    norms = [layer for layer in model._flatten_layers() if isinstance(layer, BatchNorm)]
    return Exchange(
        gradients=sum(_bytes(weight) for weight in model.trainable_weights),
        statistics=2
        * sum(_bytes(n.moving_mean) + _bytes(n.moving_variance) for n in norms),
        num_norms=len(norms),
    )


def _bytes(weight) -> int:
    size = 4
    for side in weight.shape:
        size *= side
    return size


def table(names: list[str]) -> str:
    """A line for each configuration, in Markdown; MB are millions of bytes."""
    lines = [
        "| configuration | gradients | statistics of normalisation | layers of it |",
        "|---|---|---|---|",
    ]
    for name in names:
        found = exchange_of(name)
        lines.append(
            f"| {name} | {found.gradients:,} B ({found.gradients / 1e6:.0f} MB) | "
            f"{found.statistics:,} B | {found.num_norms} |"
        )
    return "\n".join(lines)

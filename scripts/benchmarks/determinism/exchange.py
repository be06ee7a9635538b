"""Bytes that replicas exchange in a training step, counted from the models."""

import math
from typing import NamedTuple

from benchmarks import tables
from gcnet_tf.config import load_config
from gcnet_tf.layers.norm import BatchNorm
from gcnet_tf.models import build_model


class Exchange(NamedTuple):
    """Bytes that are summed over the replicas in each step."""

    gradients: int
    """Bytes of the gradients, one float32 per trainable weight."""
    statistics: int
    """Bytes of mean and variance of normalised channels, and of as much backwards."""
    num_norms: int


def exchange_of(config_name: str) -> Exchange:
    """Computes the exchange in the training of a shipped configuration."""
    model = build_model(load_config(config_name))
    norms = [layer for layer in model._flatten_layers() if isinstance(layer, BatchNorm)]
    return Exchange(
        gradients=sum(_bytes(weight) for weight in model.trainable_weights),
        statistics=2
        * sum(
            _bytes(norm.moving_mean) + _bytes(norm.moving_variance) for norm in norms
        ),
        num_norms=len(norms),
    )


def table(names: list[str]) -> str:
    """Returns a line for each configuration, in Markdown; MB are millions of bytes."""
    head = ["configuration", "gradients", "statistics of normalisation", "layers of it"]
    lines = [head]
    for name in names:
        exchange = exchange_of(name)
        gradients = f"{exchange.gradients:,} B ({exchange.gradients / 1e6:.0f} MB)"
        statistics = f"{exchange.statistics:,} B"
        lines.append([name, gradients, statistics, str(exchange.num_norms)])
    return tables.markdown(lines, num_words=len(head))


def _bytes(weight) -> int:
    return 4 * math.prod(weight.shape)

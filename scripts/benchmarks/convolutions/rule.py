"""The rule for Winograd's method that measured times lead to."""

from collections.abc import Mapping

from benchmarks.convolutions.comparison import Layer


def least_pairs(ratios: Mapping[Layer, float]) -> int | None:
    """Finds the number of pairs of channels from which F(4x4) is always faster.

    Args:
        ratios: time of F(4x4) divided by that of the direct convolution.

    Returns:
        The smallest number among the layers whose features fill their tiles; None
        where those with most channels are slower.
    """
    least = None
    filled = {layer for layer in ratios if layer.fills_tiles}
    for pairs in sorted({x.channels * x.filters for x in filled}, reverse=True):
        if any(ratios[x] >= 1 for x in filled if x.channels * x.filters == pairs):
            break
        least = pairs
    return least


def verdicts(ratios: Mapping[Layer, float]) -> list[str]:
    """Says which rule the times lead to, and where the rule in use costs time."""
    least = least_pairs(ratios)
    start = "for no number of" if least is None else f"from {least:,}"
    slower = [x for x, ratio in ratios.items() if x.uses_winograd and ratio > 1]
    missed = [x for x, ratio in ratios.items() if not x.uses_winograd and ratio < 1]
    in_use = [x.channels * x.filters for x in ratios if x.uses_winograd]
    return [
        f"This run's rule: F(4x4) {start} pairs of channels, where tiles are filled.",
        f"In use from {min(in_use, default=0):,} pairs of channels of these layers.",
        f"Slower where in use: {_listed(slower, ratios)}.",
        f"Faster where not in use: {_listed(missed, ratios)}.",
    ]


def _listed(layers: list[Layer], ratios: Mapping[Layer, float]) -> str:
    return ", ".join(f"{x} ({ratios[x]:.2f})" for x in layers) or "nowhere"

"""The time of an image in numpy, beside that in the network, in each protocol."""

import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from benchmarks.arguments import EVALUATION_MODES
from benchmarks.drawn import drawn_model
from benchmarks.evaluate.data import windows_for
from gcnet_tf.config import config_from_dict, config_to_dict, load_config
from gcnet_tf.evaluation.evaluate import ConfusionMatrix
from gcnet_tf.evaluation.load import predictor_from_model
from gcnet_tf.runtime import Predictor

# Images are larger than the network's inputs, so that all logits are resized.
_IMAGE_SCALE = 1.2


class Turn(NamedTuple):
    """Seconds of an image. `cpu` counts the seconds of all cores."""

    network: float
    network_cpu: float
    numpy: float
    numpy_cpu: float


class Shares(NamedTuple):
    """The rounds of a mode."""

    mode: str
    turns: list[Turn]

    @property
    def medians(self) -> Turn:
        return Turn(*map(statistics.median, zip(*self.turns)))

    @property
    def share(self) -> float:
        """Time in numpy, divided by that in the network; median over the rounds."""
        return statistics.median(turn.numpy / turn.network for turn in self.turns)


def measure(cfg: str, size: tuple[int, int], rounds: int) -> list[Shares]:
    """Measures all modes of a network with drawn weights on a drawn image.

    Args:
        cfg: configuration of the network.
        size: (height, width) of the network's input in mode "whole".
        rounds: number of images in each mode, after one that compiles.
    """
    config = load_config(cfg)
    scale = (max(size), min(size))
    side, step = windows_for(scale)
    raw = config_to_dict(config)
    windows = {"window": [side, side], "stride": [step, step]}
    raw["evaluation"] |= {"scale": list(scale), **windows}
    config = config_from_dict(raw)
    model = drawn_model(config)
    height, width = (round(_IMAGE_SCALE * length) for length in size)
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (height, width, 3), np.uint8)
    shares = []
    for mode in EVALUATION_MODES:
        predictor = predictor_from_model(model, config, mode)
        num_classes = len(predictor.classes)
        truth = rng.integers(0, num_classes, (height, width), np.uint8)
        turns = [_turn(predictor, image, truth) for _ in range(rounds + 1)]
        shares.append(Shares(mode, turns[1:]))
    return shares


def _turn(predictor: Predictor, image: np.ndarray, truth: np.ndarray) -> Turn:
    """Evaluates an image as `evaluate` does, and divides the time."""
    spent = np.zeros(2)

    def clocks() -> np.ndarray:
        return np.array([time.perf_counter(), time.process_time()])

    def timed(
        function: Callable[[np.ndarray], np.ndarray] | None,
    ) -> Callable[[np.ndarray], np.ndarray]:
        assert function is not None

        def run(images: np.ndarray) -> np.ndarray:
            start = clocks()
            result = function(images)
            spent[:] += clocks() - start
            return result

        return run

    network = replace(
        predictor.network,
        logits=timed(predictor.network.logits),
        labels=timed(predictor.network.labels),
    )
    timed_predictor = Predictor.of_network(
        network, predictor.protocol, predictor.classes, predictor.palette
    )
    start = clocks()
    labels = timed_predictor.labels(image)
    ConfusionMatrix(len(predictor.classes)).update(truth, labels)
    rest = clocks() - start - spent
    return Turn(spent[0], spent[1], rest[0], rest[1])

"""The division of an image's time between the network and numpy."""

from types import SimpleNamespace

import numpy as np
import pytest

from benchmarks.protocol import shares
from gcnet_tf.runtime import Predictor
from gcnet_tf.runtime.predict import Network
from gcnet_tf.runtime.protocol import Protocol


@pytest.mark.parametrize("mode, calls", [("whole", 1), ("slide", 6), ("ms_flip", 4)])
def test_calls_of_the_network_count_apart(mode, calls, monkeypatch):
    clock = {"now": 0.0}
    monkeypatch.setattr(
        shares,
        "time",
        SimpleNamespace(
            perf_counter=lambda: clock["now"], process_time=lambda: 2 * clock["now"]
        ),
    )

    def logits(images):
        clock["now"] += 5
        return np.zeros((*images.shape[:3], 3), np.float32)

    update = shares.ConfusionMatrix.update

    def slow_update(*arguments):
        clock["now"] += 2
        update(*arguments)

    monkeypatch.setattr(shares.ConfusionMatrix, "update", slow_update)
    protocol = Protocol(
        mode="whole",
        scale=(30, 20),
        window=(10, 10),
        stride=(10, 10),
        ms_flip=False,
        ratios=(1.0, 2.0),
        align_corners=False,
    ).with_mode(mode)
    predictor = Predictor.of_network(
        Network(logits, labels=logits), protocol, ("a", "b", "c"), ((0, 0, 0),) * 3
    )
    image = np.zeros((24, 36, 3), np.uint8)
    turn = shares._turn(predictor, image, np.zeros((24, 36), np.uint8))
    assert turn == (5 * calls, 10 * calls, 2, 4)
    assert shares.Shares(mode, [turn]).share == 2 / (5 * calls)

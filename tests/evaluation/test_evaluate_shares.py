"""Workers that share an evaluation come to the scores of one that does it alone."""

from types import SimpleNamespace

import numpy as np
import pytest

from gcnet_tf.data.catalog import facts_of
from gcnet_tf.data.stream.lanes import ALL, Share
from gcnet_tf.evaluation.evaluate import evaluate


@pytest.fixture
def predictor(tiny_config):
    """Finds other classes in every image, some of them rightly."""
    config = tiny_config()

    def labels(images):
        return np.stack([label(image) for image in images])

    def label(image):
        rng = np.random.default_rng(int(image.astype(np.int64).sum()))
        return rng.choice(6, image.shape[:2], p=[0.5, *[0.1] * 5]).astype(np.uint8)

    found = SimpleNamespace(
        classes=facts_of(config.data).classes,
        labels=labels,
        images_at_once=lambda size: 2,
    )
    return found, config


class Shared:
    """A worker of a group, the others of which have given these values."""

    def __init__(self, share, counts=0, others=0):
        self.share = share
        self.counts = counts
        self.others = others
        self.given = []

    def sum(self, values):
        self.given.append(values)
        return values + self.counts

    def largest(self, value):
        self.given.append(value)
        return max(value, self.others)


# Three images: shares of 1 and 2, of one each, and with nothing for one worker.
@pytest.mark.parametrize("number", [2, 3, 4])
def test_shares_add_up(predictor, number):
    alone = evaluate(*predictor)
    assert (alone.iou > 0).all()
    counts, indices = [], []

    def score(index, others):
        def show(index, *images):
            indices.append(index)

        group = Shared(Share(index, number), others)
        metrics = evaluate(*predictor, on_sample=show, group=group)
        counts.append(group.given[-1])
        return metrics

    for index in range(1, number):
        score(index, 0)
    together = score(0, sum(counts))
    for name in ("iou", "accuracy", "miou", "macc", "aacc"):
        np.testing.assert_array_equal(getattr(together, name), getattr(alone, name))
    assert sorted(indices) == [0, 1, 2]


def test_one_that_stops_stops_all(predictor):
    stopping = Shared(ALL)
    assert evaluate(*predictor, group=stopping, should_stop=lambda: True) is None
    # What the stopped worker gave to the others makes them stop, too.
    (given,) = stopping.given
    assert evaluate(*predictor, group=Shared(ALL, others=given)) is None

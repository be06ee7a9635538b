"""Workers that share an evaluation compute the metrics of a single worker."""

from types import SimpleNamespace

import numpy as np
import pytest
from tensorflow.errors import UnknownError

from gcnet_tf.data.catalog import facts_of
from gcnet_tf.data.stream.lanes import ALL, Share
from gcnet_tf.evaluation.evaluate import evaluate


@pytest.fixture
def predictor(tiny_config):
    """A predictor of random classes, some of them right, and its configuration."""
    config = tiny_config()

    def labels(images):
        return np.stack([label(image) for image in images])

    def label(image):
        rng = np.random.default_rng(int(image.astype(np.int64).sum()))
        return rng.choice(6, image.shape[:2], p=[0.5, *[0.1] * 5]).astype(np.uint8)

    fake = SimpleNamespace(
        classes=facts_of(config.data).classes,
        labels=labels,
        images_at_once=lambda size: 2,
        parallel=1,
    )
    return fake, config


class Shared:
    """A worker in a group, whose other workers contribute given values."""

    def __init__(self, share, counts=0, others=0):
        self.share = share
        self.counts = counts
        self.others = others
        self.contributions = []

    def sum(self, values):
        self.contributions.append(values)
        return values + self.counts

    def largest(self, value):
        self.contributions.append(value)
        return max(value, self.others)

    def gather(self, value):
        return [value]


# Three images make shares of 1 and 2, of one each, or an empty one for one worker.
@pytest.mark.parametrize("num_workers", [2, 3, 4])
def test_shares_add_up(predictor, num_workers):
    alone = evaluate(*predictor)
    assert (alone.iou > 0).all()
    counts, indices = [], []

    def evaluate_share(index, others):
        def show(index, *images):
            indices.append(index)

        group = Shared(Share(index, num_workers), others)
        metrics = evaluate(*predictor, on_sample=show, group=group)
        counts.append(group.contributions[-1])
        return metrics

    for index in range(1, num_workers):
        evaluate_share(index, 0)
    together = evaluate_share(0, sum(counts))
    for name in ("iou", "accuracy", "miou", "macc", "aacc"):
        np.testing.assert_array_equal(getattr(together, name), getattr(alone, name))
    assert sorted(indices) == [0, 1, 2]


def test_a_worker_that_stops_stops_all(predictor):
    stopping = Shared(ALL)
    assert evaluate(*predictor, group=stopping, should_stop=lambda: True) is None
    # The value that the stopped worker contributes makes the others stop, too.
    (end,) = stopping.contributions
    assert evaluate(*predictor, group=Shared(ALL, others=end)) is None


class Broken(RuntimeError):
    pass


@pytest.mark.parametrize("broken", [Broken("of a GPU"), UnknownError(None, None, "")])
def test_an_error_of_the_network_is_not_taken_for_damage(
    broken, predictor, monkeypatch
):
    def fail(images):
        raise broken

    def search(*arguments):
        raise AssertionError("no record is damaged")

    fake, config = predictor
    fake.labels = fail
    monkeypatch.setattr("gcnet_tf.data.records.repair.find_damage", search)
    with pytest.raises(type(broken)) as error:
        evaluate(fake, config)
    assert error.value is broken

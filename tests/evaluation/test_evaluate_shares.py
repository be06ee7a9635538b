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

    return SimpleNamespace(
        config=config,
        facts=facts_of(config.data),
        labels=labels,
        at_once=lambda size: 2,
    )


# Three images: shares of 1 and 2, of one each, and with nothing for one worker.
@pytest.mark.parametrize("number", [2, 3, 4])
def test_shares_add_up(predictor, number):
    alone = evaluate(predictor)
    assert (alone.iou > 0).all()
    counts, indices = [], []

    def score(share, others):
        def add_up(mine):
            counts.append(mine)
            return mine + others

        def show(index, *images):
            indices.append(index)

        return evaluate(predictor, on_sample=show, share=share, add_up=add_up)

    for index in range(1, number):
        score(Share(index, number), 0)
    together = score(Share(0, number), sum(counts))
    for name in ("iou", "accuracy", "miou", "macc", "aacc"):
        np.testing.assert_array_equal(getattr(together, name), getattr(alone, name))
    assert sorted(indices) == [0, 1, 2]


def test_one_that_stops_stops_all(predictor):
    flags = []

    def add_up(mine):
        flags.append(mine)
        return mine

    assert (
        evaluate(predictor, share=ALL, add_up=add_up, should_stop=lambda: True) is None
    )
    # What the stopped worker gave to the others makes them stop, too.
    stopped = evaluate(predictor, add_up=lambda mine: mine + flags[0])
    assert stopped is None

import numpy as np
import pytest
import tensorflow as tf

from gcnet_tf.layers import ChannelDropout

ONES = np.ones((3, 4, 5, 400), np.float32)


def test_drops_whole_channels_and_keeps_the_mean():
    seeds = tf.constant([[0, 1], [0, 2], [5, 1]])
    out = ChannelDropout(0.3)(ONES, seeds=seeds, training=True).numpy()
    per_channel = out[:, 0, 0, :]
    np.testing.assert_array_equal(
        out, np.broadcast_to(per_channel[:, None, None], out.shape)
    )
    assert set(np.unique(per_channel)) == {0, np.float32(1 / 0.7)}
    # 1200 coins: 5 standard deviations are 0.066
    assert (per_channel == 0).mean() == pytest.approx(0.3, abs=0.066)


def test_a_mask_depends_on_the_samples_own_seed_only():
    layer = ChannelDropout(0.5)
    seeds = tf.constant([[0, 1], [0, 2], [5, 1]])
    together = layer(ONES, seeds=seeds, training=True).numpy()
    alone = layer(ONES[1:2], seeds=seeds[1:2], training=True).numpy()
    np.testing.assert_array_equal(together[1:2], alone)
    assert not np.array_equal(together[0], together[1])


def test_without_seeds_it_is_random_and_at_inference_it_does_nothing():
    layer = ChannelDropout(0.5)
    assert not np.array_equal(
        layer(ONES, training=True).numpy(), layer(ONES, training=True).numpy()
    )
    np.testing.assert_array_equal(layer(ONES), ONES)
    np.testing.assert_array_equal(ChannelDropout(0.0)(ONES, training=True), ONES)

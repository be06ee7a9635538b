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


def test_batches_of_known_size_need_no_loop_and_have_the_same_masks():
    layer = ChannelDropout(0.5)
    seeds = tf.constant([[0, 1], [0, 2], [5, 1]])
    masks, operations = {}, {}
    for size in (3, None):
        signature = [
            tf.TensorSpec((size, 4, 5, 400)),
            tf.TensorSpec((size, 2), tf.int32),
        ]
        drop = tf.function(
            lambda inputs, seeds: layer(inputs, seeds=seeds, training=True), signature
        )
        masks[size] = drop(ONES, seeds).numpy()
        graph = drop.get_concrete_function().graph
        operations[size] = {operation.type for operation in graph.get_operations()}
    assert any("While" in kind for kind in operations[None])
    assert not any("While" in kind for kind in operations[3])
    np.testing.assert_array_equal(masks[3], masks[None])
    expected = [tf.random.stateless_uniform([400], seed) >= 0.5 for seed in seeds]
    np.testing.assert_array_equal(masks[3][:, 0, 0] > 0, expected)

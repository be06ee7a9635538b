"""Protocols with networks that numpy computes."""

import dataclasses
from functools import partial

import numpy as np
import oracles
import pytest

from gcnet_tf.errors import UserError
from gcnet_tf.runtime import Predictor, predict, windows
from gcnet_tf.runtime.predict import (
    Network,
    images_at_once,
    predict_labels,
    predict_logits,
    predict_probabilities,
)
from gcnet_tf.runtime.protocol import Protocol
from gcnet_tf.runtime.resize import resize_image
from gcnet_tf.runtime.windows import slide

RNG = np.random.default_rng(0)
WEIGHTS = RNG.normal(size=(3, 5)) / 16
IMAGE = RNG.integers(0, 256, (30, 44, 3), np.uint8)
PADDING = (10, 20, 30)
WHOLE = Protocol(
    "whole", (66, 45), (30, 30), (20, 14), False, (0.5, 1.0), False, PADDING
)
SLIDE = dataclasses.replace(WHOLE, mode="slide")
MS_FLIP = dataclasses.replace(WHOLE, ms_flip=True)
TILED = dataclasses.replace(WHOLE, mode="tiled")


def logits(images):
    """Mixes each pixel with its left neighbour: mirroring and borders matter."""
    left = np.concatenate([images[:, :, :1], images[:, :, :-1]], axis=2)
    return (images + 0.5 * left) @ WEIGHTS


def labels(images):
    """Returns the most likely class of each pixel."""
    return logits(images).argmax(axis=-1).astype(np.uint8)


ANY = Network(logits)


class Recorder:
    """A network that records its inputs."""

    def __init__(self, size=None, batch=None, gives=("logits",)):
        self.images = []
        functions = {"logits": logits, "labels": labels}
        self.network = Network(
            **{"logits": None}
            | {name: partial(self._run, functions[name]) for name in gives},
            size=size,
            batch=batch,
        )

    def _run(self, function, images):
        self.images.append(images)
        return function(images)

    @property
    def sizes(self):
        return [images.shape[:3] for images in self.images]


def test_whole_resizes_there_and_back():
    small_logits = logits(resize_image(IMAGE[None], (45, 66)))
    expected = oracles.resize_bilinear(small_logits, (30, 44), False)[0]
    run = Predictor.of_network(ANY, WHOLE, (), ())
    np.testing.assert_allclose(run.logits(IMAGE), expected, rtol=0, atol=1e-10)
    np.testing.assert_array_equal(run.labels(IMAGE), expected.argmax(-1))
    assert run.labels(IMAGE).dtype == np.uint8


def test_slide_goes_over_the_scaled_image():
    resized = resize_image(IMAGE[None], (45, 66))
    averaged = slide(logits, resized, (30, 30), (20, 14))
    expected = oracles.resize_bilinear(averaged, (30, 44), False)[0]
    run = Predictor.of_network(ANY, SLIDE, (), ())
    np.testing.assert_allclose(run.logits(IMAGE), expected, rtol=0, atol=1e-10)
    np.testing.assert_array_equal(run.labels(IMAGE), expected.argmax(-1))


def test_ms_flip_is_the_mean_of_probabilities():
    """The mean is not that of logits, in which a class with large ones dominates."""
    passes = []
    for size in ((22, 32), (45, 66)):
        resized = resize_image(IMAGE[None], size)
        for step in (1, -1):
            pass_logits = logits(resized[:, :, ::step])[:, :, ::step]
            resized_back = oracles.resize_bilinear(pass_logits, (30, 44), False)[0]
            passes.append(oracles.softmax(resized_back))
    expected = np.mean(passes, axis=0)
    run = Predictor.of_network(ANY, MS_FLIP, (), ())
    np.testing.assert_allclose(run.probabilities(IMAGE), expected, rtol=0, atol=1e-12)
    np.testing.assert_array_equal(run.labels(IMAGE), expected.argmax(-1))


@pytest.mark.parametrize("protocol", [WHOLE, SLIDE, MS_FLIP])
@pytest.mark.parametrize("scale", [(11, 8), (150, 90)])
def test_labels_in_strips_are_those_of_the_probabilities(protocol, scale, monkeypatch):
    """The labels are the same whether the mean is smaller than its passes or not."""
    run = Predictor.of_network(ANY, dataclasses.replace(protocol, scale=scale), (), ())
    expected = run.probabilities(IMAGE).argmax(-1)
    for strip in (1, 1000, 2**19):
        monkeypatch.setattr(windows, "_STRIP", strip)
        np.testing.assert_array_equal(run.labels(IMAGE), expected)


def test_large_images_are_never_held_as_logits(monkeypatch):
    """The largest array of resized logits is a strip of the result."""
    heights = []

    def remember(logits, size, align_corners, rows=slice(None)):
        strip = resize(logits, size, align_corners, rows)
        heights.append(strip.shape[1])
        return strip

    resize = predict.resize_logits
    monkeypatch.setattr(predict, "resize_logits", remember)
    monkeypatch.setattr(windows, "_STRIP", 5 * 2000 * 8)
    image = np.zeros((300, 2000, 3), np.uint8)
    for protocol in (WHOLE, SLIDE, MS_FLIP):
        predict_labels(ANY, protocol, image)
    assert len(heights) > 100 and max(heights) == 8


@pytest.mark.parametrize("size", [None, (50, 70)])
@pytest.mark.parametrize("pixels", [0, 10**6])
def test_strips_are_taken_from_contiguous_logits(size, pixels, monkeypatch):
    """numpy.take copies any other array as a whole, and is called for every strip.

    Views are those of mirror images, and of inputs that were padded.
    """
    contiguous = []

    def remember(logits, *arguments):
        contiguous.append(logits.flags.c_contiguous)
        strip = resize(logits, *arguments)
        # The bits are those of any other order in memory.
        view = logits[:, :, ::-1].copy()[:, :, ::-1]
        np.testing.assert_array_equal(strip, resize(view, *arguments))
        return strip

    resize = predict.resize_logits
    monkeypatch.setattr(predict, "resize_logits", remember)
    monkeypatch.setattr(windows, "_STRIP", 1000)
    network = Network(logits, size=size, pixels=pixels)
    for protocol in (WHOLE, SLIDE, MS_FLIP):
        predict_labels(network, protocol, IMAGE)
        predict_probabilities(network, protocol, IMAGE)
    assert len(contiguous) > 20 and all(contiguous)


def test_logits_that_are_too_large_are_refused(monkeypatch):
    monkeypatch.setattr(predict, "_MAX_BYTES", 50_000)
    run = Predictor.of_network(ANY, WHOLE, (), ())
    with pytest.raises(UserError, match=r'0.0 GiB.*labels.*"tiled"'):
        run.logits(IMAGE)
    assert run.labels(IMAGE).shape == (30, 44)


def test_a_network_of_one_size_gets_the_image_fitted_and_padded():
    recorder = Recorder(size=(40, 40), batch=1)
    actual = predict_logits(recorder.network, WHOLE, IMAGE)
    # The scale allows 45x66, and 27x40 fits into the size.
    resized = resize_image(IMAGE, (27, 40))
    assert recorder.sizes == [(1, 40, 40)]
    np.testing.assert_array_equal(recorder.images[0][0, :27], resized)
    assert (recorder.images[0][0, 27:] == PADDING).all()
    expected = oracles.resize_bilinear(logits(resized[None]), (30, 44), False)[0]
    np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize("protocol", [SLIDE, TILED])
def test_a_network_of_one_size_slides_in_windows_of_it(protocol):
    recorder = Recorder(size=(40, 40), batch=1)
    predict_labels(recorder.network, protocol, IMAGE)
    assert set(recorder.sizes) == {(1, 40, 40)}
    # Steps are the same share of a window: 40 * 20 / 30 down, 40 * 14 / 30 across.
    assert len(recorder.sizes) == (2 * 3 if protocol is SLIDE else 2)


def test_ms_flip_of_a_network_of_one_size_pads_the_mirror_image_too():
    wide = dataclasses.replace(MS_FLIP, scale=(40, 40), ratios=(1.0,))
    image = resize_image(IMAGE, (27, 40))
    network = Network(logits, size=(40, 40), batch=1)
    actual = predict_probabilities(network, wide, image)
    expected = predict_probabilities(ANY, wide, image)
    np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-12)


def test_tiled_leaves_the_scale_alone():
    recorder = Recorder()
    actual = predict_labels(recorder.network, TILED, IMAGE)
    assert set(recorder.sizes) == {(1, 30, 30)}
    # Borders of windows are not kept, so the result is that of the network itself.
    np.testing.assert_array_equal(actual, labels(IMAGE[None])[0])
    everywhere = logits(IMAGE[None])[0]
    np.testing.assert_allclose(predict_logits(ANY, TILED, IMAGE), everywhere)
    np.testing.assert_allclose(
        predict_probabilities(ANY, TILED, IMAGE), oracles.softmax(everywhere)
    )


MODES = (WHOLE, SLIDE, MS_FLIP, TILED, dataclasses.replace(TILED, ms_flip=True))


@pytest.mark.parametrize("protocol", MODES)
@pytest.mark.parametrize("size", [None, (40, 40)])
def test_probabilities_mean_the_same_in_every_mode(protocol, size):
    """They add up to 1, are those of the labels, and of the logits."""
    network = Network(logits, size=size, batch=None if size is None else 1)
    run = Predictor.of_network(network, protocol, (), ())
    probabilities = run.probabilities(np.stack([IMAGE, IMAGE[::-1]]))
    assert probabilities.shape == (2, 30, 44, 5) and probabilities.min() >= 0
    np.testing.assert_allclose(probabilities.sum(-1), 1)
    np.testing.assert_array_equal(probabilities[0].argmax(-1), run.labels(IMAGE))
    np.testing.assert_allclose(probabilities[0], oracles.softmax(run.logits(IMAGE)))


@pytest.mark.parametrize("protocol", MODES)
def test_labels_alone_have_no_probabilities(protocol):
    run = Predictor.of_network(Network(None, labels), protocol, (), ())
    for values in (run.probabilities, run.logits):
        with pytest.raises(UserError, match="labels only.*use the exported file with"):
            values(IMAGE)


def test_tiled_logits_that_are_too_large_are_refused(monkeypatch):
    monkeypatch.setattr(predict, "_MAX_BYTES", 50_000)
    recorder = Recorder()
    with pytest.raises(UserError, match=r"\(1, 30, 44, 5\) would take 0.0 GiB"):
        predict_probabilities(recorder.network, TILED, IMAGE)
    assert len(recorder.images) == 1


def test_tiled_takes_images_of_20000_pixels():
    network = Recorder(size=(64, 64), batch=1, gives=("labels",))
    image = np.zeros((70, 20000, 3), np.uint8)
    image[:, 12345] = 255
    actual = predict_labels(network.network, TILED, image)
    np.testing.assert_array_equal(actual, labels(image[None])[0])
    whole = predict_labels(ANY, WHOLE, image)
    assert whole.shape == (70, 20000)


def test_batches_go_through_at_once_or_one_by_one():
    images = np.stack([IMAGE, IMAGE[::-1], IMAGE[:, ::-1]])
    for protocol in (WHOLE, SLIDE, MS_FLIP, TILED):
        expected = [predict_labels(ANY, protocol, image) for image in images]
        for batch in (None, 1):
            recorder = Recorder(batch=batch)
            actual = predict_labels(recorder.network, protocol, images)
            np.testing.assert_array_equal(actual, expected)
            assert {size[0] for size in recorder.sizes} == {batch or 3}
    actual = predict_logits(ANY, WHOLE, images)
    np.testing.assert_allclose(actual[1], predict_logits(ANY, WHOLE, images[1]))


@pytest.mark.parametrize("pixels", [1, 3000, 4000, 10**6])
@pytest.mark.parametrize("protocol", [WHOLE, SLIDE, MS_FLIP])
def test_windows_and_mirror_images_go_through_together(protocol, pixels):
    """A batch holds as many as fit into the best number of pixels."""
    recorder = Recorder()
    network = dataclasses.replace(recorder.network, pixels=pixels)
    actual = predict_probabilities(network, protocol, IMAGE)
    np.testing.assert_array_equal(actual, predict_probabilities(ANY, protocol, IMAGE))
    for batch, height, width in recorder.sizes:
        assert batch == 1 or batch * height * width <= pixels
    # 45x66 is cut into 2x4 windows of 30x30; ms_flip uses 22x32 and 45x66 twice each.
    calls = {
        WHOLE: {1: 1, 3000: 1, 4000: 1, 10**6: 1},
        SLIDE: {1: 8, 3000: 3, 4000: 2, 10**6: 1},
        MS_FLIP: {1: 4, 3000: 3, 4000: 3, 10**6: 2},
    }
    assert len(recorder.images) == calls[protocol][pixels]


def test_number_of_images_at_once():
    def at_once(protocol, pixels=10_000, **network):
        network = Network(logits, pixels=pixels, **network)
        return images_at_once(network, protocol, (30, 44))

    # Resized to 45x66 = 2970 pixels, the largest of the scales of ms_flip.
    assert at_once(WHOLE) == at_once(SLIDE) == at_once(MS_FLIP) == 3
    assert at_once(TILED) == 10_000 // (30 * 44)
    assert at_once(WHOLE, pixels=0) == at_once(WHOLE, pixels=2000) == 1
    assert at_once(WHOLE, batch=1) == 1


def test_labels_of_the_network_are_used_where_nothing_is_resized():
    plain = dataclasses.replace(WHOLE, scale=(44, 30))
    recorder = Recorder(gives=("labels", "logits"))
    run = Predictor.of_network(recorder.network, plain, (), ())
    np.testing.assert_array_equal(run.labels(IMAGE), labels(IMAGE[None])[0])
    assert recorder.network.labels.args == (labels,) and len(recorder.images) == 1
    predict_labels(recorder.network, WHOLE, IMAGE)
    assert recorder.sizes[1:] == [(1, 45, 66)]


LABELS_ONLY = Network(None, labels, size=(40, 50), batch=1)


@pytest.mark.parametrize("protocol", [WHOLE, SLIDE])
def test_labels_only_takes_an_image_of_its_size(protocol):
    image = RNG.integers(0, 256, (40, 50, 3), np.uint8)
    actual = predict_labels(LABELS_ONLY, protocol, image)
    np.testing.assert_array_equal(actual, labels(image[None])[0])


def test_labels_only_takes_a_small_image_that_is_not_scaled():
    plain = dataclasses.replace(WHOLE, scale=(44, 30))
    actual = predict_labels(LABELS_ONLY, plain, IMAGE)
    np.testing.assert_array_equal(actual, labels(IMAGE[None])[0])


@pytest.mark.parametrize("protocol", [WHOLE, SLIDE, MS_FLIP])
def test_labels_only_refuses_what_needs_logits(protocol):
    with pytest.raises(
        UserError, match="labels only.*44x30.*50x40.*with probabilities"
    ):
        predict_labels(LABELS_ONLY, protocol, IMAGE)
    with pytest.raises(UserError, match="labels only"):
        predict_probabilities(LABELS_ONLY, protocol, IMAGE)


@pytest.mark.parametrize(
    "image, words",
    [
        ([[1, 2, 3]], "received list; allowed"),
        (IMAGE.astype(np.float32) / 255, "Not an 8-bit.*float32"),
        (IMAGE.astype(np.uint16), "Not an 8-bit.*uint16"),
        (IMAGE[..., 0], r"Not a colour.*\(30, 44\).*grey"),
        (IMAGE[None, None], r"Not a colour"),
        (np.dstack([IMAGE, IMAGE[..., :1]]), r"\(30, 44, 4\).*alpha"),
        (IMAGE[..., :1], r"\(30, 44, 1\)"),
        (IMAGE.transpose(2, 0, 1), r"\(3, 30, 44\)"),
        (IMAGE[:0], r"without pixels.*\(0, 44, 3\)"),
        (IMAGE[None][:0], r"without pixels.*\(0, 30, 44, 3\)"),
    ],
)
def test_arrays_that_are_no_images_are_refused(image, words):
    for function in (predict_labels, predict_logits, predict_probabilities):
        with pytest.raises(UserError, match=words):
            function(ANY, WHOLE, image)

"""A network run by a protocol: from RGB images of any size to labels or scores.

Evaluation, prediction and the runtime share it; it needs numpy alone. What computes
scores is not its business: a `Network` is a function and what it takes. Images are RGB
uint8 `(batch, height, width, 3)`, sizes are (height, width).
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from gcnet_tf.errors import UserError
from gcnet_tf.runtime.resize import resize_image, resize_scores
from gcnet_tf.runtime.windows import (
    Predict,
    keep_ratio_size,
    scales_of,
    slide,
    softmax,
    tiled,
)

MODES = ("whole", "slide", "ms_flip", "tiled")

# The mean colour of training: normalised it is the zero that images are padded with.
PADDING_COLOUR = (124, 116, 104)

# The largest scores that are given away at once.
_MAX_BYTES = 4 * 2**30
# Values in a strip of rows: small enough for a processor's cache.
_STRIP = 2**19


@dataclass(frozen=True)
class Network:
    """What sees images, and which ones it can see.

    Attributes:
        scores: images to float `(batch, height, width, num_classes)`: logits, or what
            differs from them by one number per pixel. None for a network that gives
            labels only.
        labels: images to class ids uint8 `(batch, height, width)`; None where they are
            to be taken from the scores.
        size: the only (height, width) it takes; None for any.
        batch: the only number of images at once; None for any.
        pixels: how many it is best shown at once, in several images where one has
            fewer; 0: images come as they are given.
    """

    scores: Predict | None
    labels: Predict | None = None
    size: tuple[int, int] | None = None
    batch: int | None = None
    pixels: int = 0

    def at_once(self, size: tuple[int, int]) -> int:
        """How many images of a size it is best shown at once, at least 1."""
        if self.batch is not None:
            return 1
        return max(self.pixels // (size[0] * size[1]), 1)


@dataclass(frozen=True)
class Protocol:
    """How an image becomes inputs of a network.

    Attributes:
        mode: "whole": at once; "slide": overlapping windows, whose scores are averaged;
            "tiled": overlapping windows of the image as it is, of which the middles
            are kept, for images that are too large for anything else.
        scale: what images are resized to, see `keep_ratio_size`; not in "tiled".
        window: of "slide" and "tiled".
        stride: step between windows.
        ms_flip: mean of the probabilities over several scales, each also mirrored.
        ratios: what ms_flip multiplies `scale` by.
        align_corners: how scores are resized, see `resize_scores`.
    """

    mode: str
    scale: tuple[int, int]
    window: tuple[int, int]
    stride: tuple[int, int]
    ms_flip: bool
    ratios: tuple[float, ...]
    align_corners: bool

    @classmethod
    def from_settings(cls, settings: Mapping[str, Any]) -> "Protocol":
        """From a configuration's `evaluation` section and `align_corners`.

        Raises:
            KeyError, TypeError, ValueError: when one is missing or of a wrong kind.
        """
        mode, ms_flip = settings["mode"], settings["ms_flip"]
        if mode not in MODES or not isinstance(ms_flip, bool):
            raise ValueError(f"received the mode {mode} and the ms_flip {ms_flip}")
        return cls(
            mode=mode,
            scale=_pair(settings["scale"]),
            window=_pair(settings["window"]),
            stride=_pair(settings["stride"]),
            ms_flip=ms_flip,
            ratios=tuple(map(float, settings["ratios"])),
            align_corners=bool(settings["align_corners"]),
        )

    def with_mode(self, mode: str | None) -> "Protocol":
        """The protocol in one of `MODES`; None leaves it as it is.

        Raises:
            UserError: for another mode.
        """
        if mode is None:
            return self
        if mode not in MODES:
            raise UserError(
                f'mode: received "{mode}"; allowed: one of {", ".join(MODES)}.'
            )
        if mode == "ms_flip":
            return replace(self, ms_flip=True)
        return replace(self, ms_flip=False, mode=mode)

    def scales(self) -> list[tuple[int, int]]:
        """Each scale at which the network sees an image."""
        return scales_of(self.scale, self.ratios) if self.ms_flip else [self.scale]


@dataclass(frozen=True)
class Segmenter:
    """A network run by a protocol.

    A network of one size sees images padded at the right and at the bottom: in mode
    "whole" scaled so that they fit, else in windows of its size.
    """

    network: Network
    protocol: Protocol

    def labels(self, images: np.ndarray) -> np.ndarray:
        """Class ids uint8 `([batch,] height, width)` of RGB uint8 images of that size.

        Scores at the images' size are never held as a whole, only strips of rows.

        Raises:
            UserError: when the images are none, or need scores that the network does
                not give.
        """
        check_images(images)
        return self._one_by_one(self._labels, images)

    def scores(self, images: np.ndarray) -> np.ndarray:
        """Scores `([batch,] height, width, num_classes)` of RGB uint8 images.

        They are probabilities under ms_flip, else logits or what differs from them by
        one number per pixel: their softmax are the probabilities.

        Raises:
            UserError: as `labels`, in mode "tiled", and where they are too large.
        """
        check_images(images)
        if self.protocol.mode == "tiled":
            raise UserError(
                'The mode "tiled" gives labels only, and scores were asked for; use '
                "another mode."
            )
        return self._one_by_one(self._scores, images)

    def at_once(self, size: tuple[int, int]) -> int:
        """How many images of a size are best given at once, at least 1."""
        scales = self.protocol.scales() if self.protocol.mode != "tiled" else []
        inputs = [self._input_size(size, scale) for scale in scales]
        return self.network.at_once(max(inputs, default=size))

    def _one_by_one(self, function: Predict, images: np.ndarray) -> np.ndarray:
        """Runs as many images at once as the network takes."""
        if images.ndim == 3:
            return function(images[None])[0]
        if self.network.batch is None:
            return function(images)
        return np.concatenate([function(image[None]) for image in images])

    def _labels(self, images: np.ndarray) -> np.ndarray:
        if self.protocol.mode == "tiled":
            return tiled(self._tile_labels, images, *self._window())
        if self.network.labels is not None and self._is_seen_as_it_is(images):
            return self._fitted(self.network.labels)(images)
        size = images.shape[1:3]
        if self._mean_is_smaller(size):
            mean = self._scores(images)
            return _argmax(mean, size, lambda rows: mean[:, rows])
        passes = list(self._passes(images))
        return _argmax(passes[0], size, lambda rows: self._mean(passes, size, rows))

    def _scores(self, images: np.ndarray) -> np.ndarray:
        size = images.shape[1:3]
        total = None
        count = 0
        for one in self._passes(images):
            if total is None:
                shape = (len(one), *size, one.shape[-1])
                _require_memory(shape, one.dtype)
                total = np.zeros(shape, one.dtype)
            for rows in _strips(one, size):
                total[:, rows] += self._at_size(one, size, rows)
            count += 1
        assert total is not None  # there is always one scale
        total /= count
        return total

    def _passes(self, images: np.ndarray) -> Iterator[np.ndarray]:
        """Scores at the scales that the network sees, mirrored ones turned back."""
        if self.network.scores is None:
            raise UserError(self._labels_only(images.shape[1:3]))
        for scale in self.protocol.scales():
            resized = resize_image(images, self._input_size(images.shape[1:3], scale))
            if not self.protocol.ms_flip:
                yield self._pass(resized)
                continue
            views = [resized, resized[:, :, ::-1]]
            if self.network.at_once(resized.shape[1:3]) >= 2 * len(images):
                scores = np.split(self._pass(np.concatenate(views)), 2)
            else:
                scores = [self._pass(view) for view in views]
            yield scores[0]
            yield scores[1][:, :, ::-1]

    def _pass(self, seen: np.ndarray) -> np.ndarray:
        """Scores of resized images."""
        assert self.network.scores is not None
        predict = self._fitted(self.network.scores)
        if self.protocol.mode != "slide":
            return predict(seen)
        window, stride = self._window()
        at_once = max(self.network.at_once(window) // len(seen), 1)
        return slide(predict, seen, window, stride, at_once)

    def _at_size(
        self, scores: np.ndarray, size: tuple[int, int], rows: slice
    ) -> np.ndarray:
        """Rows of what a pass says of each pixel of the image."""
        resized = resize_scores(scores, size, self.protocol.align_corners, rows)
        return softmax(resized) if self.protocol.ms_flip else resized

    def _mean(
        self, passes: list[np.ndarray], size: tuple[int, int], rows: slice
    ) -> np.ndarray:
        """The same rows of `_scores`, from passes that are held."""
        total = self._at_size(passes[0], size, rows)
        for one in passes[1:]:
            total = total + self._at_size(one, size, rows)
        return total / len(passes)

    def _mean_is_smaller(self, size: tuple[int, int]) -> bool:
        """Whether the mean of all passes takes less memory than the passes."""
        if not self.protocol.ms_flip:
            return False
        inputs = [self._input_size(size, scale) for scale in self.protocol.scales()]
        return size[0] * size[1] < 2 * sum(height * width for height, width in inputs)

    def _tile_labels(self, images: np.ndarray) -> np.ndarray:
        if self.network.labels is not None:
            return self._fitted(self.network.labels)(images)
        assert self.network.scores is not None
        scores = self._fitted(self.network.scores)(images)
        return _argmax(scores, images.shape[1:3], lambda rows: scores[:, rows])

    def _fitted(self, predict: Predict) -> Predict:
        """A `predict` for images that are not larger than what the network takes."""
        size = self.network.size

        def run(images: np.ndarray) -> np.ndarray:
            height, width = images.shape[1:3]
            if size is None or size == (height, width):
                return predict(images)
            return predict(padded(images, size))[:, :height, :width]

        return run

    def _input_size(
        self, size: tuple[int, int], scale: tuple[int, int]
    ) -> tuple[int, int]:
        """What an image of `size` is resized to."""
        fit = self.network.size if self.protocol.mode == "whole" else None
        return keep_ratio_size(*size, scale, fit)

    def _window(self) -> tuple[tuple[int, int], tuple[int, int]]:
        """Window and stride; for a network of one size that, and as large a share."""
        window, stride = self.protocol.window, self.protocol.stride
        if self.network.size is None:
            return window, stride
        steps = [
            max(side * step // whole, 1)
            for side, step, whole in zip(self.network.size, stride, window)
        ]
        return self.network.size, (steps[0], steps[1])

    def _is_seen_as_it_is(self, images: np.ndarray) -> bool:
        """Whether the network sees an image once, and that without being resized."""
        size = images.shape[1:3]
        if self.protocol.ms_flip:
            return False
        if self.network.scores is None and size == self.network.size:
            return True  # it could be of no use otherwise
        limit = self._window()[0] if self.protocol.mode == "slide" else size
        return self._input_size(size, self.protocol.scale) == size and all(
            side <= most for side, most in zip(size, limit)
        )

    def _labels_only(self, size: tuple[int, int]) -> str:
        takes = self.network.size
        only = "" if takes is None else f" of {takes[1]}x{takes[0]} (width x height)"
        return (
            f"This model gives labels only, which can be neither resized nor averaged: "
            f"received an image of {size[1]}x{size[0]}; allowed: images{only} that the "
            'protocol leaves as they are, or the mode "tiled". The exported file with '
            "scores (without _labels in its name) takes images of any size."
        )


def padded(images: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Images with the mean colour at the right and at the bottom, up to `size`."""
    canvas = np.empty((len(images), *size, 3), np.uint8)
    canvas[:] = PADDING_COLOUR
    canvas[:, : images.shape[1], : images.shape[2]] = images
    return canvas


def check_images(images: np.ndarray) -> None:
    """Checks that an array is one RGB image, or several of the same size.

    Raises:
        UserError: saying what it is instead.
    """
    allowed = (
        "allowed: RGB uint8, 0-255, of shape (height, width, 3) or "
        "(batch, height, width, 3)."
    )
    if not isinstance(images, np.ndarray):
        raise UserError(
            f"Not an image: received {type(images).__name__}; {allowed} "
            "Use numpy.asarray(image.convert('RGB')) for a Pillow image."
        )
    received = f"received {images.dtype} of shape {images.shape}; {allowed}"
    if images.dtype != np.uint8:
        raise UserError(f"Not an 8-bit image: {received} Scale and convert it first.")
    if images.ndim not in (3, 4):
        hint = " Repeat a grey image three times." if images.ndim == 2 else ""
        raise UserError(f"Not a colour image: {received}{hint}")
    if images.shape[-1] != 3:
        hint = " Leave out the alpha channel." if images.shape[-1] == 4 else ""
        raise UserError(f"Not an RGB image: {received}{hint}")
    if images.size == 0:
        raise UserError(f"An image without pixels: {received}")


def _pair(values: Sequence[int]) -> tuple[int, int]:
    first, second = map(int, values)
    if min(first, second) < 1:
        raise ValueError(f"received the size {first}, {second}")
    return first, second


def _strips(scores: np.ndarray, size: tuple[int, int]) -> Iterator[slice]:
    """Rows of scores at another size, cut into strips of about `_STRIP` values."""
    values_per_row = len(scores) * size[1] * scores.shape[-1]
    step = max(_STRIP // values_per_row, 1)
    for start in range(0, size[0], step):
        yield slice(start, min(start + step, size[0]))


def _argmax(
    like: np.ndarray, size: tuple[int, int], scores_of: Callable[[slice], np.ndarray]
) -> np.ndarray:
    """Class ids uint8 `(batch, height, width)` from strips of scores.

    Args:
        like: scores of any size, for the number of images and classes.
        size: of the result.
        scores_of: rows to scores `(batch, rows, width, num_classes)`.
    """
    labels = np.empty((len(like), *size), np.uint8)
    for rows in _strips(like, size):
        labels[:, rows] = scores_of(rows).argmax(axis=-1)
    return labels


def _require_memory(shape: tuple[int, ...], dtype: np.dtype) -> None:
    needed = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
    if needed > _MAX_BYTES:
        raise UserError(
            f"The scores of shape {shape} would take {needed / 2**30:.1f} GiB; allowed "
            f"are {_MAX_BYTES / 2**30:.0f}. Ask for labels instead, which are made in "
            'strips, and for very large images use the mode "tiled".'
        )

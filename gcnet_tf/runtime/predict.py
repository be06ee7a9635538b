"""Running a network by a protocol: from RGB images of any size to labels or logits.

Evaluation, prediction and the runtime share these functions, which need numpy alone.
Images are RGB uint8 `(batch, height, width, 3)`, sizes are (height, width).
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from gcnet_tf.errors import UserError
from gcnet_tf.runtime.images import check_images, padded
from gcnet_tf.runtime.protocol import Protocol
from gcnet_tf.runtime.resize import resize_image, resize_logits
from gcnet_tf.runtime.windows import (
    Predict,
    RowsOf,
    argmax,
    keep_ratio_size,
    slide,
    softmax,
    strips,
    tiled,
    tiled_rows,
)

Size = tuple[int, int]

# Size limit of an array of logits that is returned.
_MAX_BYTES = 4 * 2**30


@dataclass(frozen=True)
class Network:
    """A function of images, with the inputs that it accepts.

    Attributes:
        logits: images to float `(batch, height, width, num_classes)`: logits, up to
            one added constant per pixel. None for a network that gives labels only.
        labels: images to class ids uint8 `(batch, height, width)`; None where labels
            are the argmax of the logits.
        size: the only (height, width) that it accepts; None for any.
        batch: the only batch size that it accepts; None for any.
        pixels: pixels in a batch, of one or several images, at which it is fastest; 0:
            images are not grouped.
        parallel: number of threads whose calls have a device of their own.
    """

    logits: Predict | None
    labels: Predict | None = None
    size: Size | None = None
    batch: int | None = None
    pixels: int = 0
    parallel: int = 1

    def at_once(self, size: Size) -> int:
        """Returns the best number of images of a size in a batch, at least 1."""
        if self.batch is not None:
            return 1
        return max(self.pixels // (size[0] * size[1]), 1)


def predict_labels(
    network: Network, protocol: Protocol, images: np.ndarray
) -> np.ndarray:
    """Predicts the class of each pixel.

    Where a network accepts one size only, images are padded at the right and at the
    bottom: in mode "whole" they are first scaled so that they fit, in other modes cut
    into windows of that size. Logits at the images' size are never held as a whole,
    only in strips of rows.

    Args:
        network: computes logits or labels.
        protocol: says how images become inputs of the network.
        images: RGB uint8 `([batch,] height, width, 3)`, of any size.

    Returns:
        Class ids uint8 `([batch,] height, width)`.

    Raises:
        UserError: when the images are of another form, or the protocol needs logits
            from a network that only gives labels.
    """
    check_images(images)
    return _one_by_one(_Run(network, protocol).labels, network, images)


def predict_labels_by_rows(
    network: Network, protocol: Protocol, rows_of: RowsOf, size: Size
) -> np.ndarray:
    """Predicts as `predict_labels` in the mode "tiled", and holds only some rows.

    Args:
        network, protocol: as in `predict_labels`; the mode is "tiled".
        rows_of: reads rows of the image, RGB uint8 `(1, rows, width, 3)`.
        size: (height, width) of the image.

    Returns:
        Class ids uint8 `(height, width)`.
    """
    assert protocol.mode == "tiled"
    return _Run(network, protocol).tile_labels(rows_of, size)[0]


def predict_logits(
    network: Network, protocol: Protocol, images: np.ndarray
) -> np.ndarray:
    """Predicts logits, up to one added constant per pixel.

    Args:
        network, protocol, images: as in `predict_labels`.

    Returns:
        `([batch,] height, width, num_classes)`; under `protocol.ms_flip` the
        logarithms of the mean probabilities.

    Raises:
        UserError: when the images are of another form, the network gives labels only,
            or the logits would be too large.
    """
    logits = _means(network, protocol, images)
    if protocol.averages_probabilities:
        np.log(np.maximum(logits, np.finfo(logits.dtype).tiny, out=logits), out=logits)
    return logits


def predict_probabilities(
    network: Network, protocol: Protocol, images: np.ndarray
) -> np.ndarray:
    """Predicts the probability of each class.

    In every mode, `predict_labels` gives the class with the largest one. Under
    `protocol.ms_flip` they are the mean over all scales and views, else the softmax of
    the logits at the images' size.

    Args:
        network, protocol, images: as in `predict_labels`.

    Returns:
        `([batch,] height, width, num_classes)` in [0, 1], with the sum 1 for each
        pixel.

    Raises:
        UserError: as `predict_logits`.
    """
    probabilities = _means(network, protocol, images)
    if not protocol.averages_probabilities:
        for rows in probabilities:  # image by image: softmax needs as much memory again
            rows[:] = softmax(rows)
    return probabilities


def images_at_once(network: Network, protocol: Protocol, size: Size) -> int:
    """Returns the best number of images of a size in a call, at least 1."""
    scales = protocol.scales() if protocol.mode != "tiled" else []
    inputs = [_Run(network, protocol).input_size(size, scale) for scale in scales]
    return network.at_once(max(inputs, default=size))


def _means(network: Network, protocol: Protocol, images: np.ndarray) -> np.ndarray:
    """Runs `_Run.mean` on images of a user."""
    check_images(images)
    if network.logits is None:
        raise UserError(
            "This model gives labels only, and logits or probabilities were asked for: "
            "use the exported file without _labels in its name."
        )
    return _one_by_one(_Run(network, protocol).mean, network, images)


def _one_by_one(function: Predict, network: Network, images: np.ndarray) -> np.ndarray:
    """Runs the images in batches that the network accepts."""
    if images.ndim == 3:
        return function(images[None])[0]
    if network.batch is None:
        return function(images)
    return np.concatenate([function(image[None]) for image in images])


@dataclass(frozen=True)
class _Run:
    """The steps between a batch and its labels, for a network and a protocol."""

    network: Network
    protocol: Protocol

    def labels(self, images: np.ndarray) -> np.ndarray:
        if self.protocol.mode == "tiled":
            return self.tile_labels(lambda rows: images[:, rows], images.shape[1:3])
        if self.network.labels is not None and self._is_unchanged(images):
            return self._fitted(self.network.labels)(images)
        size = images.shape[1:3]
        if self._mean_is_smaller(size):
            mean = self.mean(images)
            return argmax(mean, size, lambda rows: mean[:, rows])
        passes = list(self._passes(images))
        return argmax(passes[0], size, lambda rows: self._mean_rows(passes, size, rows))

    def tile_labels(self, rows_of: RowsOf, size: Size) -> np.ndarray:
        return tiled_rows(self._tile_labels, rows_of, size, *self._window())

    def mean(self, images: np.ndarray) -> np.ndarray:
        """Returns logits, under ms_flip the mean of the probabilities of all passes."""
        size = images.shape[1:3]
        if self.protocol.mode == "tiled":
            return tiled(
                lambda tile: self._tile_logits(tile, size), images, *self._window()
            )
        total = None
        count = 0
        for logits in self._passes(images):
            if total is None:
                shape = (len(logits), *size, logits.shape[-1])
                _require_memory(shape, logits.dtype)
                total = np.zeros(shape, logits.dtype)
            for rows in strips(logits, size):
                total[:, rows] += self._at_size(logits, size, rows)
            count += 1
        assert total is not None  # there is always one scale
        total /= count
        return total

    def input_size(self, size: Size, scale: Size) -> Size:
        """Returns the size to which an image of `size` is resized."""
        fit = self.network.size if self.protocol.mode == "whole" else None
        return keep_ratio_size(*size, scale, fit)

    def _passes(self, images: np.ndarray) -> Iterator[np.ndarray]:
        """Yields the logits of every scale and view, mirrored ones mirrored back.

        The arrays are contiguous: of another array, `numpy.take` first copies the
        whole, and resizing takes rows of it for every strip.
        """
        return map(np.ascontiguousarray, self._views(images))

    def _views(self, images: np.ndarray) -> Iterator[np.ndarray]:
        """Yields the arrays of `_passes`, which may be views of others."""
        if self.network.logits is None:
            raise UserError(self._labels_only_message(images.shape[1:3]))
        for scale in self.protocol.scales():
            resized = resize_image(images, self.input_size(images.shape[1:3], scale))
            if not self.protocol.ms_flip:
                yield self._pass(resized)
                continue
            views = [resized, resized[:, :, ::-1]]
            if self.network.at_once(resized.shape[1:3]) >= 2 * len(images):
                plain, mirrored = np.split(self._pass(np.concatenate(views)), 2)
            else:
                plain, mirrored = (self._pass(view) for view in views)
            yield plain
            yield mirrored[:, :, ::-1]

    def _pass(self, inputs: np.ndarray) -> np.ndarray:
        """Computes the logits of resized images."""
        assert self.network.logits is not None
        predict = self._fitted(self.network.logits)
        if self.protocol.mode != "slide":
            return predict(inputs)
        window, stride = self._window()
        at_once = max(self.network.at_once(window) // len(inputs), 1)
        return slide(predict, inputs, window, stride, at_once)

    def _at_size(self, logits: np.ndarray, size: Size, rows: slice) -> np.ndarray:
        """Resizes a pass to rows of the image; gives probabilities under ms_flip."""
        resized = resize_logits(logits, size, self.protocol.align_corners, rows)
        return softmax(resized) if self.protocol.ms_flip else resized

    def _mean_rows(
        self, passes: list[np.ndarray], size: Size, rows: slice
    ) -> np.ndarray:
        """Computes some rows of `mean` from passes that are held in memory."""
        total = self._at_size(passes[0], size, rows)
        for logits in passes[1:]:
            total = total + self._at_size(logits, size, rows)
        return total / len(passes)

    def _mean_is_smaller(self, size: Size) -> bool:
        """Tells whether the mean of all passes takes less memory than the passes."""
        if not self.protocol.ms_flip:
            return False
        inputs = [self.input_size(size, scale) for scale in self.protocol.scales()]
        return size[0] * size[1] < 2 * sum(height * width for height, width in inputs)

    def _tile_labels(self, images: np.ndarray) -> np.ndarray:
        if self.network.labels is not None:
            return self._fitted(self.network.labels)(images)
        size = images.shape[1:3]
        logits = self._tile_logits(images, size)
        return argmax(logits, size, lambda rows: logits[:, rows])

    def _tile_logits(self, tile: np.ndarray, size: Size) -> np.ndarray:
        """Computes the logits of a tile of images of a size."""
        assert self.network.logits is not None
        logits = self._fitted(self.network.logits)(tile)
        _require_memory((len(logits), *size, logits.shape[-1]), logits.dtype)
        return logits

    def _fitted(self, predict: Predict) -> Predict:
        """Makes `predict` accept images that are smaller than the network's inputs."""
        size = self.network.size

        def run(images: np.ndarray) -> np.ndarray:
            height, width = images.shape[1:3]
            if size is None or size == (height, width):
                return predict(images)
            inputs = padded(images, size, self.protocol.padding_colour)
            return predict(inputs)[:, :height, :width]

        return run

    def _window(self) -> tuple[Size, Size]:
        return self.protocol.window_of(self.network.size)

    def _is_unchanged(self, images: np.ndarray) -> bool:
        """Tells whether an image is one input of the network, without resizing."""
        size = images.shape[1:3]
        if self.protocol.ms_flip:
            return False
        if self.network.logits is None and size == self.network.size:
            return True  # a network of labels allows nothing else
        limit = self._window()[0] if self.protocol.mode == "slide" else size
        return self.input_size(size, self.protocol.scale) == size and all(
            side <= bound for side, bound in zip(size, limit)
        )

    def _labels_only_message(self, size: Size) -> str:
        accepted = self.network.size
        only = (
            ""
            if accepted is None
            else f" of {accepted[1]}x{accepted[0]} (width x height)"
        )
        return (
            f"This model gives labels only, which can be neither resized nor averaged: "
            f"received an image of {size[1]}x{size[0]}; allowed: images{only} that the "
            'protocol leaves as they are, or the mode "tiled". The exported file with '
            "probabilities (without _labels in its name) takes images of any size."
        )


def _require_memory(shape: tuple[int, ...], dtype: np.dtype) -> None:
    needed = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
    if needed > _MAX_BYTES:
        raise UserError(
            f"The logits of shape {shape} would take {needed / 2**30:.1f} GiB; allowed "
            f"are {_MAX_BYTES / 2**30:.0f}. Ask for labels instead, which are made in "
            'strips, and for very large images use the mode "tiled".'
        )

"""The protocol as a graph: from photos of any size to labels at their size.

The same steps as `gcnet_tf.runtime.predict`, which a server cannot call.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import tensorflow as tf

from gcnet_tf.data.stream import packed, resample
from gcnet_tf.layers import resize_bilinear
from gcnet_tf.runtime.protocol import Protocol

# Images, uint8 (batch, height, width, 3), to logits, float32 (batch, height, width,
# num_classes).
Logits = Callable[[tf.Tensor], tf.Tensor]
# (height, width): numbers, or tensors where they are known only when the graph runs.
Size = Sequence[tf.Tensor | int]

# Values in a strip of rows. Logits at the size of a photo are never there as a whole.
_STRIP = 2**22


@dataclass(frozen=True)
class PhotoGraph:
    """The steps between photos of one size and their labels.

    Attributes:
        logits: the network.
        num_classes: number of its classes.
        protocol: says how photos become inputs of the network; any mode but "tiled".
        size: the only (height, width) that the network accepts; None for any.
    """

    logits: Logits
    num_classes: int
    protocol: Protocol
    size: tuple[int, int] | None

    def labels(self, images: tf.Tensor) -> tf.Tensor:
        """Predicts the class of each pixel, by strips of rows.

        Args:
            images: RGB uint8 `(batch, height, width, 3)`.

        Returns:
            uint8 `(batch, height, width)`.
        """
        passes = self._passes(images)
        batch, height, width = tf.unstack(tf.shape(images)[:3])
        rows = tf.maximum(_STRIP // (batch * width * self.num_classes), 1)

        def strip(start: tf.Tensor, parts: tf.TensorArray) -> tuple:
            stop = tf.minimum(start + rows, height)
            mean = self._mean(passes, (height, width), tf.range(start, stop))
            labels = tf.cast(tf.argmax(mean, axis=-1, output_type=tf.int32), tf.uint8)
            by_rows = tf.transpose(labels, [1, 0, 2])  # (rows, batch, width)
            return stop, parts.write(start // rows, by_rows)

        parts = tf.TensorArray(
            tf.uint8,
            size=-(-height // rows),
            infer_shape=False,
            element_shape=[None, None, None],
        )
        _, parts = tf.while_loop(
            lambda start, _: start < height, strip, [0, parts], parallel_iterations=1
        )
        return tf.transpose(parts.concat(), [1, 0, 2])  # (batch, height, width)

    def probabilities(self, images: tf.Tensor) -> tf.Tensor:
        """Predicts the probability of each class.

        Args:
            images: RGB uint8 `(batch, height, width, 3)`.

        Returns:
            float32 `(batch, height, width, num_classes)`.
        """
        height, width = tf.unstack(tf.shape(images)[1:3])
        mean = self._mean(self._passes(images), (height, width), tf.range(height))
        return mean if self.protocol.ms_flip else tf.nn.softmax(mean)

    def _passes(self, images: tf.Tensor) -> list[tf.Tensor]:
        """Computes the logits of every scale and view, mirrored ones mirrored back."""
        passes = []
        for scale in self.protocol.scales():
            resized = _resized(images, self._input_size(tf.shape(images), scale))
            passes.append(self._pass(resized))
            if self.protocol.ms_flip:
                mirrored = self._pass(tf.reverse(resized, [2]))
                passes.append(tf.reverse(mirrored, [2]))
        return passes

    def _input_size(
        self, shape: tf.Tensor, scale: tuple[int, int]
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Computes what `windows.keep_ratio_size` does."""
        height, width = tf.unstack(tf.cast(shape[1:3], tf.float64))
        factors = [
            max(scale) / tf.maximum(height, width),
            min(scale) / tf.minimum(height, width),
        ]
        if self.size is not None and self.protocol.mode == "whole":
            factors += [self.size[0] / height, self.size[1] / width]
        factor = tf.reduce_min(tf.stack(factors))
        sides = (tf.cast(side * factor + 0.5, tf.int32) for side in (height, width))
        new_height, new_width = (tf.maximum(side, 1) for side in sides)
        return new_height, new_width

    def _pass(self, inputs: tf.Tensor) -> tf.Tensor:
        return (
            self._slide(inputs) if self.protocol.mode == "slide" else self._run(inputs)
        )

    def _run(self, inputs: tf.Tensor) -> tf.Tensor:
        """Computes logits of images that may be smaller than the network's inputs."""
        if self.size is None:
            return self.logits(inputs)
        height, width = tf.unstack(tf.shape(inputs)[1:3])
        below, right = self.size[0] - height, self.size[1] - width
        colour = tf.constant(self.protocol.padding_colour, tf.int32)
        # Padding with one number, 0, around the difference to the colour.
        shifted = tf.cast(inputs, tf.int32) - colour
        padded = tf.pad(shifted, [[0, 0], [0, below], [0, right], [0, 0]]) + colour
        padded = tf.ensure_shape(padded, [None, *self.size, 3])
        return self.logits(tf.cast(padded, tf.uint8))[:, :height, :width]

    def _slide(self, inputs: tf.Tensor) -> tf.Tensor:
        """Averages the logits of overlapping windows, as `windows.slide` does."""
        window, stride = self.protocol.window_of(self.size)
        height, width = tf.unstack(tf.shape(inputs)[1:3])
        tops, sides_down = _spans(height, window[0], stride[0])
        lefts, sides_right = _spans(width, window[1], stride[1])
        number = tf.size(tops) * tf.size(lefts)

        def step(index: tf.Tensor, total: tf.Tensor, count: tf.Tensor) -> tuple:
            top, left = tops[index // tf.size(lefts)], lefts[index % tf.size(lefts)]
            bottom, right = top + sides_down, left + sides_right
            logits = self._run(inputs[:, top:bottom, left:right])
            around = [[0, 0], [top, height - bottom], [left, width - right], [0, 0]]
            ones = tf.ones([1, sides_down, sides_right, 1])
            return (
                index + 1,
                total + tf.pad(logits, around),
                count + tf.pad(ones, around),
            )

        shape = [tf.shape(inputs)[0], height, width, self.num_classes]
        _, total, count = tf.while_loop(
            lambda index, *_: index < number,
            step,
            [0, tf.zeros(shape), tf.zeros([1, height, width, 1])],
            [
                tf.TensorShape([]),
                tf.TensorShape([None, None, None, self.num_classes]),
                tf.TensorShape([1, None, None, 1]),
            ],
            parallel_iterations=1,
        )
        return total / count

    def _mean(self, passes: list[tf.Tensor], size: Size, rows: tf.Tensor) -> tf.Tensor:
        """Computes rows of the logits at a size; under ms_flip mean probabilities."""
        total = None
        for logits in passes:
            part = _resized_rows(logits, size, rows, self.protocol.align_corners)
            part = tf.nn.softmax(part) if self.protocol.ms_flip else part
            total = part if total is None else total + part
        assert total is not None  # there is always one scale
        return total / len(passes)


def _resized(images: tf.Tensor, size: Size) -> tf.Tensor:
    """Resizes uint8 images bit by bit as `runtime.resize.resize_image` does."""
    height, width = tf.unstack(tf.shape(images)[1:3])
    rows = resample.linear_row_taps(tf.range(size[0]), size[0], height)
    columns = resample.linear_column_taps(tf.range(size[1]), size[1], width)

    def resize(image: tf.Tensor) -> tf.Tensor:
        return packed.unpack(resample.mix(packed.pack(image), rows, columns))

    spec = tf.TensorSpec([None, None, 3], tf.uint8)
    return tf.map_fn(resize, images, parallel_iterations=1, fn_output_signature=spec)


def _resized_rows(
    logits: tf.Tensor, size: Size, rows: tf.Tensor, align_corners: bool
) -> tf.Tensor:
    """Resizes logits, and returns some rows, as `runtime.resize.resize_logits` does."""
    length = tf.shape(logits)[1]
    old, new = (tf.cast(side, tf.float32) for side in (length, size[0]))
    target = tf.cast(rows, tf.float32)
    if align_corners:
        source = target * ((old - 1) / tf.maximum(new - 1, 1))
    else:
        source = tf.maximum((target + 0.5) * (old / new), 0.5) - 0.5
    low = tf.minimum(tf.cast(source, tf.int32), length - 1)
    high = tf.minimum(low + 1, length - 1)
    share = (source - tf.cast(low, tf.float32))[:, tf.newaxis, tf.newaxis]
    first, second = (tf.gather(logits, index, axis=1) for index in (low, high))
    mixed = first + (second - first) * share  # (batch, rows, old width, num_classes)
    return resize_bilinear(mixed, [tf.size(rows), size[1]], align_corners)


def _spans(length: tf.Tensor, side: int, step: int) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns where windows begin, int32 `(windows,)`, and their common length."""
    count = tf.maximum(length - side + step - 1, 0) // step + 1
    stops = tf.minimum(tf.range(count) * step + side, length)
    return tf.maximum(stops - side, 0), tf.minimum(side, length)

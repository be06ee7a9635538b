"""Running a network on an image of any size, with numpy alone.

The functions take `predict`, which maps an RGB image `(height, width, 3)` to scores
`(height, width, num_classes)`; what computes it is not their business. They build on
each other: what sees an image whole or through a sliding window is a `predict` again,
which `at_scale` and `multi_scale_flip` take.
"""

from collections.abc import Callable, Iterable, Iterator

import numpy as np

Predict = Callable[[np.ndarray], np.ndarray]
# (array (height, width, channels), (new height, new width)) -> resized array
Resize = Callable[[np.ndarray, tuple[int, int]], np.ndarray]


def keep_ratio_size(height: int, width: int, scale: tuple[int, int]) -> tuple[int, int]:
    """The (height, width) an image is resized to without changing its shape.

    The larger number of `scale` bounds the long side, the smaller one the short side,
    and the image is made as large as that allows, also when that enlarges it. At least
    1 each, however thin the image.
    """
    factor = min(max(scale) / max(height, width), min(scale) / min(height, width))
    return max(int(height * factor + 0.5), 1), max(int(width * factor + 0.5), 1)


def windows(
    height: int, width: int, window: tuple[int, int], stride: tuple[int, int]
) -> Iterator[tuple[slice, slice]]:
    """Rows and columns of each window, in reading order.

    The last window of a row or column is moved back to end at the border, and an image
    smaller than the window gives a smaller window.
    """

    def spans(length: int, side: int, step: int) -> list[slice]:
        count = max(length - side + step - 1, 0) // step + 1
        stops = [min(index * step + side, length) for index in range(count)]
        return [slice(max(stop - side, 0), stop) for stop in stops]

    for rows in spans(height, window[0], stride[0]):
        for columns in spans(width, window[1], stride[1]):
            yield rows, columns


def slide(
    predict: Predict,
    image: np.ndarray,
    window: tuple[int, int],
    stride: tuple[int, int],
) -> np.ndarray:
    """Mean of the scores of overlapping windows, sizes in (height, width)."""
    height, width = image.shape[:2]
    total = None
    count = np.zeros((height, width, 1), np.float32)
    for rows, columns in windows(height, width, window, stride):
        scores = predict(image[rows, columns])
        if total is None:
            total = np.zeros((height, width, scores.shape[-1]), scores.dtype)
        total[rows, columns] += scores
        count[rows, columns] += 1
    assert total is not None  # there is always one window
    return total / count


def at_scale(
    predict: Predict,
    image: np.ndarray,
    scale: tuple[int, int],
    resize_image: Resize,
    resize_scores: Resize,
) -> np.ndarray:
    """Scores at the image's own size of a `predict` that sees it scaled.

    The scores are resized a second time, as in the reference: the network's own
    enlargement goes to its input size only.
    """
    height, width = image.shape[:2]
    size = keep_ratio_size(height, width, scale)
    if size == (height, width):
        return predict(image)
    return resize_scores(predict(resize_image(image, size)), (height, width))


def multi_scale_flip(
    predict_at_scale: Callable[[Predict, tuple[int, int]], np.ndarray],
    predict: Predict,
    scales: Iterable[tuple[int, int]],
) -> np.ndarray:
    """Mean of the class *probabilities* over scales, each as it is and mirrored.

    The protocol of mmsegmentation 0.x, whose published "ms+flip" numbers it gives.

    Args:
        predict_at_scale: scores of the image through a `predict`, at a scale.
        predict: scores of an image as it is.
        scales: such as those of `scales_of`.
    """
    total = None
    passes = 0
    for scale in scales:
        for each in (predict, lambda image: predict(image[:, ::-1])[:, ::-1]):
            probabilities = softmax(predict_at_scale(each, scale))
            total = probabilities if total is None else total + probabilities
            passes += 1
    if total is None:
        raise ValueError("multi_scale_flip needs at least one scale. Received: none")
    return total / passes


def scales_of(scale: tuple[int, int], ratios: Iterable[float]) -> list[tuple[int, int]]:
    """`scale` times each ratio, rounded down as mmsegmentation 0.x does."""
    return [(int(scale[0] * ratio), int(scale[1] * ratio)) for ratio in ratios]


def softmax(scores: np.ndarray) -> np.ndarray:
    """Probabilities over the last axis."""
    powers = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)

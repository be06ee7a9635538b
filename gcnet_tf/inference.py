"""Running a network on an image of any size, with numpy alone.

The functions take `predict`, which maps an RGB image `(height, width, 3)` to scores
`(height, width, num_classes)`; what computes it is not their business.
"""

from collections.abc import Callable, Iterator

import numpy as np

Predict = Callable[[np.ndarray], np.ndarray]


def keep_ratio_size(height: int, width: int, scale: tuple[int, int]) -> tuple[int, int]:
    """The (height, width) an image is resized to without changing its shape.

    The larger number of `scale` bounds the long side, the smaller one the short side,
    and the image is made as large as that allows, also when that enlarges it. At least
    1 each, however thin the image.
    """
    factor = min(max(scale) / max(height, width), min(scale) / min(height, width))
    return max(int(height * factor + 0.5), 1), max(int(width * factor + 0.5), 1)


def whole(predict: Predict, image: np.ndarray) -> np.ndarray:
    """Scores of the image seen at once."""
    return predict(image)


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
            total = np.zeros((height, width, scores.shape[-1]), np.float32)
        total[rows, columns] += scores
        count[rows, columns] += 1
    assert total is not None  # there is always one window
    return total / count

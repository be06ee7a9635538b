"""Validation images as inputs of exported files."""

from collections.abc import Iterator
from itertools import islice
from typing import NamedTuple

import cv2
import numpy as np

from gcnet_tf.config import Config
from gcnet_tf.data.catalog import IGNORE_LABEL
from gcnet_tf.data.records.pinned import pinned
from gcnet_tf.data.records.shards import read_manifest
from gcnet_tf.data.stream.pipeline import evaluation_samples
from gcnet_tf.runtime.images import padded
from gcnet_tf.runtime.resize import resize_image
from gcnet_tf.runtime.windows import keep_ratio_size

SPLIT = "val"


class Sample(NamedTuple):
    """An input of the network, and its truth: 255 where padded or not labelled."""

    image: np.ndarray
    label: np.ndarray
    valid: tuple[slice, slice]


def read_samples(
    config: Config, colour: tuple[int, int, int], size: tuple[int, int], count: int
) -> Iterator[Sample]:
    """Yields images of the split, spread over it, as inputs of a size.

    Args:
        config: names the records, see `data.records`.
        colour: RGB of the padding.
        size: (height, width) of the inputs.
        count: largest number of images.
    """
    total = read_manifest(config.data.records, SPLIT).num_samples
    with pinned(config, [SPLIT]) as reading:
        samples = evaluation_samples(reading, SPLIT)
        chosen = islice(samples, 0, None, max(total // count, 1))
        for sample in islice(chosen, count):
            yield framed(sample["image"], sample["label"], size, colour)


def framed(
    image: np.ndarray,
    label: np.ndarray,
    size: tuple[int, int],
    colour: tuple[int, int, int],
) -> Sample:
    """Scales an image and its truth so that they fit into a size, and pads them."""
    height, width = keep_ratio_size(image.shape[0], image.shape[1], size, size)
    canvas = padded(resize_image(image, (height, width))[None], size, colour)[0]
    truth = np.full(size, IGNORE_LABEL, np.uint8)
    truth[:height, :width] = cv2.resize(
        label, (width, height), interpolation=cv2.INTER_NEAREST
    )
    return Sample(canvas, truth, (slice(height), slice(width)))

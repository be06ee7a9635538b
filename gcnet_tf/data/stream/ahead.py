"""Decoding of samples ahead of their use, with a bound on the memory."""

from collections.abc import Callable, Iterable, Iterator
from functools import cache
from io import BytesIO
from typing import Any, TypedDict

import numpy as np
import tensorflow as tf
from PIL import Image

from gcnet_tf.data.records.shards import decode_sample, parse_example
from gcnet_tf.data.records.threads import threads

# Bytes of decoded samples that wait. tf.data would decode as many at once as there are
# cores, and keep as many again, however large they are.
_BYTES_AHEAD = 256 * 2**20
# Small samples take more time to hand over than memory.
_MOST_AHEAD = 64


class EvaluationSample(TypedDict):
    """A decoded sample at its original size."""

    image: np.ndarray
    """uint8 RGB (height, width, 3)"""
    label: np.ndarray
    """uint8 (height, width)"""
    name: bytes


def decoded_ahead(
    records: Iterable[bytes], bytes_ahead: int = _BYTES_AHEAD
) -> Iterator[EvaluationSample]:
    """Decodes records in order, on all cores, while the caller uses the samples.

    Args:
        records: serialized records.
        bytes_ahead: limit on the bytes of all samples that are being decoded or wait;
            a single sample may be larger.

    Raises:
        tf.errors.OpError: when a record cannot be read or decoded.
    """
    with threads(None, _MOST_AHEAD, _decoded_bytes, bytes_ahead) as in_order:
        yield from in_order(_decode(), records)


@cache
def _decode() -> Callable[[bytes], EvaluationSample]:
    @tf.function(input_signature=[tf.TensorSpec([], tf.string)], autograph=False)
    def sample_of(serialized: tf.Tensor) -> dict[str, Any]:
        with tf.device("CPU:0"):  # a GPU would get the image only to send it back
            return decode_sample(parse_example(serialized))

    def decode(record: bytes) -> EvaluationSample:
        sample = sample_of(record)
        return EvaluationSample(
            image=sample["image"].numpy(),
            label=sample["label"].numpy(),
            name=sample["name"].numpy(),
        )

    return decode


def _decoded_bytes(record: bytes) -> int:
    """Reads how large the image and the label of a record are; 0 if it is damaged."""
    try:
        example = tf.train.Example.FromString(record)
        (encoded,) = example.features.feature["image"].bytes_list.value
        with Image.open(BytesIO(encoded)) as image:
            return 4 * image.width * image.height
    except Exception:  # whatever the decoders of protobuf and Pillow raise
        return 0

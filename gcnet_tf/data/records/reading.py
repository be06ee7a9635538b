"""Reading of records from any byte of a file on, which `TFRecordDataset` cannot."""

import tensorflow as tf


def records_from(
    path: str | tf.Tensor, offset: int | tf.Tensor, buffer_size: int
) -> tf.data.Dataset:
    """Reads the serialized records of a file from a byte on.

    To be called in a function of another data set, such as `flat_map`'s. TensorFlow
    would rebuild an outermost one before it runs, and forget the byte there: "3 inputs
    specified of 4".

    Args:
        path: the TFRecord file.
        offset: first byte of a record, at most the size of the file.
        buffer_size: number of bytes that are read at once.
    """
    variant = tf.raw_ops.TFRecordDatasetV2(
        filenames=[path],
        compression_type="",
        buffer_size=buffer_size,
        byte_offsets=tf.cast([offset], tf.int64),
        metadata="",
    )
    return tf.data.experimental.from_variant(variant, tf.TensorSpec([], tf.string))

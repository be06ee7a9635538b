"""Records as they are read: from any byte of a file on, their schema, decoding."""

import tensorflow as tf

_SCHEMA = {
    **{key: tf.io.FixedLenFeature([], tf.string) for key in ("image", "label", "name")},
    # Absent where it is 1, as in all records of older versions.
    "orientation": tf.io.FixedLenFeature([], tf.int64, default_value=1),
}


def records_from(
    path: str | tf.Tensor, offset: int | tf.Tensor, buffer_size: int
) -> tf.data.Dataset:
    """Reads the serialized records of a file from a byte on.

    `TFRecordDataset` cannot. To be called in a function of another data set, such as
    `flat_map`'s. TensorFlow would rebuild an outermost one before it runs, and forget
    the byte there: "3 inputs specified of 4".

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


def parse_example(serialized: tf.Tensor) -> dict[str, tf.Tensor]:
    """Splits a record into its features, without decoding them.

    Args:
        serialized: scalar string, one record.

    Returns:
        Scalar strings: "image", an encoded JPEG or PNG; "label", an encoded 8-bit grey
        PNG of training ids; "name". A scalar int64: "orientation", the EXIF orientation
        of the image's pixels.
    """
    return tf.io.parse_single_example(serialized, _SCHEMA)


def decode_sample(example: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
    """Decodes the features that `parse_example` returns.

    Args:
        example: the features.

    Returns:
        "image": uint8 (height, width, 3) upright RGB, the same values as from
            Pillow and cv2;
        "label": uint8 (height, width), training ids, 255 where ignored;
        "name": scalar string.
    """
    encoded = example["image"]
    image = tf.cond(
        tf.io.is_jpeg(encoded),
        # TensorFlow's default, the fast transform, is up to 5 levels off.
        lambda: tf.io.decode_jpeg(encoded, channels=3, dct_method="INTEGER_ACCURATE"),
        lambda: tf.io.decode_png(encoded, channels=3),
    )
    image = upright(image, example["orientation"])
    image.set_shape([None, None, 3])
    # channels=1 gives the ids because a stored label is a grey PNG; a palette PNG would
    # give the brightness of its colours.
    label = tf.io.decode_png(example["label"], channels=1)
    return {"image": image, "label": label[:, :, 0], "name": example["name"]}


def upright(image: tf.Tensor, orientation: tf.Tensor) -> tf.Tensor:
    """Turns and mirrors (height, width, 3) as an EXIF orientation from 1 to 8 says."""

    def turned():
        # Of pixels that are transposed first, where the orientation says so.
        transposed = tf.cond(
            orientation > 4, lambda: tf.transpose(image, (1, 0, 2)), lambda: image
        )
        backwards = [
            tf.reduce_any(tf.equal(orientation, values))
            for values in ((3, 4, 7, 8), (2, 3, 6, 7))
        ]
        # Slices of negative steps would take four times as long.
        return tf.reverse(transposed, tf.boolean_mask([0, 1], backwards))

    return tf.cond(orientation > 1, turned, lambda: image)

"""Other ways to build the input pipeline, to be measured beside the one in use.

All of them read the same records with the same seeds, so that the random choices are
the same, and with them the work.
"""

from functools import partial

import tensorflow as tf

from gcnet_tf.config import Config
from gcnet_tf.data.records import shards
from gcnet_tf.data.stream import augmentation, packed, photometric, render, resample
from gcnet_tf.data.stream.pipeline import crop_settings, sample_batches

# Upsampling a JPEG's colours needs neighbours from outside the box, in pixels.
_MARGIN = 2


def dataset(config: Config, name: str) -> tf.data.Dataset:
    """Builds the training stream in one of the other ways.

    Args:
        config: configuration of the data and the augmentation.
        name: one of `LEADS`.
    """
    render_crop = _RENDERERS[name]

    def make_sample(example, seed):
        decoded = shards.decode_sample(example)
        label = decoded["label"]
        plan = augmentation.make_plan(label, seed, **crop_settings(config.augment))
        # TensorFlow drops the decoding where the file's bytes are taken instead.
        image, label = render_crop(example["image"], decoded["image"], label, plan)
        size = config.augment.crop_size
        image.set_shape((*size, 3))
        label.set_shape(size)
        return {"image": image, "label": label, "valid_size": plan.valid_size}

    return sample_batches(config, make_sample)


def _whole_image(encoded, image, label, plan):
    """Enlarges the whole image and then crops, as the reference does."""
    height, width = tf.unstack(plan.full_size)
    full_window = render.make_window(
        tf.range(height), tf.range(width), plan.full_size, tf.shape(label)
    )
    pixels = packed.pack(image)
    pixels = resample.mix(pixels, full_window.row_taps, full_window.column_taps)
    label = tf.gather(label, full_window.label_rows)
    label = tf.gather(label, full_window.label_columns, axis=1)

    (top, left), (bottom, right) = (
        tf.unstack(corner) for corner in (plan.corner, plan.corner + plan.valid_size)
    )
    pixels, label = pixels[top:bottom, left:right], label[top:bottom, left:right]
    pixels, label = tf.cond(
        plan.flip, lambda: (pixels[:, ::-1], label[:, ::-1]), lambda: (pixels, label)
    )
    pixels = _distort_op_by_op(pixels, plan.distortion)
    rows, columns = tf.unstack(tf.shape(plan.window.label_rows)[0] - plan.valid_size)
    return (
        tf.pad(packed.unpack(pixels), ((0, rows), (0, columns), (0, 0))),
        tf.pad(label, ((0, rows), (0, columns)), constant_values=255),
    )


def _op_by_op(encoded, image, label, plan):
    """Runs the functions that are in use, without compiling them."""
    image, label, window = render.needed_region(image, label, plan.window)
    pixels = resample.mix(packed.pack(image), window.row_taps, window.column_taps)
    return render.finish(_distort_op_by_op(pixels, plan.distortion), label, window)


def _distort_op_by_op(pixels, distortion):
    for applies, step, amount in photometric.steps_of(distortion):
        change = partial(step, pixels, amount)
        pixels = tf.cond(applies, change, partial(tf.identity, pixels))
    return pixels


def _colours_first(encoded, image, label, plan):
    """Changes colours before enlarging: of fewer pixels, with other rounding."""
    image, label, window = render.needed_region(image, label, plan.window)
    pixels = photometric.distort_packed(packed.pack(image), plan.distortion)
    return render.render_region(pixels, label, window, None)


def _cropping_decoder(encoded, image, label, plan):
    """Decodes only the part of a JPEG that the crop needs."""
    rows, _, row_taps, label_rows = render.needed_lines(
        plan.window.row_taps, plan.window.label_rows
    )
    columns, _, column_taps, label_columns = render.needed_lines(
        plan.window.column_taps, plan.window.label_columns
    )
    left = tf.maximum(columns.start - _MARGIN, 0)
    right = tf.minimum(columns.stop + _MARGIN, tf.shape(label)[1])
    box = tf.stack([rows.start, left, rows.stop - rows.start, right - left])
    image = tf.image.decode_and_crop_jpeg(
        encoded, box, channels=3, dct_method="INTEGER_ACCURATE"
    )[:, columns.start - left :]
    window = render.Window(row_taps, column_taps, label_rows, label_columns)
    label = label[rows, columns.start : right]
    return render.render(image, label, window, plan.distortion)


def _no_colours(encoded, image, label, plan):
    """Leaves the colours to the training step, and does the rest."""
    return render.render(image, label, plan.window, None)


def _scaled_decoder(encoded, image, label, plan):
    """Decodes images at half the size if they shrink to that or less; other pixels."""
    shrunk = tf.reduce_all(2 * plan.full_size <= tf.shape(label))
    image = tf.cond(
        shrunk,
        lambda: tf.io.decode_jpeg(
            encoded, channels=3, ratio=2, dct_method="INTEGER_ACCURATE"
        ),
        lambda: image,
    )
    image.set_shape((None, None, 3))
    step = tf.where(shrunk, 2, 1)
    label = label[::step, ::step]
    label.set_shape((None, None))
    height, width = plan.window.label_rows.shape[0], plan.window.label_columns.shape[0]
    top, left = tf.unstack(plan.corner)
    num_rows, num_columns = tf.unstack(plan.valid_size)
    window = render.make_window(
        resample.window_positions(top, num_rows, height),
        resample.window_positions(left, num_columns, width, plan.flip),
        plan.full_size,
        tf.shape(label),
    )
    return render.render(image, label, window, plan.distortion)


_RENDERERS = {
    "whole image, op by op": _whole_image,
    "needed region, op by op": _op_by_op,
    "colours before enlarging": _colours_first,
    "cropping decoder": _cropping_decoder,
    "scaled decoder": _scaled_decoder,
    "colours on the device": _no_colours,
}
LEADS = tuple(_RENDERERS)

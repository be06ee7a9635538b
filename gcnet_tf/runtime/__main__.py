"""Segments one image without TensorFlow: writes its class ids as a palette PNG.

python -m gcnet_tf.runtime model_int8.tflite photo.jpg labels.png
"""

import argparse
import io
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
from PIL import Image

from gcnet_tf.errors import UserError
from gcnet_tf.runtime.image_files import read_image
from gcnet_tf.runtime.predictor import Palette, Predictor


def main(argv: Sequence[str] | None = None) -> int:
    description, example = (__doc__ or "").strip().split("\n\n")
    parser = argparse.ArgumentParser(
        prog="python -m gcnet_tf.runtime",
        description=description,
        epilog=f"Example: {example}",
    )
    parser.add_argument("model", type=Path, help="a .tflite or .onnx file")
    parser.add_argument("image", type=Path, help="the image to segment")
    parser.add_argument("out", type=Path, help="the PNG to write")
    args = parser.parse_args(argv)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # The name of a file may be any bytes.
            stream.reconfigure(errors="backslashreplace")
    try:
        _check_out(args.out, args.image)
        predictor = Predictor(args.model)
        labels = predictor.labels(read_image(args.image))
        _write(args.out, _palette_png(labels, predictor.palette))
    except UserError as error:
        print(f"Error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("Interrupted; nothing was written.", file=sys.stderr)
        return 130
    classes = np.bincount(labels.ravel())
    shares = [
        f"{predictor.classes[index]} {classes[index] / labels.size:.1%}"
        for index in np.flatnonzero(classes)
    ]
    print(f"Wrote {args.out}: {', '.join(shares)}")
    return 0


def _check_out(out: Path, image: Path) -> None:
    if out.suffix.lower() != ".png":
        raise UserError(f"Received {out} to write; allowed: a name that ends in .png.")
    if out.is_dir() or (out.exists() and image.exists() and out.samefile(image)):
        what = "is a folder" if out.is_dir() else "is the image itself"
        raise UserError(f"{out} {what}; name another file for the class ids.")


def _palette_png(labels: np.ndarray, palette: Palette) -> bytes:
    """Encodes class ids, uint8 (height, width), as the indices of a palette PNG."""
    image = Image.fromarray(labels)
    image.putpalette([channel for colour in palette for channel in colour])
    content = io.BytesIO()
    image.save(content, "png")
    return content.getvalue()


def _write(out: Path, content: bytes) -> None:
    """Writes a file as a whole or not at all."""
    partial = out.with_name(f"partial-{out.name}")
    try:
        partial.write_bytes(content)
        os.replace(partial, out)
    except OSError as error:
        with suppress(OSError):
            partial.unlink()
        raise UserError(
            f"Cannot write {out}: {error.strerror}. Name a file in a folder that is "
            "there and has space."
        ) from error


if __name__ == "__main__":
    sys.exit(main())

"""MediaPipe's side of `make mediapipe`, in MediaPipe's own environment.

    python segment.py FOLDER

With each `*.tflite` in the folder it segments image.npy, RGB uint8, and writes
NAME.npz: `labels`, the names of the classes, `mask` uint8 `(height, width)`,
`confidences` float32 `(height, width, num_classes)`, and `metadata`, ours and that of
MediaPipe's writer, as JSON.
"""

import sys
import zipfile
from pathlib import Path

import mediapipe
import numpy as np
from mediapipe.tasks.python import BaseOptions, vision


def segment(model: Path, image: np.ndarray) -> dict[str, np.ndarray]:
    """Runs a file as it is, and returns the classes' labels, mask and confidences."""
    options = vision.ImageSegmenterOptions(
        base_options=BaseOptions(model_asset_path=str(model)),
        output_category_mask=True,
        output_confidence_masks=True,
    )
    with vision.ImageSegmenter.create_from_options(options) as segmenter:
        picture = mediapipe.Image(
            image_format=mediapipe.ImageFormat.SRGB, data=np.ascontiguousarray(image)
        )
        result = segmenter.segment(picture)
        height, width = image.shape[:2]
        masks = [mask.numpy_view() for mask in result.confidence_masks]
        return {
            "labels": np.array(segmenter.labels),
            "mask": result.category_mask.numpy_view().reshape(height, width).copy(),
            "confidences": np.stack(
                [mask.reshape(height, width) for mask in masks], axis=-1
            ),
        }


def metadata(model: Path, labels: list[str]) -> list[str]:
    """Returns our metadata and that of MediaPipe's writer; [] without a writer."""
    try:
        from mediapipe.tasks.python.metadata import metadata as reader
        from mediapipe.tasks.python.metadata.metadata_writers import (
            image_segmenter,
            metadata_writer,
        )
    except ImportError:
        return []
    model_bytes = bytearray(model.read_bytes())
    ours = image_segmenter.convert_to_json(reader.get_metadata_buffer(model_bytes))
    # The writer adds the archive of labels behind the model again, so it is removed.
    with zipfile.ZipFile(model) as archive:
        del model_bytes[archive.infolist()[0].header_offset :]
    writer = image_segmenter.MetadataWriter.create(
        model_bytes,
        [0.0],
        [1.0],
        metadata_writer.Labels().add(labels),
        image_segmenter.Activation.SOFTMAX,
    )
    return [ours, writer.populate()[1]]


def main(folder: Path) -> None:
    print(f"mediapipe {mediapipe.__version__}")
    image = np.load(folder / "image.npy")
    for model in sorted(folder.glob("*.tflite")):
        arrays = segment(model, image)
        arrays["metadata"] = np.array(metadata(model, arrays["labels"].tolist()))
        np.savez(folder / f"{model.stem}.npz", **arrays)


if __name__ == "__main__":
    main(Path(sys.argv[1]))

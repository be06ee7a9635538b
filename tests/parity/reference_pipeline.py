"""Worker that runs the reference's training pipeline for `scripts/benchmark.py`.

    python tests/parity/reference_pipeline.py ROOT [--core N]

ROOT/train/{images,labels} holds JPEGs and label PNGs of the same names. See
scripts/benchmarks/workers.py for the protocol. Stream "uint8" has mmsegmentation's
steps for VOC up to the uint8 crop; "normalised" has the same batches, stacked,
normalised and padded by its data preprocessor. It is a single process with single
threads.

Needs the environment of tests/parity/requirements.txt.
"""

import argparse
import itertools
import os
import sys
from pathlib import Path

import cv2
import numpy as np
import reference
import torch
from mmcv.transforms import Compose
from reference import MODELS, TRANSFORMS
from reference_protocol import run_pipeline

# Both sides use our clock; these modules import no TensorFlow.
sys.path[:0] = [str(Path(__file__).parents[2] / part) for part in ("", "scripts")]
from benchmarks.workers import serve  # noqa: E402

BATCH_SIZE = 16
# Augmentations of mmsegmentation 1.2.2's configs/_base_/datasets/pascal_voc12.py.
VOC = {
    "base_scale": (2048, 512),
    "ratio_range": (0.5, 2.0),
    "crop_size": (512, 512),
    "category_max_ratio": 0.75,
    "flip_probability": 0.5,
    "photometric_distortion": True,
}


def training_pipeline(
    base_scale,
    ratio_range,
    crop_size,
    category_max_ratio,
    flip_probability,
    photometric_distortion,
) -> Compose:
    """Builds the steps of the published rows, with numbers named as in `augment`."""
    resize = {"scale": tuple(base_scale), "ratio_range": tuple(ratio_range)}
    crop = {"crop_size": tuple(crop_size), "cat_max_ratio": category_max_ratio}
    steps = [
        {"type": "LoadImageFromFile"},
        {"type": "LoadAnnotations"},
        {"type": "RandomResize", **resize, "keep_ratio": True},
        {"type": "RandomCrop", **crop},
        {"type": "RandomFlip", "prob": flip_probability},
        *([{"type": "PhotoMetricDistortion"}] if photometric_distortion else []),
        {"type": "PackSegInputs"},
    ]
    return Compose([TRANSFORMS.build(step) for step in steps])


def pairs_of(split: Path) -> list[tuple[Path, Path]]:
    """Lists the images of a folder with images/ and labels/, and their label PNGs."""
    images = sorted((split / "images").iterdir())
    return [(image, split / "labels" / f"{image.stem}.png") for image in images]


def samples(root: Path):
    """Yields transformed samples without end, in the order of a shuffled list."""
    pipeline, pairs = training_pipeline(**VOC), pairs_of(root / "train")
    order = np.random.default_rng(0).permutation(len(pairs))
    for index in itertools.cycle(order):
        yield run_pipeline(pipeline, *pairs[index])


def normalised(stream):
    """Yields the batches of a stream after they went through the data preprocessor."""
    preprocessor = MODELS.build(
        {
            "type": "SegDataPreProcessor",
            "mean": reference.MEAN,
            "std": reference.STANDARD_DEVIATION,
            "bgr_to_rgb": True,
            "pad_val": 0,
            "seg_pad_val": 255,
            "size": VOC["crop_size"],
        }
    )
    for batch in stream:
        data = {key: [sample[key] for sample in batch] for key in batch[0]}
        inputs = preprocessor(data, training=True)["inputs"]
        assert inputs.shape == (BATCH_SIZE, 3, *VOC["crop_size"])
        yield batch


def batches(root: Path):
    """Yields batches of transformed samples without end."""
    stream = samples(root)
    while True:
        yield list(itertools.islice(stream, BATCH_SIZE))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("root", type=Path)
    parser.add_argument("--core", type=int)
    args = parser.parse_args()
    if args.core is not None:
        os.sched_setaffinity(0, {args.core})
    torch.set_num_threads(1)
    cv2.setNumThreads(0)
    np.random.seed(0)
    streams = {
        "uint8": batches(args.root),
        "normalised": normalised(batches(args.root)),
    }
    serve({name: lambda s=stream: len(next(s)) for name, stream in streams.items()})


if __name__ == "__main__":
    main()

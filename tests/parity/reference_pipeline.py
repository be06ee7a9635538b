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

# Both sides use our clock; these modules import no TensorFlow.
sys.path[:0] = [str(Path(__file__).parents[2] / part) for part in ("", "scripts")]
from benchmarks.workers import serve  # noqa: E402

BATCH_SIZE = 16
CROP_SIZE = (512, 512)
# The steps of mmsegmentation 1.2.2's configs/_base_/datasets/pascal_voc12.py, in order.
STEPS = [
    {"type": "LoadImageFromFile"},
    {"type": "LoadAnnotations"},
    {
        "type": "RandomResize",
        "scale": (2048, 512),
        "ratio_range": (0.5, 2.0),
        "keep_ratio": True,
    },
    {"type": "RandomCrop", "crop_size": CROP_SIZE, "cat_max_ratio": 0.75},
    {"type": "RandomFlip", "prob": 0.5},
    {"type": "PhotoMetricDistortion"},
    {"type": "PackSegInputs"},
]


def samples(root: Path):
    """Yields transformed samples without end, in the order of a shuffled list."""
    pipeline = Compose([TRANSFORMS.build(step) for step in STEPS])
    files = sorted((root / "train" / "images").glob("*.jpg"))
    order = np.random.default_rng(0).permutation(len(files))
    for index in itertools.cycle(order):
        image = files[index]
        label = root / "train" / "labels" / f"{image.stem}.png"
        yield pipeline(
            {
                "img_path": str(image),
                "seg_map_path": str(label),
                "reduce_zero_label": False,
                "seg_fields": [],
            }
        )


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
            "size": CROP_SIZE,
        }
    )
    for batch in stream:
        data = {key: [sample[key] for sample in batch] for key in batch[0]}
        inputs = preprocessor(data, training=True)["inputs"]
        assert inputs.shape == (BATCH_SIZE, 3, *CROP_SIZE)
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

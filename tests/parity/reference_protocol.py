"""The reference's evaluation of images: its own test pipeline, test step and metric."""

from pathlib import Path

import numpy as np
import torch
from mmcv.transforms import Compose
from reference import IoUMetric, SegTTAModel

_LOAD = {"type": "LoadImageFromFile"}
_PACK = {"type": "PackSegInputs"}


def single_pipeline(
    scale: tuple[int, int], reduce_zero_label: bool | None = False
) -> Compose:
    """Builds a pipeline of one pass.

    Args:
        scale: (width, height), within which the image keeps its proportions.
        reduce_zero_label: whether classes begin at id 1; None where the data set says.
    """
    return Compose([_LOAD, _resize(scale), _label(reduce_zero_label), _PACK])


def ms_flip_pipeline(
    scales: list[tuple[int, int]], reduce_zero_label: bool | None = False
) -> Compose:
    """Builds a pipeline of a pass and a mirrored one at each of the scales."""
    resizes = [_resize(scale) for scale in scales]
    flips = [{"type": "RandomFlip", "prob": prob} for prob in (0.0, 1.0)]
    transforms = [resizes, flips, [_label(reduce_zero_label)], [_PACK]]
    return Compose([_LOAD, {"type": "TestTimeAug", "transforms": transforms}])


def run_pipeline(pipeline: Compose, image: Path, label: Path) -> dict:
    """Reads an image and its label, and transforms them."""
    return pipeline(
        {
            "img_path": str(image),
            "seg_map_path": str(label),
            "reduce_zero_label": False,
            "seg_fields": [],
        }
    )


def test_step(model, data: dict):
    """Collates the output of a pipeline as the data loader does, and predicts.

    Returns:
        the batch, and the predicted sample.
    """
    if isinstance(data["inputs"], list):
        batch = {key: [[value] for value in data[key]] for key in data}
        return batch, SegTTAModel(model).test_step(batch)[0]
    batch = {key: [data[key]] for key in data}
    return batch, model.test_step(batch)[0]


def new_metric(classes) -> IoUMetric:
    """Makes an empty metric for these classes."""
    metric = IoUMetric(prefix="val")
    metric.dataset_meta = {"classes": tuple(classes)}
    return metric


def areas_of(model, pipeline: Compose, pairs, classes) -> list:
    """Predicts images one by one; returns the areas of each, for `metrics_of`.

    Args:
        model: a segmentor in evaluation mode.
        pipeline: what `single_pipeline` or `ms_flip_pipeline` builds.
        pairs: files of images and labels.
        classes: names of the classes.
    """
    metric = new_metric(classes)
    with torch.inference_mode():
        for pair in pairs:
            batch, result = test_step(model, run_pipeline(pipeline, *pair))
            metric.process(batch, [result.to_dict()])
    return metric.results


def metrics_of(results) -> dict[str, np.ndarray]:
    """Returns IoU, Acc and aAcc of all images as unrounded fractions.

    Args:
        results: areas of each image, see `IoUMetric.intersect_and_union`.
    """
    # The reference adds areas in float32, which loses pixels of large data sets.
    totals = [torch.stack(areas).double().sum(dim=0) for areas in zip(*results)]
    return IoUMetric.total_area_to_metrics(*totals)


def _resize(scale: tuple[int, int]) -> dict:
    return {"type": "Resize", "scale": tuple(scale), "keep_ratio": True}


def _label(reduce_zero_label: bool | None) -> dict:
    return {"type": "LoadAnnotations", "reduce_zero_label": reduce_zero_label}

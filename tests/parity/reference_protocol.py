"""How the reference scores images: its own test pipeline, test step and metric."""

from pathlib import Path

import numpy as np
import torch
from mmcv.transforms import Compose
from reference import IoUMetric, SegTTAModel

_LOAD = {"type": "LoadImageFromFile"}
_LABEL = {"type": "LoadAnnotations", "reduce_zero_label": False}
_PACK = {"type": "PackSegInputs"}


def single_pipeline(scale: tuple[int, int]) -> Compose:
    """One pass, at (width, height) `scale` with the image's proportions."""
    return Compose([_LOAD, _resize(scale), _LABEL, _PACK])


def ms_flip_pipeline(scales: list[tuple[int, int]]) -> Compose:
    """A pass and a mirrored one at each of the scales."""
    resizes = [_resize(scale) for scale in scales]
    flips = [{"type": "RandomFlip", "prob": prob} for prob in (0.0, 1.0)]
    return Compose(
        [
            _LOAD,
            {"type": "TestTimeAug", "transforms": [resizes, flips, [_LABEL], [_PACK]]},
        ]
    )


def run_pipeline(pipeline: Compose, image: Path, label: Path) -> dict:
    return pipeline(
        {
            "img_path": str(image),
            "seg_map_path": str(label),
            "reduce_zero_label": False,
            "seg_fields": [],
        }
    )


def test_step(model, data: dict):
    """What a pipeline gave as the data loader collates it, and its prediction."""
    if isinstance(data["inputs"], list):
        batch = {key: [[each] for each in data[key]] for key in data}
        return batch, SegTTAModel(model).test_step(batch)[0]
    batch = {key: [data[key]] for key in data}
    return batch, model.test_step(batch)[0]


def new_metric(classes) -> IoUMetric:
    metric = IoUMetric(prefix="val")
    metric.dataset_meta = {"classes": tuple(classes)}
    return metric


def scores_of(metric: IoUMetric) -> dict[str, np.ndarray]:
    """IoU, Acc and aAcc as unrounded fractions, of all that was processed."""
    # Added in float64: the reference's float32 loses pixels in large data sets.
    areas = [torch.stack(each).double().sum(dim=0) for each in zip(*metric.results)]
    return IoUMetric.total_area_to_metrics(*areas)


def _resize(scale: tuple[int, int]) -> dict:
    return {"type": "Resize", "scale": tuple(scale), "keep_ratio": True}

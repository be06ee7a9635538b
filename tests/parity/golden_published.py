"""Golden mIoU of published rows: the reference's data sets, pipeline and metric."""

import tempfile
from pathlib import Path

import miniature
import numpy as np
import reference
import torch
from drawn import state_checksum
from mmcv.transforms import Compose
from mmengine.config import Config, ConfigDict
from mmengine.model import revert_sync_batchnorm
from reference import DATASETS, MODELS
from reference_live import config_files, fit_classifier
from reference_protocol import (
    metrics_of,
    ms_flip_pipeline,
    new_metric,
    single_pipeline,
    test_step,
)

WEIGHTS_SEED = 41
# Rows of each data set and inference mode, by our names.
ROWS = {
    "voc_r50_20k": "gcnet_r50-d8_4xb4-20k_voc12aug-512x512",
    "ade20k_r50_80k": "gcnet_r50-d8_4xb4-80k_ade20k-512x512",
    "cityscapes_r50_769x769_40k": "gcnet_r50-d8_4xb2-40k_cityscapes-769x769",
}
# Narrow networks and small scales, so that a row takes a second.
BASE_CHANNELS, HEAD_CHANNELS, AUX_CHANNELS = 8, 64, 32
SCALE = (96, 64)
WINDOW, STRIDE = (49, 49), (33, 33)
RATIOS = (0.5, 0.75, 1.0, 1.25, 1.5, 1.75)


def published_rows() -> dict[str, np.ndarray]:
    """Evaluates miniature data sets by the configuration files of the reference."""
    arrays = {
        "scale": np.array(SCALE),
        "window": np.array(WINDOW),
        "stride": np.array(STRIDE),
        "ratios": np.array(RATIOS),
        "channels": np.array([BASE_CHANNELS, HEAD_CHANNELS, AUX_CHANNELS]),
    }
    for row, name in ROWS.items():
        config = Config.fromfile(config_files()[name])
        model = _narrow(config)
        state = reference.load_drawn(model, WEIGHTS_SEED, double=False)
        model.eval()
        arrays[f"{row}/weights_seed"] = np.array(WEIGHTS_SEED)
        arrays[f"{row}/weights_checksum"] = np.float64(state_checksum(state))
        shapes = (f"{key} {value.shape}" for key, value in state.items())
        arrays[f"{row}/shapes"] = np.array("\n".join(shapes))
        with tempfile.TemporaryDirectory() as folder:
            root = Path(folder)
            _write_tree(row, root)
            dataset = _dataset(config, root)
            _fit(model, dataset)
            classifier = model.decode_head.conv_seg
            arrays[f"{row}/conv_seg.weight"] = classifier.weight.detach().numpy()
            arrays[f"{row}/conv_seg.bias"] = classifier.bias.detach().numpy()
            scales = [(int(SCALE[0] * r), int(SCALE[1] * r)) for r in RATIOS]
            for mode, pipeline in (
                ("single", single_pipeline(SCALE, None)),
                ("ms_flip", ms_flip_pipeline(scales, None)),
            ):
                metrics = _evaluate(model, dataset, pipeline)
                arrays[f"{row}/{mode}/iou"] = metrics["IoU"]
                arrays[f"{row}/{mode}/miou"] = np.nanmean(metrics["IoU"])
    return arrays


def _narrow(config: Config) -> torch.nn.Module:
    """Builds the model of a configuration file with fewer channels."""
    config.model.pretrained = None
    backbone, head = config.model.backbone, config.model.decode_head
    backbone.base_channels = backbone.stem_channels = BASE_CHANNELS
    head.in_channels, head.channels = 32 * BASE_CHANNELS, HEAD_CHANNELS
    auxiliary = config.model.auxiliary_head
    auxiliary.in_channels, auxiliary.channels = 16 * BASE_CHANNELS, AUX_CHANNELS
    if config.model.test_cfg.mode == "slide":
        config.model.test_cfg = ConfigDict(
            mode="slide", crop_size=WINDOW, stride=STRIDE
        )
    config.model.data_preprocessor.size = None
    return revert_sync_batchnorm(MODELS.build(config.model))


def _write_tree(row: str, root: Path) -> None:
    if row.startswith("cityscapes"):
        miniature.cityscapes(root, train_ids=True)
    else:
        miniature.TREES["ade20k" if row.startswith("ade") else "voc12aug"](root)


def _dataset(config: Config, root: Path):
    settings = dict(config.test_dataloader.dataset)
    return DATASETS.build({**settings, "data_root": str(root), "pipeline": []})


def _fit(model, dataset) -> None:
    """Fits the classifier, so that predictions depend on what an image shows."""
    pipeline = single_pipeline(SCALE, None)
    samples = [pipeline(dataset.get_data_info(index)) for index in range(len(dataset))]
    test_cfg, model.test_cfg = model.test_cfg, ConfigDict(mode="whole")
    fit_classifier(model, samples, len(dataset.metainfo["classes"]))
    model.test_cfg = test_cfg


@torch.no_grad()
def _evaluate(model, dataset, pipeline: Compose) -> dict:
    metric = new_metric(dataset.metainfo["classes"])
    for index in range(len(dataset)):
        batch, result = test_step(model, pipeline(dataset.get_data_info(index)))
        metric.process(batch, [result.to_dict()])
    return metrics_of(metric.results)

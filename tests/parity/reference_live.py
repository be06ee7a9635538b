"""The reference in its own process, for checks at full width and on real images.

    python tests/parity/reference_live.py list
    python tests/parity/reference_live.py config NAME FOLDER
    python tests/parity/reference_live.py miou FOLDER --images DIR --labels DIR

`list` prints the published configurations of GCNet and NLNet, a name per line. `config`
builds the model of one of them; `miou` evaluates a narrow model on real images with the
reference's own test pipeline. Both write FOLDER/checkpoint.pth in the layout of a
published 0.x file and FOLDER/reference.npz, described at `published_model` and
`evaluate_images`.

Needs the environment of tests/parity/requirements.txt.
"""

import argparse
import re
import time
from collections.abc import Iterable
from pathlib import Path

import mmseg
import numpy as np
import reference
import torch
from drawn import draw_image
from mmcv.transforms import Compose
from mmengine.config import Config, ConfigDict
from mmengine.model import revert_sync_batchnorm
from reference import DATASETS, MODELS
from reference_protocol import (
    metrics_of,
    ms_flip_pipeline,
    new_metric,
    run_pipeline,
    single_pipeline,
    test_step,
)

Arrays = dict[str, np.ndarray]

CONFIGS = Path(mmseg.__file__).parent / ".mim" / "configs"
MODELS_COMPARED = ("gcnet", "nonlocal_net")
WEIGHTS_SEED = 21
IMAGE_SEED = 22
IMAGE_SIZE = (129, 193)
# Size of a Cityscapes image in the 769 models, for which the windows are listed.
WINDOWS_SIZE = (1025, 2049)


def config_files() -> dict[str, Path]:
    """Lists the published configuration files by name."""
    folders = (CONFIGS / name for name in MODELS_COMPARED)
    return {
        path.stem: path for folder in folders for path in sorted(folder.glob("*.py"))
    }


def config_names() -> list[str]:
    return list(config_files())


# --- one published model --------------------------------------------------------------


def published_model(name: str) -> tuple[dict, Arrays]:
    """Builds the model of a configuration file at full width, with drawn weights.

    Returns:
        The checkpoint and, as arrays: `image` uint8 RGB (129, 193, 3); `logits` float32
        and `logits_float64`, both (129, 193, classes), of the whole image at its size
        and from the same float32 weights; the model's facts (`num_parameters` with and
        `num_inference_parameters` without the auxiliary head, `num_classes`, `classes`,
        `palette`, `align_corners`, `test_mode`); the run's facts (`learning_rate`,
        `momentum`, `weight_decay`, `power`, `minimum_rate`, `iterations`,
        `batch_per_gpu`, `batch`, `crop_size` as (height, width), `train_scale`,
        `ratio_range`, `category_max_ratio`, `test_scale`, `reduce_zero_label`); and
        when `test_mode` is "slide", `window`, `stride` and `windows`, int (n, 4): top,
        bottom, left, right of each window of a (1025, 2049) image, in order.
    """
    config = Config.fromfile(config_files()[name])
    config.model.pretrained = None
    model = revert_sync_batchnorm(MODELS.build(config.model)).eval()
    # Every row has other weights, so that interchanged files cannot agree.
    seed = WEIGHTS_SEED + config_names().index(name)
    reference.load_drawn(model, seed, double=False)
    facts = _facts(name, config, model)
    checkpoint = published_checkpoint(
        model, facts["classes"], facts["palette"], config.pretty_text
    )

    image = draw_image(IMAGE_SEED, *IMAGE_SIZE)
    logits = whole_logits(model, image)
    windows = {}
    if model.test_cfg.mode == "slide":
        windows = {
            "window": np.array(model.test_cfg.crop_size),
            "stride": np.array(model.test_cfg.stride),
            "windows": slide_windows(model, *WINDOWS_SIZE),
        }
    reference.normalise_exactly(model.double())
    arrays = {
        "image": image,
        "logits": logits,
        "logits_float64": whole_logits(model, image),
        **{key: np.array(value) for key, value in facts.items()},
        **windows,
    }
    return checkpoint, arrays


def _facts(name: str, config: Config, model) -> dict:
    """Returns the facts of the model and of its run, see `published_model`."""
    optimizer = config.optim_wrapper.optimizer
    schedule = config.param_scheduler[0]
    train = {step.type: step for step in config.train_pipeline}
    test = {step.type: step for step in config.test_pipeline}
    meta = DATASETS.get(config.dataset_type).METAINFO
    num_parameters = _count(model)
    batch = config.train_dataloader.batch_size
    # Only the name tells the number of devices, as in "4xb2".
    devices = re.search(r"_(\d+)xb(\d+)", name)
    assert devices and int(devices[2]) == batch
    return {
        "name": name,
        "num_classes": model.decode_head.num_classes,
        "classes": meta["classes"],
        "palette": meta["palette"],
        "num_parameters": num_parameters,
        "num_inference_parameters": num_parameters - _count(model.auxiliary_head),
        "align_corners": model.align_corners,
        "test_mode": model.test_cfg.mode,
        "learning_rate": optimizer.lr,
        "momentum": optimizer.momentum,
        "weight_decay": optimizer.weight_decay,
        "power": schedule.power,
        "minimum_rate": schedule.eta_min,
        "iterations": config.train_cfg.max_iters,
        "batch_per_gpu": batch,
        "batch": batch * int(devices[1]),
        "crop_size": train["RandomCrop"].crop_size,
        "category_max_ratio": train["RandomCrop"].cat_max_ratio,
        "train_scale": train["RandomResize"].scale,
        "ratio_range": train["RandomResize"].ratio_range,
        "test_scale": test["Resize"].scale,
        "reduce_zero_label": test["LoadAnnotations"].get("reduce_zero_label", False),
    }


def _count(module: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def whole_logits(model, image: np.ndarray) -> np.ndarray:
    """Computes the whole image's logits (height, width, classes) in any test mode."""
    inputs = reference.normalised(model, image)
    with torch.no_grad():
        logits = model.whole_inference(inputs, [{"img_shape": image.shape[:2]}])
    return reference.to_numpy(logits)[0]


def slide_windows(model, height: int, width: int) -> np.ndarray:
    """Lists the windows that slide_inference cuts, from pixels that hold positions."""
    rows = torch.arange(height).view(1, 1, -1, 1).expand(1, 1, height, width)
    columns = torch.arange(width).view(1, 1, 1, -1).expand(1, 1, height, width)
    positions = torch.cat([rows, columns], dim=1).float()
    windows = []

    def record(crop, metas):
        (top, left), (bottom, right) = crop[0, :, 0, 0], crop[0, :, -1, -1]
        windows.append([int(top), int(bottom) + 1, int(left), int(right) + 1])
        return crop[:, :1]

    original, out_channels = model.encode_decode, model.out_channels
    model.encode_decode, model.out_channels = record, 1
    try:
        model.slide_inference(positions, [{}])
    finally:
        model.encode_decode, model.out_channels = original, out_channels
    return np.array(windows)


def published_checkpoint(model, classes, palette, config_text: str) -> dict:
    """Returns the content of a published 0.x file, with a copy of the state dict."""
    state = model.state_dict()
    for key in state:
        state[key] = state[key].clone()
    meta = {
        "mmseg_version": "0.5.0+b57fb2b",
        "mmcv_version": "0.6.0",
        "time": "Sat Jun 13 18:58:06 2020",
        "config": config_text,
        "CLASSES": list(classes),
        "PALETTE": [list(color) for color in palette],
        "epoch": 1,
        "iter": 20000,
    }
    return {"meta": meta, "state_dict": state}


# --- metrics on real images -----------------------------------------------------------

CAMVID = ("sky", "building", "pole", "road", "pavement", "tree")
CAMVID += ("sign_symbol", "fence", "car", "pedestrian", "bicyclist")
SCALE = (512, 256)
WINDOW, STRIDE = (193, 193), (129, 129)
RATIOS = (0.5, 0.75, 1.0, 1.25, 1.5, 1.75)
# Number of images to which the classifier is fitted.
NUM_FITTED = 8


def evaluate_images(images: Path, labels: Path, count: int) -> tuple[dict, Arrays]:
    """Evaluates a narrow R50 by three protocols.

    The model has base and stem channels 8, head 64, aux 32, 11 classes, ratio 1/4,
    align_corners False and no dropout. Its weights are drawn, but the classifier is
    fitted to the first images, so that predictions depend on what an image shows.

    Returns:
        The checkpoint and, as arrays: `names` (n,) stems of the images, `classes`,
        `scale`, `window`, `stride` (height, width), `ratios`, `scales` (6, 2) of
        ms_flip; and for each protocol P of whole, slide, ms_flip: `P/labels` uint8
        (n, height, width), predictions at the images' own size (equal for all images);
        `P/iou`, `P/accuracy` (11,), `P/miou`, `P/macc`, `P/aacc`, unrounded fractions
        over all images. For whole and slide `P/margins` float16 (n, height, width), the
        difference of the best and the second best logit.
    """
    model = reference.build_segmentor(50, 8, 64, 32, len(CAMVID))
    reference.load_drawn(model, WEIGHTS_SEED, double=False)
    model.eval()
    pairs = _spread(images, labels, count)
    pipeline = single_pipeline(SCALE)
    fitted = [run_pipeline(pipeline, *pair) for pair in pairs[:NUM_FITTED]]
    fit_classifier(model, fitted, len(CAMVID))
    scales = [(int(SCALE[0] * ratio), int(SCALE[1] * ratio)) for ratio in RATIOS]
    arrays: Arrays = {
        "names": np.array([image.stem for image, _ in pairs]),
        "classes": np.array(CAMVID),
        "scale": np.array(SCALE),
        "window": np.array(WINDOW),
        "stride": np.array(STRIDE),
        "ratios": np.array(RATIOS),
        "scales": np.array(scales),
    }
    single = single_pipeline(SCALE)
    slide = {"mode": "slide", "crop_size": WINDOW, "stride": STRIDE}
    for protocol, test_cfg, pipeline in (
        ("whole", {"mode": "whole"}, single),
        ("slide", slide, single),
        ("ms_flip", {"mode": "whole"}, ms_flip_pipeline(scales)),
    ):
        start = time.perf_counter()
        model.test_cfg = ConfigDict(test_cfg)
        for key, value in _evaluate(model, pipeline, pairs).items():
            arrays[f"{protocol}/{key}"] = value
        seconds = time.perf_counter() - start
        miou = 100 * float(arrays[f"{protocol}/miou"])
        print(f"{protocol}: mIoU {miou:.4f}, {seconds:.1f} s", flush=True)
    text = "# drawn weights, tests/parity/reference_live.py\n"
    palette = [[20 * index, 255 - 20 * index, 60] for index in range(len(CAMVID))]
    return published_checkpoint(model, CAMVID, palette, text), arrays


def _spread(images: Path, labels: Path, count: int) -> list[tuple[Path, Path]]:
    """Lists `count` (image, label) pairs, evenly spread over the folder."""
    paths = sorted(path for path in images.iterdir() if path.suffix in {".jpg", ".png"})
    indices = np.linspace(0, len(paths) - 1, count).astype(int)
    pairs = [(paths[index], labels / f"{paths[index].stem}.png") for index in indices]
    missing = [str(label) for _, label in pairs if not label.is_file()]
    if missing:
        raise SystemExit(f"no label {missing[0]}")
    return pairs


@torch.no_grad()
def _evaluate(model, pipeline: Compose, pairs: list[tuple[Path, Path]]) -> Arrays:
    """Returns labels, metrics and, after a single pass, margins of all images."""
    metric = new_metric(CAMVID)
    maps, margins = [], []
    for pair in pairs:
        batch, result = test_step(model, run_pipeline(pipeline, *pair))
        # After several passes only labels are left.
        if not isinstance(batch["inputs"][0], list):
            best = result.seg_logits.data.topk(2, dim=0).values
            margins.append((best[0] - best[1]).half().numpy())
        maps.append(result.pred_sem_seg.data.squeeze().numpy().astype(np.uint8))
        metric.process(batch, [result.to_dict()])
    metrics = metrics_of(metric.results)
    arrays = {
        "labels": np.stack(maps),
        "iou": metrics["IoU"],
        "accuracy": metrics["Acc"],
        "miou": np.nanmean(metrics["IoU"]),
        "macc": np.nanmean(metrics["Acc"]),
        "aacc": metrics["aAcc"],
    }
    return {**arrays, "margins": np.stack(margins)} if margins else arrays


@torch.no_grad()
def fit_classifier(model, samples: Iterable[dict], num_classes: int) -> None:
    """Fits conv_seg by least squares, with the same weight for every class.

    Args:
        model: a model in the mode "whole".
        samples: outputs of a pipeline, with labels.
        num_classes: number of classes.
    """
    recorded = []
    hook = model.decode_head.conv_seg.register_forward_pre_hook(
        lambda module, inputs: recorded.append(inputs[0])
    )
    features, truths = [], []
    for data in samples:
        test_step(model, data)
        feature = recorded.pop()[0]
        truth = data["data_samples"].gt_sem_seg.data[None].float()
        small = torch.nn.functional.interpolate(truth, size=feature.shape[1:])
        features.append(feature.flatten(1).T.double())
        truths.append(small.flatten().long())
    hook.remove()
    inputs, truth = torch.cat(features), torch.cat(truths)
    inputs, truth = inputs[truth != 255], truth[truth != 255]
    inputs = torch.cat([inputs, torch.ones(len(inputs), 1)], dim=1)
    targets = torch.nn.functional.one_hot(truth, num_classes).double()
    weights = 1 / targets.sum(dim=0).clamp(min=1)[truth, None]
    moments = inputs.T @ (weights * inputs)
    ridge = 1e-3 * moments.diagonal().mean() * torch.eye(len(moments))
    solution = torch.linalg.solve(moments + ridge, inputs.T @ (weights * targets))
    # After a softmax targets of 0 and 1 would be nearly equal; 0 and 10 are not.
    solution = (10 * solution).T.float()
    conv = model.decode_head.conv_seg
    conv.weight.data = solution[:, :-1, None, None].contiguous()
    conv.bias.data = solution[:, -1].contiguous()


# --- command line ---------------------------------------------------------------------


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("list")
    config = commands.add_parser("config")
    config.add_argument("name")
    config.add_argument("folder", type=Path)
    miou = commands.add_parser("miou")
    miou.add_argument("folder", type=Path)
    miou.add_argument("--images", type=Path, required=True)
    miou.add_argument("--labels", type=Path, required=True)
    miou.add_argument("--count", type=int, default=24)
    arguments = parser.parse_args()
    names = config_names()
    if arguments.command == "list":
        print("\n".join(names))
        return
    zipped = True
    if arguments.command == "config":
        if arguments.name not in names:
            parser.error(f"no configuration '{arguments.name}'; see `list`")
        # Rows alternate between both containers; published files have the old one.
        zipped = names.index(arguments.name) % 2 == 1
        checkpoint, arrays = published_model(arguments.name)
    else:
        checkpoint, arrays = evaluate_images(
            arguments.images, arguments.labels, arguments.count
        )
    arguments.folder.mkdir(parents=True, exist_ok=True)
    torch.save(
        checkpoint,
        arguments.folder / "checkpoint.pth",
        _use_new_zipfile_serialization=zipped,
    )
    arrays["versions"] = np.array(reference.versions())
    np.savez_compressed(arguments.folder / "reference.npz", **arrays)


if __name__ == "__main__":
    main()

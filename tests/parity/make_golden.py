"""Writes tests/golden/*.npz, numbers that the reference itself computes.

    python tests/parity/make_golden.py            all files, about half a minute
    python tests/parity/make_golden.py context    one of them

Needs the environment of tests/parity/requirements.txt. Running it twice gives the same
arrays, which tests/golden/README.md describes.
"""

import argparse
import copy
import warnings
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from unittest import mock

import golden_family
import golden_losses
import golden_published
import mmcv
import numpy as np
import reference
import torch
from drawn import checksum, draw_image, draw_label, draw_normal, state_checksum
from golden_family import INPUT_SEED, WEIGHTS_SEED
from mmengine.optim import PolyLR, build_optim_wrapper
from reference import (
    MODELS,
    TRANSFORMS,
    ContextBlock,
    IoUMetric,
    resize,
    to_numpy,
    to_torch,
)
from reference_protocol import metrics_of

Arrays = dict[str, np.ndarray]

FOLDER = Path(__file__).resolve().parent.parent / "golden"
# Rows and columns of large maps that are stored, so that the files stay small.
THIN = (slice(None, None, 2), slice(None, None, 2))


# --- context block --------------------------------------------------------------------

CONTEXT_VARIANTS = {
    "att_add": ("att", ("channel_add",)),
    "att_mul": ("att", ("channel_mul",)),
    "att_both": ("att", ("channel_add", "channel_mul")),
    "avg_both": ("avg", ("channel_add", "channel_mul")),
}


def context() -> Arrays:
    """Computes the variants of the global context block."""
    shape = (2, 7, 9, 16)
    inputs = draw_normal("input", shape, INPUT_SEED)
    weighting = draw_normal("weighting", shape, INPUT_SEED)
    arrays: Arrays = {"input_checksum": np.float64(checksum([inputs, weighting]))}
    for name, (pooling, fusions) in CONTEXT_VARIANTS.items():
        block = ContextBlock(16, 0.25, pooling, fusions)
        state = reference.load_drawn(block, WEIGHTS_SEED, "decode_head.gc_block.")
        arrays[f"{name}/weights_checksum"] = np.float64(state_checksum(state))
        leaf = to_torch(inputs).requires_grad_()
        outputs = block(leaf)
        (outputs * to_torch(weighting)).sum().backward()
        arrays[f"{name}/output"] = to_numpy(outputs)
        arrays[f"{name}/input_gradient"] = to_numpy(leaf.grad)
        for key, parameter in block.named_parameters():
            arrays[f"{name}/gradient/{key}"] = parameter.grad.numpy()
        single = block.float()(to_torch(inputs).float())
        arrays[f"{name}/output_float32"] = to_numpy(single)
    return arrays


# --- backbone and heads ---------------------------------------------------------------


def backbone() -> Arrays:
    """Computes the stages of ResNets of all depths."""
    inputs = draw_normal("input", (1, 33, 49, 3), INPUT_SEED)
    arrays: Arrays = {"input_checksum": np.float64(checksum([inputs]))}
    for depth in (18, 34, 50, 101):
        module = MODELS.build(reference.backbone_config(depth, 4))
        state = reference.load_drawn(module, WEIGHTS_SEED, "backbone.")
        arrays[f"{depth}/weights_checksum"] = np.float64(state_checksum(state))
        module.eval()
        with torch.no_grad():
            stages = module(to_torch(inputs))
        for index, stage in enumerate(stages, start=1):
            arrays[f"{depth}/stage{index}"] = to_numpy(stage)
    return arrays


def heads() -> Arrays:
    """Computes both heads alone."""
    arrays: Arrays = {}
    configs = {
        "gc": ("decode_head.", reference.gc_head_config(32, 16, 5)),
        "fcn": ("auxiliary_head.", reference.fcn_head_config(16, 8, 5)),
    }
    for name, (prefix, config) in configs.items():
        features = draw_normal(
            f"{name} features", (2, 7, 9, config["in_channels"]), INPUT_SEED
        )
        arrays[f"{name}/input_checksum"] = np.float64(checksum([features]))
        head = MODELS.build(config)
        state = reference.load_drawn(head, WEIGHTS_SEED, prefix)
        arrays[f"{name}/weights_checksum"] = np.float64(state_checksum(state))
        stages = [None] * config["in_index"] + [to_torch(features)]
        with torch.no_grad():
            arrays[f"{name}/eval_logits"] = to_numpy(head.eval()(stages))
            arrays[f"{name}/train_logits"] = to_numpy(head.train()(stages))
        for key, value in head.state_dict().items():
            if "running" in key:
                arrays[f"{name}/after/{prefix}{key}"] = value.numpy()
    return arrays


# --- whole model ----------------------------------------------------------------------

SIZE = (65, 97)
OTHER_SIZE = (57, 83)
SCALE = (130, 65)
RATIOS = (0.5, 0.75, 1.0, 1.25, 1.5, 1.75)
TEST_MODES = {
    "whole": {"mode": "whole"},
    "slide": {"mode": "slide", "crop_size": (33, 41), "stride": (22, 23)},
}
# Published models have align_corners False for whole images, and True for windows.
PUBLISHED = {"whole": False, "slide": True}


def segmentor() -> Arrays:
    """Computes the whole model in all test modes."""
    image = draw_image(INPUT_SEED, *SIZE)
    other = draw_image(INPUT_SEED, *OTHER_SIZE)
    arrays: Arrays = {
        "input_checksum": np.float64(checksum([image])),
        "other_checksum": np.float64(checksum([other])),
    }
    for mode in TEST_MODES:
        for align_corners in (False, True):
            model = _eval_model(mode, align_corners, arrays)
            name = f"{mode}/align_corners_{align_corners}".lower()
            logits = to_numpy(reference.infer(model, image))[0]
            arrays[f"{name}/logits"] = logits[THIN]
            arrays[f"{name}/logits_float32"] = to_numpy(
                reference.infer(copy.deepcopy(model).float(), image)
            )[0][THIN]
            if align_corners != PUBLISHED[mode]:
                continue
            resized = _resized(other, SCALE)
            logits = resize(
                reference.infer(model, resized),
                size=OTHER_SIZE,
                mode="bilinear",
                align_corners=align_corners,
            )
            arrays[f"{mode}/two_step/logits"] = to_numpy(logits)[0][THIN]
            arrays["two_step/resized_size"] = np.array(resized.shape[:2])
            arrays["two_step/resized_image"] = resized
            probabilities = _ms_flip(model, other)
            arrays[f"{mode}/ms_flip/probabilities"] = probabilities[THIN]
            labels = probabilities.argmax(axis=-1).astype(np.uint8)
            arrays[f"{mode}/ms_flip/labels"] = labels
    with torch.no_grad():
        stride8 = model._forward(reference.normalised(model, image))
    arrays["stride8_logits"] = to_numpy(stride8)[0]
    images = [_resized(other, scale) for scale in _scales()]
    arrays["ms_flip/scales"] = np.array(_scales())
    arrays["ms_flip/resized_sizes"] = np.array([pixels.shape[:2] for pixels in images])
    arrays["ms_flip/resized_crc32"] = np.array(
        [zlib.crc32(pixels.tobytes()) for pixels in images], np.uint32
    )
    return arrays


def _eval_model(mode: str, align_corners: bool, arrays: Arrays):
    """Builds the model for a test mode, and notes the checksum of its weights."""
    model = reference.build_segmentor(
        50, 4, 16, 8, 5, align_corners, test_cfg=TEST_MODES[mode]
    )
    state = reference.load_drawn(model, WEIGHTS_SEED)
    arrays["weights_checksum"] = np.float64(state_checksum(state))
    return model.eval()


def _scales() -> list[tuple[int, int]]:
    """Applies the ratios to the test scale, as the published 0.x; 1.x to the image."""
    return [(int(SCALE[0] * ratio), int(SCALE[1] * ratio)) for ratio in RATIOS]


def _resized(image: np.ndarray, scale: tuple[int, int]) -> np.ndarray:
    """Resizes an RGB image as the test pipeline does (OpenCV treats channels alike)."""
    transform = TRANSFORMS.build({"type": "Resize", "scale": scale, "keep_ratio": True})
    return transform({"img": image})["img"]


def _ms_flip(model, image: np.ndarray) -> np.ndarray:
    """Returns the mean softmax at the original size over 12 passes, as in 0.x."""
    total = torch.zeros(())
    for scale in _scales():
        resized = _resized(image, scale)
        for flipped in (False, True):
            view = mmcv.imflip(resized) if flipped else resized
            logits = resize(
                reference.infer(model, view),
                size=image.shape[:2],
                mode="bilinear",
                align_corners=model.align_corners,
                warning=False,
            )
            probabilities = logits.softmax(dim=1)
            total = total + (probabilities.flip(3) if flipped else probabilities)
    return to_numpy(total / (2 * len(RATIOS)))[0]


# --- losses ---------------------------------------------------------------------------


def losses() -> Arrays:
    """Computes the losses of both heads and their gradients."""
    num_classes = 4
    decode = 3 * draw_normal("decode logits", (2, 5, 7, num_classes), INPUT_SEED)
    aux = 3 * draw_normal("aux logits", (2, 5, 7, num_classes), INPUT_SEED)
    drawn = np.stack(
        [draw_label(INPUT_SEED + index, 33, 49, num_classes) for index in range(2)]
    )
    labels = {"drawn": drawn, "ignored": np.full_like(drawn, 255)}
    one_ignored = drawn.copy()
    one_ignored[0] = 255
    labels["one_ignored"] = one_ignored
    arrays: Arrays = {"input_checksum": np.float64(checksum([decode, aux, drawn]))}
    for name, batch in labels.items():
        samples = [reference.data_sample(label) for label in batch]
        for align_corners in (False, True):
            corners = {"align_corners": align_corners}
            config = reference.gc_head_config(8, 4, num_classes)
            decode_head = MODELS.build({**config, **corners})
            config = reference.fcn_head_config(8, 4, num_classes)
            aux_head = MODELS.build({**config, **corners})
            leaves = [to_torch(decode).requires_grad_(), to_torch(aux).requires_grad_()]
            head_losses = [
                head.loss_by_feat(leaf, samples)["loss_ce"]
                for head, leaf in zip((decode_head, aux_head), leaves)
            ]
            total = head_losses[0] + head_losses[1]
            total.backward()
            prefix = f"{name}/align_corners_{align_corners}".lower()
            arrays[f"{prefix}/decode"] = head_losses[0].detach().numpy()
            arrays[f"{prefix}/aux"] = head_losses[1].detach().numpy()
            arrays[f"{prefix}/total"] = total.detach().numpy()
            arrays[f"{prefix}/decode_gradient"] = to_numpy(leaves[0].grad)
            arrays[f"{prefix}/aux_gradient"] = to_numpy(leaves[1].grad)
    return arrays


# --- learning rate --------------------------------------------------------------------

# docs/reference.md, section 4: T, then t = 1, T / 2 and T - 1, each 0.x and 1.x.
RATE_TABLE = (
    (20000, 9.99955449888623e-3, 9.999554476610004e-3)
    + (5.405278639554652e-3, 5.4050398894814064e-3, 1.0133262574e-4, 1e-4),
    (40000, 9.999777249721559e-3, 9.999777244152656e-3)
    + (5.405278639554652e-3, 5.405159267651549e-3, 1.0071413645e-4, 1e-4),
    (80000, 9.99988862493039e-3, 9.999888623538183e-3)
    + (5.405278639554652e-3, 5.405218954386312e-3, 1.0038269625e-4, 1e-4),
    (160000, 9.999944312482597e-3, 9.99994431213455e-3)
    + (5.405278639554652e-3, 5.405248797165972e-3, 1.0020508184e-4, 1e-4),
)


def schedule() -> Arrays:
    """Computes learning rates, after checking both forms against the table."""
    for iterations, *expected in RATE_TABLE:
        steps = [1, iterations // 2, iterations - 1]
        rates = np.stack(
            [_rates(iterations, end)[steps] for end in (iterations + 1, iterations)],
            axis=1,
        )
        np.testing.assert_allclose(rates.ravel(), expected, rtol=1e-10)
    steps = np.array([0, 1, 2, 100, 5000, 9999, 10000, 15000, 19998, 19999])
    return {
        "rates_10": _rates(10, 11),
        "rates_137": _rates(137, 138),
        "steps_20000": steps,
        "rates_20000": _rates(20000, 20001)[steps],
        "rates_10_head_times_10": _rates(10, 11, lr=0.1),
    }


def _rates(iterations: int, end: int, lr: float = 0.01) -> np.ndarray:
    """Returns the rates that mmengine's own scheduler sets before each iteration.

    The scheduler divides by end - 1: with `end` = T this is the 1.x schedule, and with
    T + 1 exactly the 0.x one. The rates are float64.
    """
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=lr)
    optimizer.step()
    scheduler = PolyLR(
        optimizer, eta_min=1e-4, power=0.9, begin=0, end=end, by_epoch=False
    )
    rates = []
    for _ in range(iterations):
        rates.append(optimizer.param_groups[0]["lr"])
        scheduler.step()
    return np.array(rates)


# --- metrics --------------------------------------------------------------------------


def metrics() -> Arrays:
    """Computes the metrics of some edge cases."""
    num_classes = 4
    label = draw_label(INPUT_SEED, 24, 32, num_classes)
    prediction = draw_label(INPUT_SEED + 1, 24, 32, num_classes)
    # Every class is predicted correctly in places.
    prediction[:, ::3] = label[:, ::3]
    prediction[prediction == 255] = 0
    single = np.where(label == 255, 255, 2).astype(np.uint8)
    cases = {
        "all_classes": (label, prediction),
        "absent_class": (_without(label, 1), _without(prediction, 1)),
        "predicted_not_labelled": (_without(label, 3), prediction),
        "labelled_not_predicted": (label, _without(prediction, 3)),
        "single_class": (single, np.full_like(prediction, 2)),
        "all_ignored": (np.full_like(label, 255), prediction),
        "perfect": (label, np.where(label == 255, 0, label).astype(np.uint8)),
    }
    arrays: Arrays = {"num_classes": np.array(num_classes)}
    for name, pair in cases.items():
        arrays.update(_metrics(name, [pair], num_classes))
        arrays[f"{name}/label"], arrays[f"{name}/prediction"] = pair
    # The areas of all images are added before they are divided.
    pairs = [cases[name] for name in ("all_classes", "absent_class", "single_class")]
    arrays.update(_metrics("three_images", pairs, num_classes))
    return arrays


def _without(ids: np.ndarray, absent: int) -> np.ndarray:
    """Replaces a class by class 0."""
    return np.where(ids == absent, 0, ids).astype(np.uint8)


def _metrics(name: str, pairs: list, num_classes: int) -> Arrays:
    """Returns the metrics of all pairs of labels and predictions, unrounded."""
    areas = [
        IoUMetric.intersect_and_union(
            torch.from_numpy(prediction.astype(np.int64)),
            torch.from_numpy(label.astype(np.int64)),
            num_classes,
            255,
        )
        for label, prediction in pairs
    ]
    values = metrics_of(areas)
    with warnings.catch_warnings():
        # The mean of no class is NaN, as it should be.
        warnings.simplefilter("ignore", RuntimeWarning)
        means = [np.nanmean(values["IoU"]), np.nanmean(values["Acc"])]
    return {
        f"{name}/iou": values["IoU"],
        f"{name}/accuracy": values["Acc"],
        f"{name}/miou": np.float64(means[0]),
        f"{name}/macc": np.float64(means[1]),
        f"{name}/aacc": values["aAcc"],
    }


# --- training -------------------------------------------------------------------------

NUM_STEPS = 4
ITERATIONS = 10
PAD_SIZE = (33, 49)
VALID_SIZES = ((33, 49), (27, 41))


def training() -> Arrays:
    """Computes four steps of SGD, plain and with two other settings."""
    plain = _train()
    head_times_10 = _train(paramwise={"custom_keys": {"head": {"lr_mult": 10.0}}})
    frozen = _train(frozen_stages=1)
    return {
        **plain,
        **{f"head_times_10/{key}": value for key, value in _brief(head_times_10)},
        **{f"frozen_stages_1/{key}": value for key, value in _brief(frozen)},
    }


def training_settings() -> Arrays:
    """Computes the same steps with other settings of the optimiser."""
    undecayed = {"norm_decay_mult": 0.0, "bias_decay_mult": 0.0}
    cases = {
        "no_norm_bias_decay": _train(paramwise=undecayed),
        "clipped": _train(clip_norm=0.25),
    }
    return {
        f"{name}/{key}": value
        for name, arrays in cases.items()
        for key, value in _brief(arrays)
        if not key.startswith("gradient")
    }


def _train(
    paramwise: dict | None = None,
    frozen_stages: int = -1,
    clip_norm: float | None = None,
) -> Arrays:
    """Trains four steps.

    Returns:
        losses and rates of each step, gradients of the first one, and every tensor
        after the last one.
    """
    # This ratio leaves the context 4 channels. Normalised over only 2, all values would
    # be 1 or -1, and the gradients behind them rounding noise.
    model = reference.build_segmentor(
        18, 4, 8, 8, 3, frozen_stages=frozen_stages, ratio=0.5, pad_size=PAD_SIZE
    )
    state = reference.load_drawn(model, WEIGHTS_SEED)
    model.train()
    settings = {"type": "SGD", "lr": 0.01, "momentum": 0.9, "weight_decay": 5e-4}
    wrapper = {"type": "OptimWrapper", "optimizer": settings}
    if paramwise:
        wrapper["paramwise_cfg"] = paramwise
    if clip_norm:
        wrapper["clip_grad"] = {"max_norm": clip_norm}
    optim = build_optim_wrapper(model, wrapper)
    scheduler = PolyLR(
        optim, eta_min=1e-4, power=0.9, begin=0, end=ITERATIONS + 1, by_epoch=False
    )
    images, labels = zip(*(_sample(INPUT_SEED + n, *VALID_SIZES[n]) for n in range(2)))
    arrays: Arrays = {
        "input_checksum": np.float64(checksum([*images, *labels])),
        "weights_checksum": np.float64(state_checksum(state)),
        "valid_sizes": np.array(VALID_SIZES),
    }
    history = []
    for step in range(NUM_STEPS):
        batch = model.data_preprocessor(
            {
                "inputs": [reference.bgr_tensor(image) for image in images],
                "data_samples": [reference.data_sample(label) for label in labels],
            },
            training=True,
        )
        step_losses = model.loss(batch["inputs"], batch["data_samples"])
        loss, _ = model.parse_losses(step_losses)
        optim.backward(loss)
        if step == 0:
            for key, parameter in model.named_parameters():
                if parameter.requires_grad:
                    arrays[f"gradient/{key}"] = parameter.grad.numpy().copy()
        rates = {group["lr"] for group in optim.param_groups}
        history.append(
            [
                loss.item(),
                step_losses["decode.loss_ce"].item(),
                step_losses["aux.loss_ce"].item(),
                min(rates),
                max(rates),
            ]
        )
        optim.step()
        optim.zero_grad()
        scheduler.step()
    names = ("loss", "decode_loss", "aux_loss", "rate", "head_rate")
    arrays.update(zip(names, np.array(history).T))
    for key, value in model.state_dict().items():
        if not key.endswith("num_batches_tracked"):
            arrays[f"after/{key}"] = value.numpy()
    return arrays


def _sample(seed: int, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Draws an image and its label."""
    return draw_image(seed, height, width), draw_label(seed, height, width, 3)


def _brief(arrays: Arrays) -> Iterator[tuple[str, np.ndarray]]:
    """Yields summaries of the tensors, and the other arrays as they are."""
    for group in ("gradient", "after"):
        keys = [key for key in arrays if key.startswith(f"{group}/")]
        names = [key[len(group) + 1 :] for key in keys]
        yield f"{group}_names", np.array(names)
        rows = [_summary(name, arrays[key]) for name, key in zip(names, keys)]
        yield f"{group}_summaries", np.array(rows)
    for key in ("loss", "decode_loss", "aux_loss", "rate", "head_rate"):
        yield key, arrays[key]


def _summary(name: str, array: np.ndarray) -> list[float]:
    """Returns the sum, the norm and one drawn projection of a tensor."""
    projection = draw_normal(f"projection {name}", array.shape, INPUT_SEED)
    return [
        float(array.sum()),
        float(np.sqrt(np.sum(array**2))),
        float(np.sum(array * projection)),
    ]


# --- transforms -----------------------------------------------------------------------


def transforms() -> Arrays:
    """Computes resizes, colour changes and crops."""
    return {**_resizes(), **_photometry(), **_crops()}


RESIZE_SCALES = ((64, 15), (41, 30), (90, 33), (200, 45), (70, 64))
# Height and width of an image, then the two bounds of its scale.
SIZE_CASES = (
    [(375, 500, 2048, 512), (480, 640, 2048, 512), (300, 1000, 2048, 512)]
    + [(300, 2100, 2048, 512), (1024, 2048, 2048, 1024), (1024, 2048, 2049, 1025)]
    + [(1024, 2048, 1024, 512), (500, 333, 1024, 256), (500, 333, 512, 2048)]
    + [(333, 500, 3584, 896), (281, 500, 1536, 384), (2, 4000, 2048, 512)]
    + [(97, 101, 333, 111), (683, 512, 2560, 640), (360, 480, 1333, 333)]
)


def _resizes() -> Arrays:
    image, label = draw_image(INPUT_SEED, 30, 41), draw_label(INPUT_SEED, 30, 41, 6)
    arrays: Arrays = {
        "resize/input_checksum": np.float64(checksum([image, label])),
        "resize/scales": np.array(RESIZE_SCALES),
    }
    for index, scale in enumerate(RESIZE_SCALES):
        transform = TRANSFORMS.build(
            {"type": "Resize", "scale": scale, "keep_ratio": True}
        )
        results = {"img": image, "gt_seg_map": label, "seg_fields": ["gt_seg_map"]}
        results = transform(results)
        arrays[f"resize/{index}/image"] = results["img"]
        arrays[f"resize/{index}/label"] = results["gt_seg_map"]
    sizes = [mmcv.rescale_size((w, h), (a, b))[::-1] for h, w, a, b in SIZE_CASES]
    arrays["sizes/cases"] = np.array(SIZE_CASES)
    arrays["sizes/resized"] = np.array(sizes)
    return arrays


class _Script:
    """Replacement of numpy.random in PhotoMetricDistortion, with given answers."""

    def __init__(self, coins: list[int], amounts: list[float], shifts: list[int]):
        self.coins, self.amounts, self.shifts = iter(coins), iter(amounts), iter(shifts)

    def randint(self, low: int, high: int | None = None) -> int:
        return next(self.coins) if high is None else next(self.shifts)

    def uniform(self, low: float, high: float) -> float:
        amount = next(self.amounts)
        assert low <= amount < high
        return amount


BRIGHTNESS = (-32.0, -7.25, 0.5, 31.5)
FACTORS = (0.5, 0.8125, 1.0, 1.3125, 1.46875)
HUE_SHIFTS = (-18, -1, 0, 5, 17)
# Brightness, contrast, saturation, hue shift, and 1 if contrast comes first.
CHAINS = ((12.5, 1.25, 0.75, 7, 1), (-20.0, 0.6875, 1.375, -11, 0))


def _photometry() -> Arrays:
    # With 40 columns OpenCV takes both its vector path and its scalar path.
    image = draw_image(INPUT_SEED, 24, 40)
    arrays: Arrays = {"photometric/input_checksum": np.float64(checksum([image]))}
    for name, amounts in (
        ("brightness", BRIGHTNESS),
        ("contrast", FACTORS),
        ("saturation", FACTORS),
        ("hue", HUE_SHIFTS),
    ):
        arrays[f"photometric/{name}/amounts"] = np.array(amounts)
        arrays[f"photometric/{name}/images"] = np.stack(
            [
                _distorted(image, name, _Script([1], [amount], [amount]))
                for amount in amounts
            ]
        )
    arrays["photometric/chain/amounts"] = np.array(CHAINS)
    arrays["photometric/chain/images"] = np.stack(
        [_distorted(image, "transform", _chain_script(*chain)) for chain in CHAINS]
    )
    return arrays


def _chain_script(brightness, contrast, saturation, shift, contrast_first) -> _Script:
    amounts = [brightness, contrast, saturation]
    if not contrast_first:
        amounts = [brightness, saturation, contrast]
    return _Script([1, contrast_first, 1, 1, 1], amounts, [shift])


def _distorted(image: np.ndarray, method: str, script: _Script) -> np.ndarray:
    """Runs a method of PhotoMetricDistortion; RGB in and out, BGR inside."""
    distortion = TRANSFORMS.build({"type": "PhotoMetricDistortion"})
    bgr = np.ascontiguousarray(image[:, :, ::-1])
    with mock.patch("mmseg.datasets.transforms.transforms.random", script):
        if method == "transform":
            bgr = distortion.transform({"img": bgr})["img"]
        else:
            bgr = getattr(distortion, method)(bgr)
    return np.ascontiguousarray(bgr[:, :, ::-1])


def _crops() -> Arrays:
    image, label = draw_image(INPUT_SEED, 45, 61), draw_label(INPUT_SEED, 45, 61, 3)
    # Some crops must be refused: one class is nearly everywhere, and much is ignored.
    label[:20, :30] = 1
    label[25:, 40:] = 255
    size, ratio = (16, 20), 0.75
    crop = TRANSFORMS.build(
        {"type": "RandomCrop", "crop_size": size, "cat_max_ratio": ratio}
    )
    corners = [(top, left) for top in range(0, 30, 4) for left in range(0, 42, 5)]
    box = (7, 7 + size[0], 30, 30 + size[1])
    # This box reaches out of the image, as when a side is shorter than the crop.
    large = (0, 64, 0, 50)
    flipped = TRANSFORMS.build({"type": "RandomFlip", "prob": 1.0})(
        {"img": image, "gt_seg_map": label, "seg_fields": ["gt_seg_map"]}
    )
    return {
        "crop/input_checksum": np.float64(checksum([image, label])),
        "crop/size": np.array(size),
        "crop/category_max_ratio": np.array(ratio),
        "crop/corners": np.array(corners),
        "crop/accepted": np.array(
            [_accepts(crop, label, corner) for corner in corners]
        ),
        "crop/box": np.array(box),
        "crop/image": crop.crop(image, box),
        "crop/label": crop.crop(label, box),
        "crop/large_box": np.array(large),
        "crop/large_label": crop.crop(label, large),
        "flip/image": np.ascontiguousarray(flipped["img"]),
        "flip/label": np.ascontiguousarray(flipped["gt_seg_map"]),
    }


def _accepts(crop, label: np.ndarray, corner: tuple[int, int]) -> bool:
    """Tells whether RandomCrop keeps this corner's window when it is drawn first."""
    # All later draws give a window that is none of those in question.
    answers = iter([*corner, *[1, 1] * 10])
    with mock.patch("numpy.random.randint", lambda low, high: next(answers)):
        top, _, left, _ = crop.crop_bbox({"img": label, "gt_seg_map": label})
    return (top, left) == corner


# --- files ----------------------------------------------------------------------------

FILES: dict[str, Callable[[], Arrays]] = {
    "context": context,
    "backbone": backbone,
    "heads": heads,
    "segmentor": segmentor,
    "losses": losses,
    "loss_terms": golden_losses.loss_terms,
    "schedule": schedule,
    "schedules": golden_losses.schedules,
    "metrics": metrics,
    "training": training,
    "training_settings": training_settings,
    "transforms": transforms,
    "non_local": golden_family.non_local,
    "squeeze_excitation": golden_family.squeeze_excitation,
    "family": golden_family.family,
    "published": golden_published.published_rows,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="name", help=", ".join(FILES))
    parser.add_argument("--folder", type=Path, default=FOLDER)
    arguments = parser.parse_args()
    unknown = set(arguments.names) - set(FILES)
    if unknown:
        parser.error(f"unknown: {', '.join(sorted(unknown))}; there are {[*FILES]}")
    arguments.folder.mkdir(parents=True, exist_ok=True)
    for name in arguments.names or FILES:
        origin = {
            "versions": np.array(reference.versions()),
            "command": np.array(f"python tests/parity/make_golden.py {name}"),
            "weights_seed": np.array(WEIGHTS_SEED),
            "input_seed": np.array(INPUT_SEED),
        }
        path = arguments.folder / f"{name}.npz"
        np.savez_compressed(path, **origin, **FILES[name]())
        print(f"{path.name}: {path.stat().st_size / 1024:.0f} KiB")


if __name__ == "__main__":
    main()

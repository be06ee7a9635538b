"""The reference's other losses, and its schedules of the learning rate."""

from unittest import mock

import numpy as np
import reference
import torch
from drawn import checksum, draw_label, draw_normal
from golden_family import INPUT_SEED
from mmengine.optim import (
    CosineAnnealingLR,
    LinearLR,
    MultiStepLR,
    OneCycleLR,
    PolyLR,
)
from mmseg.models.losses import CrossEntropyLoss, LovaszLoss, OhemCrossEntropy
from mmseg.models.losses.focal_loss import py_sigmoid_focal_loss
from mmseg.models.losses.huasdorff_distance_loss import (
    HuasdorffDisstanceLoss,
    compute_dtm,
    hd_loss,
)
from reference import MODELS, to_numpy, to_torch

Arrays = dict[str, np.ndarray]

NUM_CLASSES, SIZE = 4, (13, 19)
CLASS_WEIGHTS = [0.5, 2.0, 1.25, 0.75]
LOVASZ = {"type": "LovaszLoss", "reduction": "none"}


def _of_head(loss: dict, sampler: dict | None = None):
    """Returns the decode head's loss, with a sampler of pixels."""
    config = reference.gc_head_config(8, 4, NUM_CLASSES)
    head = MODELS.build({**config, "loss_decode": loss, "sampler": sampler})

    def loss_of(logits, labels):
        samples = [reference.data_sample(label) for label in labels.numpy()]
        losses = head.loss_by_feat(logits, samples)
        return losses[head.loss_decode.loss_name]

    return loss_of


def _cross_entropy(class_weight=None):
    """Returns CrossEntropyLoss, whose own divisor fails with weights and 255."""
    loss = CrossEntropyLoss(class_weight=class_weight)
    return lambda logits, labels: loss(
        logits, labels, ignore_index=255, avg_factor=labels.numel()
    )


def _smoothed(class_weight=None):
    """Returns PyTorch's label smoothing; the reference hands none to it."""

    def loss_of(logits, labels):
        weight = class_weight and torch.tensor(class_weight, dtype=torch.float64)
        return torch.nn.functional.cross_entropy(
            logits,
            labels,
            weight,
            ignore_index=255,
            reduction="none",
            label_smoothing=0.1,
        ).mean()

    return loss_of


def _mean_of_valid(class_weight):
    weight = torch.tensor(class_weight, dtype=torch.float64)
    return lambda logits, labels: torch.nn.functional.cross_entropy(
        logits, labels, weight, ignore_index=255
    )


def _focal(class_weight=None, **settings):
    """Returns the formula of FocalLoss, which hands it wrong labels on a CPU."""

    def loss_of(logits, labels):
        valid = (labels != 255).view(-1, 1)
        ids = torch.where(labels == 255, 0, labels).view(-1)
        return py_sigmoid_focal_loss(
            logits.permute(0, 2, 3, 1).reshape(-1, NUM_CLASSES),
            torch.nn.functional.one_hot(ids, NUM_CLASSES),
            class_weight=class_weight,
            valid_mask=valid,
            **settings,
        )

    return loss_of


def _lovasz(**settings):
    loss = LovaszLoss(**{"reduction": "none", **settings})
    return lambda logits, labels: loss(logits, labels, ignore_index=255)


def _of_two(loss):
    """Returns a loss of the first two classes, where others are not labelled."""

    def loss_of(logits, labels):
        return loss(logits[:, :2], torch.where(labels < 2, labels, 255))

    return loss_of


class _Weights(list):
    """Class weights that pass the reference's check, which compares `ndim`."""

    ndim = 2


def _hausdorff(class_weight=None):
    """Returns HuasdorffDisstanceLoss of each class beside all others, as one of two.

    With more classes at once it takes ids for a binary mask.
    """

    def loss_of(logits, labels):
        probabilities = logits.softmax(dim=1)
        found = probabilities.argmax(dim=1)
        total = 0
        for index in range(1, NUM_CLASSES):
            of_class = probabilities[:, index]
            pair = torch.stack([1 - of_class, of_class], dim=1)
            truth = (labels == index).long()
            value = hd_loss(
                pair,
                truth,
                seg_dtm=compute_dtm((found == index).long(), pair),
                gt_dtm=compute_dtm(truth, pair),
                class_weight=(
                    _Weights([1, class_weight[index]]) if class_weight else None
                ),
            )
            # It divides by the number of classes.
            total = total + value * 2 / NUM_CLASSES
        return total

    return loss_of


def _sampler(**settings) -> dict:
    return {"type": "OHEMPixelSampler", **settings}


CE = {"type": "CrossEntropyLoss"}
WEIGHTED_CE = {**CE, "class_weight": CLASS_WEIGHTS}
DICE, TVERSKY = {"type": "DiceLoss"}, {"type": "TverskyLoss"}
CASES = {
    "cross_entropy": _of_head(CE),
    "cross_entropy_weighted": _cross_entropy(CLASS_WEIGHTS),
    "cross_entropy_non_ignore": _of_head({**CE, "avg_non_ignore": True}),
    "cross_entropy_non_ignore_weighted": _mean_of_valid(CLASS_WEIGHTS),
    "cross_entropy_smoothed": _smoothed(),
    "cross_entropy_smoothed_weighted": _smoothed(CLASS_WEIGHTS),
    "ohem_sampler": _of_head(CE, _sampler(min_kept=60)),
    "ohem_sampler_threshold": _of_head(CE, _sampler(thresh=0.3, min_kept=2)),
    "ohem_sampler_min_kept": _of_head(CE, _sampler(thresh=0.01, min_kept=60)),
    "ohem_cross_entropy": OhemCrossEntropy(thres=0.3, min_kept=5),
    "ohem_cross_entropy_min_kept": OhemCrossEntropy(thres=0.01, min_kept=100),
    "ohem_cross_entropy_default": OhemCrossEntropy(),
    "ohem_cross_entropy_weighted": OhemCrossEntropy(
        thres=0.3, min_kept=5, class_weight=CLASS_WEIGHTS
    ),
    "focal": _focal(),
    "focal_weighted": _focal(CLASS_WEIGHTS),
    "focal_settings": _focal(gamma=0.75, alpha=0.2),
    "dice": _of_head(DICE),
    "dice_softmax": _of_head({**DICE, "use_sigmoid": False}),
    "dice_naive": _of_head({**DICE, "naive_dice": True, "eps": 0.5}),
    "tversky": _of_head(TVERSKY),
    "tversky_weighted": _of_head({**TVERSKY, "class_weight": CLASS_WEIGHTS}),
    "tversky_settings": _of_head({**TVERSKY, "alpha": 0.75, "beta": 0.25, "smooth": 3}),
    "lovasz": _lovasz(),
    "lovasz_weighted": _lovasz(class_weight=CLASS_WEIGHTS),
    "lovasz_all": _lovasz(classes="all"),
    "lovasz_per_image": _lovasz(per_image=True, reduction="mean"),
    "hausdorff": _hausdorff(),
    "hausdorff_weighted": _hausdorff(CLASS_WEIGHTS),
    "hausdorff_binary": _of_two(HuasdorffDisstanceLoss()),
}


def loss_terms() -> Arrays:
    """Computes values and gradients, with ignored pixels and an absent class."""
    logits = 3 * draw_normal("term logits", (2, *SIZE, NUM_CLASSES), INPUT_SEED)
    labels = np.stack(
        [draw_label(INPUT_SEED + index, *SIZE, NUM_CLASSES) for index in range(2)]
    )
    arrays: Arrays = {
        "input_checksum": np.float64(checksum([logits, labels])),
        "class_weights": np.array(CLASS_WEIGHTS),
    }
    absent = np.where(labels == 1, 2, labels)
    for labels_name, batch in (("drawn", labels), ("absent", absent)):
        ids = torch.from_numpy(batch.astype(np.int64))
        for name, loss_of in CASES.items():
            leaf = to_torch(logits).requires_grad_()
            # The reference turns labels into float32 on the way.
            with mock.patch.object(torch.Tensor, "float", torch.Tensor.double):
                value = loss_of(leaf, ids)
            value.backward()
            arrays[f"{labels_name}/{name}/value"] = value.detach().numpy()
            arrays[f"{labels_name}/{name}/gradient"] = to_numpy(leaf.grad)
    return arrays


# --- schedules ------------------------------------------------------------------------

RATE, LEAST, ITERATIONS, WARM_UP, FACTOR = 0.02, 1e-4, 40, 7, 0.01


def _rates(*schedulers) -> np.ndarray:
    """Returns the rates of all steps under mmengine's schedulers, driven together."""
    weight = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([weight], lr=RATE)
    together = [
        cls(optimizer, by_epoch=False, **settings) for cls, settings in schedulers
    ]
    rates = []
    for _ in range(ITERATIONS):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        for scheduler in together:
            scheduler.step()
    return np.array(rates)


def schedules() -> Arrays:
    """Computes each schedule alone and after a warm-up, in the form of 0.x.

    mmengine divides by one iteration less in its warm-up and in poly; one iteration
    more undoes it.
    """
    warm_up = (LinearLR, {"start_factor": FACTOR, "begin": 0, "end": WARM_UP + 1})
    arrays: Arrays = {
        "settings": np.array([RATE, LEAST, ITERATIONS, WARM_UP, FACTOR]),
        "milestones": np.array([10, 25]),
    }
    for name, begin, first in (("plain", 0, []), ("warm_up", WARM_UP, [warm_up])):
        poly = {"eta_min": LEAST, "power": 0.9, "begin": begin, "end": ITERATIONS + 1}
        cosine = {"eta_min": LEAST, "T_max": ITERATIONS - begin, "begin": begin}
        arrays[f"{name}/poly"] = _rates(*first, (PolyLR, poly))
        arrays[f"{name}/cosine"] = _rates(*first, (CosineAnnealingLR, cosine))
        steps = {"milestones": [10, 25], "gamma": 0.1}
        arrays[f"{name}/step"] = _rates(*first, (MultiStepLR, steps))
    cycle = {"eta_max": RATE, "total_steps": ITERATIONS}
    cycle["final_div_factor"] = RATE / 25 / LEAST
    arrays["plain/one_cycle"] = _rates((OneCycleLR, cycle))
    return arrays

"""The settings of training and evaluation."""

from typing import Any, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from gcnet_tf.config.values import (
    STRICT,
    Count,
    Factor,
    ObjectConfig,
    ObjectsOrName,
    Pixels,
    given,
)

# Settings of each loss, with the values that null in a configuration stands for, which
# are the reference's. The functions have the same names and defaults (a test compares
# them).
LOSS_SETTINGS: dict[str, dict[str, Any]] = {
    "cross_entropy": {"avg_non_ignore": False, "label_smoothing": 0.0},
    "ohem_sampler": {"threshold": None, "min_kept": 100000},
    "ohem_cross_entropy": {"threshold": 0.7, "min_kept": 100000},
    "focal": {"gamma": 2.0, "alpha": 0.5},
    "dice": {"activation": "sigmoid", "naive": False, "smooth": 1e-3},
    "tversky": {"alpha": 0.3, "smooth": 1.0},
    "lovasz": {"classes": "present", "per_image": False},
    "hausdorff": {},
}
# Losses without class weights.
UNWEIGHTED_LOSSES = ("dice",)

JOIN_TIMEOUT = 1800


@dataclass(frozen=True, config=STRICT)
class LossConfig:
    """A term of the loss; its kind decides which of the other settings it has."""

    kind: Literal[
        "cross_entropy",
        "ohem_sampler",
        "ohem_cross_entropy",
        "focal",
        "dice",
        "tversky",
        "lovasz",
        "hausdorff",
    ] = "cross_entropy"
    """cross_entropy: softmax cross-entropy; ohem_sampler and ohem_cross_entropy: that
    of the hardest pixels; focal: sigmoid focal loss; dice, tversky and lovasz: losses
    of regions; hausdorff: one of boundaries (docs/training.md). A setting that is null
    takes the kind's own value, which is the reference's."""

    weight: float = Field(default=1.0, gt=0)
    """Factor on this term."""

    avg_non_ignore: bool | None = None
    """cross_entropy: true divides by the labelled pixels, with class weights by their
    sum; null: false, by all pixels."""

    label_smoothing: float | None = Field(default=None, ge=0, lt=1)
    """cross_entropy: share of a label that all classes divide among them, as in
    PyTorch; null: 0."""

    threshold: float | None = Field(default=None, gt=0, le=1)
    """ohem_…: pixels count whose own class has a smaller probability; null:
    ohem_cross_entropy 0.7, ohem_sampler exactly min_kept pixels with the largest
    loss."""

    min_kept: int | None = Field(default=None, ge=1)
    """ohem_…: number of pixels that count at least; of ohem_sampler per image, of
    ohem_cross_entropy per replica; null: 100000."""

    gamma: float | None = Field(default=None, ge=0)
    """focal: exponent that makes easy pixels count less; null: 2."""

    alpha: float | None = Field(default=None, ge=0, le=1)
    """focal: weight of a pixel's own class beside the others; null: 0.5. tversky:
    weight of false positives, that of false negatives is 1 - alpha; null: 0.3."""

    activation: Literal["sigmoid", "softmax"] | None = None
    """dice: function from logits to probabilities; null: sigmoid."""

    naive: bool | None = None
    """dice: true sums probabilities in the denominator, false their squares; null:
    false."""

    smooth: float | None = Field(default=None, gt=0)
    """dice and tversky: added to numerator and denominator (dice: only to the latter
    unless naive); null: dice 0.001, tversky 1."""

    classes: Literal["present", "all"] | None = None
    """lovasz: classes in the mean; null: present."""

    per_image: bool | None = None
    """lovasz: true takes the mean over the images, false all images of a replica
    together; null: false."""

    def given(self) -> dict[str, Any]:
        """Returns the settings that are not null, by name."""
        return given(self, LossConfig, "kind", "weight")


@dataclass(frozen=True, config=STRICT)
class TrainConfig:
    """The schedule and the optimiser of training, and the files that it writes."""

    iterations: int = Field(default=20000, ge=1)
    """Number of optimiser steps."""

    batch_size: int = Field(default=16, ge=1)
    """Images per step over all replicas together."""

    accumulate: int = Field(default=1, ge=1)
    """Number of equal parts into which each replica divides its images of a step. Their
    gradients are summed, so that memory has to hold one part; each part is normalised
    by its own statistics."""

    learning_rate: float = Field(default=0.01, gt=0)
    """The largest learning rate: that of the first step, or after the warm-up."""

    min_learning_rate: float = Field(default=1e-4, ge=0)
    """Learning rate that the schedule approaches; at most learning_rate."""

    schedule: Literal["poly", "cosine", "step", "one_cycle"] = "poly"
    """Course of the learning rate. poly: polynomial decay; cosine: half a period of the
    cosine; step: times step_factor at each iteration of step_at; one_cycle: from 1/25
    up for 3/10 of the iterations, then down, both as a cosine."""

    poly_power: float = Field(default=0.9, gt=0)
    """poly: exponent of the decay."""

    step_at: tuple[Count, ...] = ()
    """step: iterations, in rising order, from which on the rate is lower."""

    step_factor: float = Field(default=0.1, gt=0, lt=1)
    """step: factor on the rate at each of them."""

    warmup_iterations: int = Field(default=0, ge=0)
    """Number of first iterations in which the rate rises linearly to learning_rate; the
    schedule has the others. Not for one_cycle, which has a rise of its own."""

    warmup_factor: float = Field(default=1e-6, gt=0, le=1)
    """Share of learning_rate that the warm-up begins with."""

    momentum: float = Field(default=0.9, ge=0, le=0.9999)
    """Momentum of SGD."""

    weight_decay: float = Field(default=5e-4, ge=0)
    """Factor of the weight decay: weight_decay * weight is added to the gradient, as in
    PyTorch's SGD."""

    norm_bias_decay: bool = True
    """false leaves the scales and shifts of normalisations, and all biases, out of the
    weight decay, that of a Keras optimizer as well."""

    clip_norm: float | None = Field(default=None, gt=0)
    """Largest norm of the gradient of all weights together, which is shortened to it;
    null: any. A Keras optimizer has clipnorm, global_clipnorm and clipvalue."""

    ema_momentum: float | None = Field(default=None, gt=0, lt=1)
    """Keeps an average of the weights over time, in which the older ones count so much
    (0.999, say), and which evaluations and best.weights.h5 use; null: none. A Keras
    optimizer has use_ema and ema_momentum."""

    auxiliary_weight: float = Field(default=0.4, ge=0)
    """Weight of the auxiliary head's loss."""

    class_weights: tuple[Factor, ...] | Literal["auto"] | None = None
    """Factors on the loss of a pixel, one per class in the order of the ids; auto: the
    inverse square root of the class's share of the training pixels, scaled to a mean of
    1 over the pixels; null: 1 for all, as in the reference."""

    head_lr_multiplier: float = Field(default=1.0, gt=0)
    """Factor on learning_rate for both heads; their rate decays towards the same
    min_learning_rate, which it may not begin below."""

    optimizer: ObjectConfig | None = None
    """A Keras optimizer in place of SGD. Its learning rate is that of this section; the
    momentum and the weight_decay of this section do not apply to it."""

    loss: ObjectConfig | None = None
    """A Keras loss in place of the cross-entropy. It gets class ids, which are 255
    where a pixel is not labelled, and logits; a loss that fails with 255 gets 0 there.
    A loss that returns a value per pixel counts as 0 where a pixel is not labelled."""

    losses: tuple[LossConfig, ...] = ()
    """Terms of the loss of both heads, which is their weighted sum; an empty list means
    the cross-entropy."""

    metrics: tuple[ObjectConfig, ...] = ()
    """Keras metrics that each evaluation computes in addition to its own. They get the
    true and the predicted class ids of the labelled pixels, image by image."""

    callbacks: ObjectsOrName = ()
    """Keras callbacks, or the name of one. For them, a batch is an iteration, and an
    epoch ends at each evaluation. MLflow and WandB send the run to these trackers."""

    init_from: str | None = None
    """Weights that the whole model starts from: a run folder, a .weights.h5 file, a
    .pth file of mmsegmentation, or a published row such as voc_r50_20k (downloaded
    once). The classifiers start from random weights if the number of classes differs.
    model.backbone.pretrained is not used with it."""

    init_ema: bool = False
    """Takes the second set of weights in a .pth file of init_from, which an EMA hook
    has kept in tensors named ema_* (mmcv) or in ema_state_dict (mmengine)."""

    seed: int = Field(default=0, ge=0, le=2**31 - 1)
    """Seed of the weights, the order of the images and all random changes to them."""

    precision: Literal["float32", "mixed_bfloat16", "mixed_float16", "float64"] = (
        "float32"
    )
    """Arithmetic of the network. Under mixed_…, weights and losses stay float32;
    float64 is slow and meant for comparisons."""

    tf32: bool = True
    """Lets GPUs that can (NVIDIA's from Ampere on) round the inputs of float32
    convolutions and products to 10 bits behind the point, which is several times as
    fast: in training, and when this package evaluates, predicts or exports with the
    model. false: all 23 bits, for comparisons."""

    jit_compile: bool = False
    """Lets XLA compile the training step, on one replica: it cannot synchronise the
    batch normalisation of several."""

    strategy: Literal["mirrored", "one_device", "multi_worker"] = "mirrored"
    """mirrored: one replica per GPU (or per logical CPU); one_device: a single one;
    multi_worker: every GPU or CPU of the machines that TF_CONFIG or Slurm names
    (docs/many_machines.md)."""

    logical_cpus: int = Field(default=1, ge=1, le=64)
    """Number of replicas under 'mirrored' on a machine without a GPU: the CPU is
    divided into this many devices."""

    join_timeout: int = Field(default=JOIN_TIMEOUT, ge=1, le=10**6)
    """Seconds that a worker under 'multi_worker' waits at the start for the others."""

    log_every: int = Field(default=50, ge=1)
    """Iterations between lines in the log and points in TensorBoard."""

    evaluate_every: int = Field(default=2000, ge=1)
    """Iterations between evaluations on the val split."""

    early_stopping: int | None = Field(default=None, ge=1)
    """Training ends after this many evaluations in a row without a better mIoU; null:
    never before `iterations`."""

    checkpoint_every: int = Field(default=2000, ge=1)
    """Iterations between checkpoints."""

    keep_checkpoints: int = Field(default=3, ge=1)
    """Number of checkpoints that stay on the disk, besides the best weights."""

    panels: int = Field(default=4, ge=0)
    """Images per evaluation shown in TensorBoard beside their label and prediction."""


@dataclass(frozen=True, config=STRICT)
class EvaluationConfig:
    """Inference with a trained model on images of any size."""

    scale: tuple[Pixels, Pixels] = (2048, 512)
    """Images are scaled before inference, as by augment.base_scale with the factor 1;
    metrics are computed at the original size."""

    mode: Literal["whole", "slide"] = "whole"
    """whole: the network gets the whole image at once; slide: it gets overlapping
    windows, whose logits are averaged."""

    window: tuple[Pixels, Pixels] = (769, 769)
    """[height, width] of a window in mode 'slide'."""

    stride: tuple[Pixels, Pixels] = (513, 513)
    """[vertical, horizontal] step in pixels between windows; at most the window."""

    ms_flip: bool = False
    """Averages the probabilities over several scales, each without and with a
    horizontal flip: slower and a little better. `mode` applies at every scale."""

    ratios: tuple[Factor, ...] = (0.5, 0.75, 1.0, 1.25, 1.5, 1.75)
    """Factors on `scale` that ms_flip uses, one after the other."""

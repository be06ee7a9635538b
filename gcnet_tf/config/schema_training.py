"""The settings of training and evaluation."""

from typing import Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from gcnet_tf.config.objects import ObjectConfig, ObjectsOrName
from gcnet_tf.config.values import STRICT, Factor, Pixels


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
    """Learning rate of the first step."""

    min_learning_rate: float = Field(default=1e-4, ge=0)
    """Learning rate that the polynomial decay approaches; at most learning_rate."""

    poly_power: float = Field(default=0.9, gt=0)
    """Exponent of the polynomial decay."""

    momentum: float = Field(default=0.9, ge=0, le=0.9999)
    """Momentum of SGD."""

    weight_decay: float = Field(default=5e-4, ge=0)
    """Factor of the weight decay: weight_decay * weight is added to the gradient, as in
    PyTorch's SGD."""

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

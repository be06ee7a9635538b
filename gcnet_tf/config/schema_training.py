"""The settings of training and evaluation."""

from typing import Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from gcnet_tf.config.objects import ObjectConfig
from gcnet_tf.config.values import STRICT, Factor, Pixels


@dataclass(frozen=True, config=STRICT)
class TrainConfig:
    """Sets the schedule, the optimiser, and what is written while training."""

    iterations: int = Field(default=20000, ge=1)
    """Number of optimiser steps."""

    batch_size: int = Field(default=16, ge=1)
    """Images per step over all replicas together."""

    learning_rate: float = Field(default=0.01, gt=0)
    """Learning rate of the first step."""

    min_learning_rate: float = Field(default=1e-4, ge=0)
    """Learning rate that the polynomial decay runs towards; at most learning_rate."""

    poly_power: float = Field(default=0.9, gt=0)
    """Exponent of the polynomial decay."""

    momentum: float = Field(default=0.9, ge=0, le=0.9999)
    """Momentum of SGD."""

    weight_decay: float = Field(default=5e-4, ge=0)
    """Added to the gradient as weight_decay * weight, as SGD does in PyTorch."""

    auxiliary_weight: float = Field(default=0.4, ge=0)
    """Weight of the auxiliary head's loss."""

    class_weights: tuple[Factor, ...] | Literal["auto"] | None = None
    """What the loss of a pixel is multiplied by, one number per class in the order of
    the ids; auto: the inverse square root of the class's share of the training pixels,
    1 for the mean pixel; null: all alike, as in the reference."""

    head_lr_multiplier: float = Field(default=1.0, gt=0)
    """Both heads learn at this multiple of learning_rate, which decays towards the same
    min_learning_rate."""

    optimizer: ObjectConfig | None = None
    """A Keras optimizer in place of SGD, whose momentum and weight_decay it does not
    use. Its learning rate is that of this section."""

    loss: ObjectConfig | None = None
    """A Keras loss in place of the cross-entropy. It gets class ids, 255 where not
    labelled, and logits; values per pixel count as 0 where not labelled."""

    metrics: tuple[ObjectConfig, ...] = ()
    """Keras metrics that each evaluation adds to the scores. They get the class ids of
    the labelled pixels, true and predicted, image by image."""

    callbacks: tuple[ObjectConfig, ...] = ()
    """Keras callbacks. A batch is an iteration, and an epoch ends at each
    evaluation."""

    init_from: str | None = None
    """Weights that the whole model starts from: a run folder, a .weights.h5 file, a
    .pth file of mmsegmentation, or a published row such as voc_r50_20k (downloaded
    once). The classifiers start anew if it has another number of classes;
    model.backbone.pretrained is not used then."""

    seed: int = Field(default=0, ge=0, le=2**31 - 1)
    """Seed of the weights, the order of the images and every random change to them."""

    precision: Literal["float32", "mixed_bfloat16", "mixed_float16", "float64"] = (
        "float32"
    )
    """Arithmetic of the network; weights and losses stay float32 under mixed_…; float64
    is slow, and for comparisons."""

    strategy: Literal["mirrored", "one_device", "multi_worker"] = "mirrored"
    """mirrored: one replica per GPU (or per logical CPU); one_device: a single one;
    multi_worker: every GPU or CPU of the machines that TF_CONFIG or Slurm names
    (docs/many_machines.md)."""

    logical_cpus: int = Field(default=1, ge=1, le=64)
    """Replicas on a machine without a GPU under 'mirrored': the CPU is divided into
    this many devices."""

    log_every: int = Field(default=50, ge=1)
    """Iterations between lines in the log and points in TensorBoard."""

    evaluate_every: int = Field(default=2000, ge=1)
    """Iterations between evaluations on the val split."""

    early_stopping: int | None = Field(default=None, ge=1)
    """Training ends after so many evaluations in a row without a better mIoU; null:
    never before `iterations`."""

    checkpoint_every: int = Field(default=2000, ge=1)
    """Iterations between checkpoints."""

    keep_checkpoints: int = Field(default=3, ge=1)
    """How many checkpoints stay on disk, besides the best weights."""

    panels: int = Field(default=4, ge=0)
    """Images per evaluation shown in TensorBoard beside truth and prediction."""


@dataclass(frozen=True, config=STRICT)
class EvaluationConfig:
    """Says how a trained model is run on an image of any size."""

    scale: tuple[Pixels, Pixels] = (2048, 512)
    """Images are scaled as by augment.base_scale, with factor 1, before the network
    sees them; scores are taken at the original size."""

    mode: Literal["whole", "slide"] = "whole"
    """whole: the network sees the image at once; slide: overlapping windows whose
    logits are averaged."""

    window: tuple[Pixels, Pixels] = (769, 769)
    """[height, width] of a window in mode 'slide'."""

    stride: tuple[Pixels, Pixels] = (513, 513)
    """[vertical, horizontal] step in pixels between windows; at most the window."""

    ms_flip: bool = False
    """Mean of the probabilities at several scales, each as it is and mirrored: slower
    and a little better; `mode` says how each is seen."""

    ratios: tuple[Factor, ...] = (0.5, 0.75, 1.0, 1.25, 1.5, 1.75)
    """What ms_flip multiplies `scale` by, one after the other."""

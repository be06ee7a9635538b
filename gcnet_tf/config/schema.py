"""The configuration: frozen, range-checked dataclasses; every field explains itself.

The loader checks against it, `scripts/show_config.py --describe` prints it and
`configs/schema.json` (completion and hints in editors) is generated from it.
"""

from dataclasses import dataclass, fields
from typing import Any, Literal

from gcnet_tf.config.context import CONTEXT_SETTINGS, NO_BLOCK
from gcnet_tf.config.objects import ObjectConfig
from gcnet_tf.config.schema_data import AugmentConfig, DataConfig
from gcnet_tf.config.setting import setting

# Values of model.backbone.architecture that are not a ResNet.
MOBILE = ("mobilenet_v2", "mobilenet_v3_large", "mobilenet_v3_small")


@dataclass(frozen=True)
class ContextConfig:
    """A context block; which settings it has depends on the block."""

    block: str = setting(
        "gc",
        "gc: global context; nl: non-local; snl: simplified non-local; se: "
        "squeeze-and-excitation, and se_mmseg: mmsegmentation's form of it; none: no "
        "block. A setting that is null is the block's own.",
        choices=tuple(CONTEXT_SETTINGS),
    )
    ratio: float | None = setting(
        None,
        "Width of the bottleneck as a share of the channels; 0.25 for gc, 0.0625 for "
        "se and se_mmseg, 0.5 for nl.",
        above=0,
        at_most=1,
    )
    pooling: str | None = setting(
        None,
        "gc: how the context vector is gathered: att (learned attention) or avg "
        "(mean); att.",
        choices=("att", "avg"),
    )
    fusions: tuple[str, ...] | None = setting(
        None,
        "gc: how the context changes the features; both may be given; channel_add.",
        choices=("channel_add", "channel_mul"),
    )
    transform: str | None = setting(
        None,
        "gc: what happens to the context vector: bottleneck_norm (1x1, LayerNorm, "
        "ReLU, 1x1), bottleneck (without the LayerNorm) or linear (one 1x1); "
        "bottleneck_norm.",
        choices=("bottleneck_norm", "bottleneck", "linear"),
    )
    mode: str | None = setting(
        None,
        "nl: the affinity of two positions; embedded_gaussian.",
        choices=("embedded_gaussian", "gaussian", "dot_product", "concatenation"),
    )
    use_scale: bool | None = setting(
        None,
        "nl with embedded_gaussian: whether scores are divided by the root of the "
        "bottleneck's width; true.",
    )
    sub_sample: bool | None = setting(
        None,
        "nl: whether the positions that are gathered from are halved in height and "
        "width; false.",
    )

    def given(self) -> dict[str, Any]:
        """The settings that are not null."""
        names = (field.name for field in fields(ContextConfig) if field.name != "block")
        values = {name: getattr(self, name) for name in names}
        return {name: value for name, value in values.items() if value is not None}


@dataclass(frozen=True)
class BackboneContextConfig(ContextConfig):
    """Context blocks inside the backbone, as the paper has them in c3 to c5."""

    block: str = setting(
        NO_BLOCK,
        "As in model.head.context. It stands at the end of every bottleneck of some "
        "stages, before the shortcut is added; depths of 50 or more.",
        choices=tuple(CONTEXT_SETTINGS),
    )
    stages: tuple[int, ...] = setting(
        (2, 3, 4), "Which of the stages 1 to 4 have it.", at_least=1, at_most=4
    )


@dataclass(frozen=True)
class BackboneConfig:
    """The dilated ResNet-V1c, or a dilated MobileNet."""

    architecture: str = setting(
        "resnet_v1c",
        "The network: the reference's, or one for phones.",
        choices=("resnet_v1c", *MOBILE),
    )
    depth: int = setting(50, "resnet_v1c: number of layers.", choices=(18, 34, 50, 101))
    base_channels: int = setting(
        64,
        "resnet_v1c: channels of the stem and of the first stage's blocks; an even "
        "number.",
        at_least=2,
    )
    width: float = setting(
        1.0,
        "mobilenet_…: what all numbers of channels are multiplied by, Keras' alpha.",
        above=0,
        at_most=4,
    )
    output_stride: int = setting(
        8,
        "Input pixels per feature position after the last stage; "
        "the published models use 8.",
        choices=(8, 16),
    )
    pretrained: str | None = setting(
        None,
        "Weights that the backbone starts training from: imagenet (the reference's "
        "file for this depth, or Keras' for this width, downloaded once), a .pth file "
        "of that form or its address, for mobilenet_… an .h5 file of "
        "keras.applications; null for random ones.",
    )
    frozen_stages: int = setting(
        -1,
        "Stages that training leaves as they are, normalisation included: 0 the stem, "
        "1 to 4 the stem and so many stages, -1 none.",
        at_least=-1,
        at_most=4,
    )
    context: BackboneContextConfig = setting(
        BackboneContextConfig, "Context blocks inside the backbone."
    )


@dataclass(frozen=True)
class HeadConfig:
    """The GC decode head on the last stage."""

    channels: int = setting(512, "Channels of the head's convolutions.", at_least=1)
    dropout: float = setting(
        0.1,
        "Probability of dropping a whole channel before the classifier.",
        at_least=0,
        at_most=0.99,
    )
    context: ContextConfig = setting(ContextConfig, "The context block.")
    separable: bool = setting(
        False,
        "Whether the 3x3 convolutions are depthwise ones and 1x1 ones: for phones.",
    )
    context_layer: ObjectConfig | None = setting(
        None,
        "A Keras layer in place of the context block; it must keep the shape, and name "
        "the layers inside it.",
    )


@dataclass(frozen=True)
class AuxiliaryConfig:
    """The FCN head on the third stage, used in training only."""

    channels: int = setting(256, "Channels of the head's convolution.", at_least=1)
    dropout: float = setting(
        0.1,
        "Probability of dropping a whole channel before the classifier.",
        at_least=0,
        at_most=0.99,
    )


@dataclass(frozen=True)
class ModelConfig:
    """What the network is made of."""

    backbone: BackboneConfig = setting(BackboneConfig, "The backbone.")
    head: HeadConfig = setting(HeadConfig, "The decode head with a context block.")
    auxiliary: AuxiliaryConfig = setting(
        AuxiliaryConfig, "The auxiliary head, in training only."
    )
    align_corners: bool = setting(
        False,
        "How logits are enlarged: true aligns the corner pixels "
        "(the 769x769 models), false the pixel borders (all others).",
    )
    winograd: bool | None = setting(
        None,
        "Whether large 3x3 convolutions are computed by Winograd's method in float32, "
        "about twice as fast on a processor; false: directly; null: where there is no "
        "GPU. Logits differ by rounding.",
    )


@dataclass(frozen=True)
class TrainConfig:
    """The schedule, the optimiser, and what is written while training."""

    iterations: int = setting(20000, "Number of optimiser steps.", at_least=1)
    batch_size: int = setting(
        16, "Images per step over all replicas together.", at_least=1
    )
    learning_rate: float = setting(0.01, "Learning rate of the first step.", above=0)
    min_learning_rate: float = setting(
        1e-4,
        "Learning rate that the polynomial decay runs towards; at most learning_rate.",
        at_least=0,
    )
    poly_power: float = setting(0.9, "Exponent of the polynomial decay.", above=0)
    momentum: float = setting(0.9, "Momentum of SGD.", at_least=0, at_most=0.9999)
    weight_decay: float = setting(
        5e-4,
        "Added to the gradient as weight_decay * weight, as SGD does in PyTorch.",
        at_least=0,
    )
    auxiliary_weight: float = setting(
        0.4, "Weight of the auxiliary head's loss.", at_least=0
    )
    class_weights: tuple[float, ...] | Literal["auto"] | None = setting(
        None,
        "What the loss of a pixel is multiplied by, one number per class in the order "
        "of the ids; auto: the inverse square root of the class's share of the "
        "training pixels, 1 for the mean pixel; null: all alike, as in the reference.",
        above=0,
    )
    head_lr_multiplier: float = setting(
        1.0,
        "Both heads learn at this multiple of learning_rate, which decays towards the "
        "same min_learning_rate.",
        above=0,
    )
    optimizer: ObjectConfig | None = setting(
        None,
        "A Keras optimizer in place of SGD, whose momentum and weight_decay it does "
        "not use. Its learning rate is that of this section.",
    )
    loss: ObjectConfig | None = setting(
        None,
        "A Keras loss in place of the cross-entropy. It gets class ids, 255 where not "
        "labelled, and logits; values per pixel count as 0 where not labelled.",
    )
    metrics: tuple[ObjectConfig, ...] = setting(
        (),
        "Keras metrics that each evaluation adds to the scores. They get the class ids "
        "of the labelled pixels, true and predicted, image by image.",
    )
    callbacks: tuple[ObjectConfig, ...] = setting(
        (),
        "Keras callbacks. A batch is an iteration, and an epoch ends at each "
        "evaluation.",
    )
    init_from: str | None = setting(
        None,
        "Weights that the whole model starts from: a run folder, a .weights.h5 file, a "
        ".pth file of mmsegmentation, or a published row such as voc_r50_20k "
        "(downloaded once). The classifiers start anew if it has another number of "
        "classes; model.backbone.pretrained is not used then.",
    )
    seed: int = setting(
        0,
        "Seed of the weights, the order of the images and every random change to them.",
        at_least=0,
        at_most=2**31 - 1,
    )
    precision: str = setting(
        "float32",
        "Arithmetic of the network; weights and losses stay float32 under mixed_…; "
        "float64 is slow, and for comparisons.",
        choices=("float32", "mixed_bfloat16", "mixed_float16", "float64"),
    )
    strategy: str = setting(
        "mirrored",
        "mirrored: one replica per GPU (or per logical CPU); one_device: a single one; "
        "multi_worker: every GPU or CPU of the machines that TF_CONFIG or Slurm names "
        "(docs/many_machines.md).",
        choices=("mirrored", "one_device", "multi_worker"),
    )
    logical_cpus: int = setting(
        1,
        "Replicas on a machine without a GPU under 'mirrored': "
        "the CPU is divided into this many devices.",
        at_least=1,
        at_most=64,
    )
    log_every: int = setting(
        50, "Iterations between lines in the log and points in TensorBoard.", at_least=1
    )
    evaluate_every: int = setting(
        2000, "Iterations between evaluations on the val split.", at_least=1
    )
    early_stopping: int | None = setting(
        None,
        "Training ends after so many evaluations in a row without a better mIoU; null: "
        "never before `iterations`.",
        at_least=1,
    )
    checkpoint_every: int = setting(2000, "Iterations between checkpoints.", at_least=1)
    keep_checkpoints: int = setting(
        3, "How many checkpoints stay on disk, besides the best weights.", at_least=1
    )
    panels: int = setting(
        4,
        "Images per evaluation shown in TensorBoard beside truth and prediction.",
        at_least=0,
    )


@dataclass(frozen=True)
class EvaluationConfig:
    """How a trained model is run on an image of any size."""

    scale: tuple[int, int] = setting(
        (2048, 512),
        "Images are scaled as by augment.base_scale, with factor 1, "
        "before the network sees them; scores are taken at the original size.",
        at_least=1,
    )
    mode: str = setting(
        "whole",
        "whole: the network sees the image at once; slide: overlapping windows whose "
        "logits are averaged.",
        choices=("whole", "slide"),
    )
    window: tuple[int, int] = setting(
        (769, 769), "[height, width] of a window in mode 'slide'.", at_least=1
    )
    stride: tuple[int, int] = setting(
        (513, 513),
        "[vertical, horizontal] step in pixels between windows; at most the window.",
        at_least=1,
    )
    ms_flip: bool = setting(
        False,
        "Mean of the probabilities at several scales, each as it is and mirrored: "
        "slower and a little better; `mode` says how each is seen.",
    )
    ratios: tuple[float, ...] = setting(
        (0.5, 0.75, 1.0, 1.25, 1.5, 1.75),
        "What ms_flip multiplies `scale` by, one after the other.",
        above=0,
    )


@dataclass(frozen=True)
class PublishedConfig:
    """What the reference published for this row; data, never settings.

    It is not taken over from a `_base_`: the numbers hold for the row that states them.
    """

    miou: float | None = setting(None, "Mean IoU in percent, single scale.", at_least=0)
    miou_ms_flip: float | None = setting(
        None, "Mean IoU in percent, multi-scale and flip.", at_least=0
    )
    memory_gb: float | None = setting(
        None, "Training memory of each of the four V100, in GB.", at_least=0
    )
    fps: float | None = setting(
        None, "Images per second at inference, one V100 and batch 1.", at_least=0
    )
    checkpoint_url: str | None = setting(None, "Address of the published weights.")


@dataclass(frozen=True)
class Config:
    """A whole experiment."""

    custom_imports: tuple[str, ...] = setting(
        (),
        "Modules that are imported first, so that what they register with Keras can "
        "be named: installed ones, or files where the command is run.",
    )
    model: ModelConfig = setting(ModelConfig, "What the network is made of.")
    data: DataConfig = setting(DataConfig, "Which data set, and where it lies.")
    augment: AugmentConfig = setting(
        AugmentConfig, "What happens to a training image, in this order."
    )
    train: TrainConfig = setting(TrainConfig, "Schedule, optimiser and output.")
    evaluation: EvaluationConfig = setting(
        EvaluationConfig, "How a trained model is run on an image of any size."
    )
    published: PublishedConfig = setting(
        PublishedConfig, "What the reference published for this row."
    )

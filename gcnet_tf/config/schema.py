"""The configuration: frozen dataclasses that pydantic checks, each field explained.

A section is explained by its class, a setting by the text below it. The loader checks
against them, `scripts/show_config.py --describe` prints them and `configs/schema.json`
(completion and hints in editors) is generated from them.
"""

from dataclasses import fields
from typing import Annotated, Any, Literal, get_args

from pydantic import Field
from pydantic.dataclasses import dataclass

from gcnet_tf.config.context import NO_BLOCK, Block
from gcnet_tf.config.objects import ObjectConfig
from gcnet_tf.config.schema_data import AugmentConfig, DataConfig
from gcnet_tf.config.schema_training import EvaluationConfig, TrainConfig
from gcnet_tf.config.values import STRICT

# Values of model.backbone.architecture that are not a ResNet.
Mobile = Literal["mobilenet_v2", "mobilenet_v3_large", "mobilenet_v3_small"]
MOBILE = get_args(Mobile)


@dataclass(frozen=True, config=STRICT)
class ContextConfig:
    """Describes a context block; which settings it has depends on the block."""

    block: Block = "gc"
    """gc: global context; nl: non-local; snl: simplified non-local; se:
    squeeze-and-excitation, and se_mmseg: mmsegmentation's form of it; none: no block. A
    setting that is null is the block's own."""

    # Pydantic hands a description down to a subclass, but no docstring.
    ratio: float | None = Field(
        default=None,
        gt=0,
        le=1,
        description="Width of the bottleneck as a share of the channels; 0.25 for gc, "
        "0.0625 for se and se_mmseg, 0.5 for nl.",
    )
    pooling: Literal["att", "avg"] | None = Field(
        default=None,
        description="gc: how the context vector is gathered: att (learned attention) "
        "or avg (mean); att.",
    )
    fusions: tuple[Literal["channel_add", "channel_mul"], ...] | None = Field(
        default=None,
        description="gc: how the context changes the features; both may be given; "
        "channel_add.",
    )
    transform: Literal["bottleneck_norm", "bottleneck", "linear"] | None = Field(
        default=None,
        description="gc: what happens to the context vector: bottleneck_norm (1x1, "
        "LayerNorm, ReLU, 1x1), bottleneck (without the LayerNorm) or linear (one "
        "1x1); bottleneck_norm.",
    )
    mode: (
        Literal["embedded_gaussian", "gaussian", "dot_product", "concatenation"] | None
    ) = Field(
        default=None,
        description="nl: the affinity of two positions; embedded_gaussian.",
    )
    use_scale: bool | None = Field(
        default=None,
        description="nl with embedded_gaussian: whether scores are divided by the root "
        "of the bottleneck's width; true.",
    )
    sub_sample: bool | None = Field(
        default=None,
        description="nl: whether the positions that are gathered from are halved in "
        "height and width; false.",
    )

    def given(self) -> dict[str, Any]:
        """The settings that are not null."""
        names = (field.name for field in fields(ContextConfig) if field.name != "block")
        values = {name: getattr(self, name) for name in names}
        return {name: value for name, value in values.items() if value is not None}


@dataclass(frozen=True, config=STRICT)
class BackboneContextConfig(ContextConfig):
    """Describes the context blocks inside the backbone; in the paper, in c3 to c5."""

    block: Block = NO_BLOCK
    """As in model.head.context. It stands at the end of every bottleneck of some
    stages, before the shortcut is added; depths of 50 or more."""

    stages: tuple[Annotated[int, Field(ge=1, le=4)], ...] = (2, 3, 4)
    """Which of the stages 1 to 4 have it."""


@dataclass(frozen=True, config=STRICT)
class BackboneConfig:
    """Describes the dilated ResNet-V1c, or a dilated MobileNet."""

    architecture: Literal["resnet_v1c", Mobile] = "resnet_v1c"
    """The network: the reference's, or one for phones."""

    depth: Literal[18, 34, 50, 101] = 50
    """resnet_v1c: number of layers."""

    base_channels: int = Field(default=64, ge=2)
    """resnet_v1c: channels of the stem and of the first stage's blocks; an even
    number."""

    width: float = Field(default=1.0, gt=0, le=4)
    """mobilenet_…: what all numbers of channels are multiplied by, Keras' alpha."""

    output_stride: Literal[8, 16] = 8
    """Input pixels per feature position after the last stage; the published models use
    8."""

    pretrained: str | None = None
    """Weights that the backbone starts training from: imagenet (the reference's file
    for this depth, or Keras' for this width, downloaded once), a .pth file of that form
    or its address, for mobilenet_… an .h5 file of keras.applications; null for random
    ones."""

    frozen_stages: int = Field(default=-1, ge=-1, le=4)
    """Stages that training leaves as they are, normalisation included: 0 the stem, 1 to
    4 the stem and so many stages, -1 none."""

    context: BackboneContextConfig = Field(default_factory=BackboneContextConfig)


@dataclass(frozen=True, config=STRICT)
class HeadConfig:
    """Describes the decode head, with its context block, on the last stage."""

    channels: int = Field(default=512, ge=1)
    """Channels of the head's convolutions."""

    dropout: float = Field(default=0.1, ge=0, le=0.99)
    """Probability of dropping a whole channel before the classifier."""

    context: ContextConfig = Field(default_factory=ContextConfig)

    separable: bool = False
    """Whether the 3x3 convolutions are depthwise ones and 1x1 ones: for phones."""

    context_layer: ObjectConfig | None = None
    """A Keras layer in place of the context block; it must keep the shape, and name the
    layers inside it."""


@dataclass(frozen=True, config=STRICT)
class AuxiliaryConfig:
    """Describes the FCN head on the third stage, used in training only."""

    channels: int = Field(default=256, ge=1)
    """Channels of the head's convolution."""

    dropout: float = Field(default=0.1, ge=0, le=0.99)
    """Probability of dropping a whole channel before the classifier."""


@dataclass(frozen=True, config=STRICT)
class ModelConfig:
    """Describes the network."""

    backbone: BackboneConfig = Field(default_factory=BackboneConfig)
    head: HeadConfig = Field(default_factory=HeadConfig)
    auxiliary: AuxiliaryConfig = Field(default_factory=AuxiliaryConfig)

    align_corners: bool = False
    """How logits are enlarged: true aligns the corner pixels (the 769x769 models),
    false the pixel borders (all others)."""

    winograd: bool | None = None
    """Whether large 3x3 convolutions are computed by Winograd's method in float32,
    about twice as fast on a processor; false: directly; null: where there is no GPU.
    Logits differ by rounding."""


@dataclass(frozen=True, config=STRICT)
class PublishedConfig:
    """Holds what the reference published for this row; data, never settings.

    It is not taken over from a `_base_`: the numbers hold for the row that states them.
    """

    miou: float | None = Field(default=None, ge=0)
    """Mean IoU in percent, single scale."""

    miou_ms_flip: float | None = Field(default=None, ge=0)
    """Mean IoU in percent, multi-scale and flip."""

    memory_gb: float | None = Field(default=None, ge=0)
    """Training memory of each of the four V100, in GB."""

    fps: float | None = Field(default=None, ge=0)
    """Images per second at inference, one V100 and batch 1."""

    checkpoint_url: str | None = None
    """Address of the published weights."""


@dataclass(frozen=True, config=STRICT)
class Config:
    """Describes a whole experiment."""

    custom_imports: tuple[str, ...] = ()
    """Modules that are imported first, so that what they register with Keras can be
    named: installed ones, or files where the command is run."""

    model: ModelConfig = Field(default_factory=ModelConfig)
    data: DataConfig = Field(default_factory=DataConfig)
    augment: AugmentConfig = Field(default_factory=AugmentConfig)
    train: TrainConfig = Field(default_factory=TrainConfig)
    evaluation: EvaluationConfig = Field(default_factory=EvaluationConfig)
    published: PublishedConfig = Field(default_factory=PublishedConfig)

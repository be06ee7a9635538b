"""The configuration: frozen dataclasses with a description of every setting.

The docstring of a class describes a section, and the text below a field describes a
setting. Pydantic checks every value against these classes,
`scripts/show_config.py --describe` prints the descriptions, and `configs/schema.json`
(completion and hints in editors) is generated from both.
"""

from typing import Annotated, Any, Literal, get_args

from pydantic import Field
from pydantic.dataclasses import dataclass

from gcnet_tf.config.context import NO_BLOCK, Block
from gcnet_tf.config.schema_data import AugmentConfig, DataConfig
from gcnet_tf.config.schema_training import EvaluationConfig, TrainConfig
from gcnet_tf.config.values import STRICT, ObjectConfig, given

# Values of model.backbone.architecture that are no ResNet.
Mobile = Literal["mobilenet_v2", "mobilenet_v3_large", "mobilenet_v3_small"]
MOBILE = get_args(Mobile)


@dataclass(frozen=True, config=STRICT)
class ContextConfig:
    """A context block; the block decides which of the other settings it has."""

    block: Block = "gc"
    """gc: global context; nl: non-local; snl: simplified non-local; se:
    squeeze-and-excitation; se_mmseg: mmsegmentation's form of it; none: no block. A
    setting that is null takes the block's own value."""

    # With `description`, because pydantic does not pass docstrings on to a subclass.
    ratio: float | None = Field(
        default=None,
        gt=0,
        le=1,
        description="Width of the bottleneck as a share of the channels; null: 0.25 "
        "for gc, 0.0625 for se and se_mmseg, 0.5 for nl.",
    )
    pooling: Literal["att", "avg"] | None = Field(
        default=None,
        description="gc: pooling of the features into the context vector: att (learned "
        "attention) or avg (mean); null: att.",
    )
    fusions: tuple[Literal["channel_add", "channel_mul"], ...] | None = Field(
        default=None,
        description="gc: ways in which the context changes the features: channel_add "
        "(is added), channel_mul (is multiplied, after a sigmoid) or both; null: "
        "channel_add.",
    )
    transform: Literal["bottleneck_norm", "bottleneck", "linear"] | None = Field(
        default=None,
        description="gc: transform of the context vector: bottleneck_norm (1x1 "
        "convolution, LayerNorm, ReLU, 1x1 convolution), bottleneck (without the "
        "LayerNorm) or linear (one 1x1 convolution); null: bottleneck_norm.",
    )
    mode: (
        Literal["embedded_gaussian", "gaussian", "dot_product", "concatenation"] | None
    ) = Field(
        default=None,
        description="nl: affinity of two positions; null: embedded_gaussian.",
    )
    use_scale: bool | None = Field(
        default=None,
        description="nl with embedded_gaussian: true divides the attention logits by "
        "the square root of the bottleneck's channels; null: true.",
    )
    sub_sample: bool | None = Field(
        default=None,
        description="nl: true halves the height and the width of the keys and values; "
        "null: false.",
    )

    def given(self) -> dict[str, Any]:
        """Returns the settings that are not null, by name."""
        return given(self, ContextConfig, "block")


@dataclass(frozen=True, config=STRICT)
class BackboneContextConfig(ContextConfig):
    """The context blocks inside the backbone; in the paper, they are in c3 to c5."""

    block: Block = NO_BLOCK
    """As in model.head.context. A block stands at the end of every bottleneck of the
    chosen stages, before the shortcut is added; only for depths of 50 or more."""

    stages: tuple[Annotated[int, Field(ge=1, le=4)], ...] = (2, 3, 4)
    """Stages, out of 1 to 4, whose bottlenecks have the block."""


@dataclass(frozen=True, config=STRICT)
class BackboneConfig:
    """The dilated ResNet-V1c, PaddleSeg's dilated ResNet-vd, or a dilated MobileNet."""

    architecture: Literal["resnet_v1c", "resnet_vd", Mobile] = "resnet_v1c"
    """The network: that of the reference, that of PaddleSeg, or one for phones."""

    depth: Literal[18, 34, 50, 101] = 50
    """resnet_…: number of layers."""

    base_channels: int = Field(default=64, ge=2)
    """resnet_…: channels of the stem and of the first stage's blocks; an even
    number."""

    width: float = Field(default=1.0, gt=0, le=4)
    """mobilenet_…: factor on all numbers of channels, Keras' alpha."""

    output_stride: Literal[8, 16] = 8
    """Input pixels per feature position after the last stage; the published models use
    8."""

    pretrained: str | None = None
    """Weights that the backbone starts training from: imagenet (the reference's file
    for this depth, or Keras' file for this width, downloaded once); a .pth file like
    the reference's, or its address; for mobilenet_… an .h5 file of keras.applications;
    null: random weights, the only value for resnet_vd."""

    frozen_stages: int = Field(default=-1, ge=-1, le=4)
    """Stages that training does not change, including their normalisation; 0: the stem;
    1 to 4: the stem and that many stages; -1: none."""

    context: BackboneContextConfig = Field(default_factory=BackboneContextConfig)


@dataclass(frozen=True, config=STRICT)
class HeadConfig:
    """The decode head on the last stage, with its context block."""

    channels: int = Field(default=512, ge=1)
    """Channels of the head's convolutions."""

    dropout: float = Field(default=0.1, ge=0, le=0.99)
    """Probability of dropping a whole channel before the classifier."""

    context: ContextConfig = Field(default_factory=ContextConfig)

    separable: bool = False
    """Replaces each 3x3 convolution by a depthwise 3x3 and a 1x1 convolution, for
    phones."""

    context_layer: ObjectConfig | None = None
    """A Keras layer in place of the context block; it must keep the shape of the
    features and give names to the layers inside it."""


@dataclass(frozen=True, config=STRICT)
class AuxiliaryConfig:
    """The FCN head on the third stage, used in training only."""

    channels: int = Field(default=256, ge=1)
    """Channels of the head's convolution."""

    dropout: float = Field(default=0.1, ge=0, le=0.99)
    """Probability of dropping a whole channel before the classifier."""


@dataclass(frozen=True, config=STRICT)
class ModelConfig:
    """The network."""

    backbone: BackboneConfig = Field(default_factory=BackboneConfig)
    head: HeadConfig = Field(default_factory=HeadConfig)
    auxiliary: AuxiliaryConfig = Field(default_factory=AuxiliaryConfig)

    align_corners: bool = False
    """Alignment when logits are enlarged: true aligns the corner pixels (the 769x769
    models), false the pixel borders (all others)."""

    winograd: bool | None = None
    """true: large 3x3 convolutions use Winograd's method, about twice as fast on a CPU,
    in mixed_bfloat16 for gradients of kernels; false: direct convolution; null: true
    where there is no GPU. The logits differ by rounding."""


@dataclass(frozen=True, config=STRICT)
class PublishedConfig:
    """Numbers that the reference published for this row; they set nothing.

    They are not inherited from a `_base_`, because they hold only for the row that
    states them.
    """

    miou: float | None = Field(default=None, ge=0)
    """Mean IoU in percent, single scale."""

    miou_ms_flip: float | None = Field(default=None, ge=0)
    """Mean IoU in percent, multi-scale and flip."""

    memory_gb: float | None = Field(default=None, ge=0)
    """Training memory of each of the four V100 GPUs, in GB."""

    fps: float | None = Field(default=None, ge=0)
    """Images per second at inference, on one V100 with batch size 1."""

    checkpoint_url: str | None = None
    """Address of the published weights."""


@dataclass(frozen=True, config=STRICT)
class Config:
    """A whole experiment."""

    custom_imports: tuple[str, ...] = ()
    """Modules that are imported first, so that the configuration can name the classes
    that they register with Keras: installed modules, or files in the folder where the
    command is run. Training imports these, too; other commands do so only with
    --allow-imports."""

    model: ModelConfig = Field(default_factory=ModelConfig)
    data: DataConfig = Field(default_factory=DataConfig)
    augment: AugmentConfig = Field(default_factory=AugmentConfig)
    train: TrainConfig = Field(default_factory=TrainConfig)
    evaluation: EvaluationConfig = Field(default_factory=EvaluationConfig)
    published: PublishedConfig = Field(default_factory=PublishedConfig)

"""From a configuration to a model."""

from gcnet_tf.config import Config
from gcnet_tf.data.catalog import facts_of
from gcnet_tf.models.segmentor import Segmentor


def build_model(config: Config) -> Segmentor:
    """Builds the model that `config` describes, with fresh weights.

    Arithmetic is that of `config.train.precision`. Set
    `keras.utils.set_random_seed` before for repeatable weights.
    """
    model = config.model
    segmentor = Segmentor(
        num_classes=facts_of(config.data).num_classes,
        backbone={
            "depth": model.backbone.depth,
            "base_channels": model.backbone.base_channels,
            "output_stride": model.backbone.output_stride,
            "frozen_stages": model.backbone.frozen_stages,
        },
        head={
            "channels": model.head.channels,
            "dropout": model.head.dropout,
            "ratio": model.head.context.ratio,
            "pooling": model.head.context.pooling,
            "fusions": model.head.context.fusions,
        },
        auxiliary={
            "channels": model.auxiliary.channels,
            "dropout": model.auxiliary.dropout,
        },
        align_corners=model.align_corners,
        dtype=config.train.precision,
        name="gcnet",
    )
    segmentor.build((None, None, None, 3))
    return segmentor

"""From a configuration to a model."""

from dataclasses import asdict
from typing import Any

import tensorflow as tf

from gcnet_tf.compat import use_tf32
from gcnet_tf.config import Config, ContextConfig
from gcnet_tf.config.schema import MOBILE, BackboneConfig
from gcnet_tf.data.catalog import facts_of
from gcnet_tf.extensions.classes import NamedObjectError
from gcnet_tf.extensions.named import import_modules, user_error
from gcnet_tf.models.segmentor import Segmentor


def build_model(config: Config) -> Segmentor:
    """Builds the model that `config` describes, with fresh weights.

    Arithmetic is that of `config.train.precision` and, for the whole process, of
    `config.train.tf32`. Set
    `keras.utils.set_random_seed` before for repeatable weights.

    Raises:
        UserError: when model.head.context_layer names no layer that can stand there.
    """
    import_modules(config)
    use_tf32(config.train.tf32)
    model = config.model
    layer = model.head.context_layer
    winograd = model.winograd
    if winograd is None:
        winograd = not tf.config.list_physical_devices("GPU")
    try:
        segmentor = Segmentor(
            num_classes=facts_of(config.data).num_classes,
            backbone=_backbone(model.backbone),
            head={
                "channels": model.head.channels,
                "dropout": model.head.dropout,
                "context": _block(model.head.context),
                "separable": model.head.separable,
                "context_layer": None if layer is None else asdict(layer),
            },
            auxiliary={
                "channels": model.auxiliary.channels,
                "dropout": model.auxiliary.dropout,
            },
            align_corners=model.align_corners,
            winograd=winograd,
            dtype=config.train.precision,
            name="gcnet",
        )
        segmentor.build((None, None, None, 3))
    except NamedObjectError as error:
        # Of an argument of the head, which the configuration calls so.
        error.args = (f"model.head.{error}",)
        raise user_error(error) from error
    return segmentor


def _backbone(config: BackboneConfig) -> dict[str, Any]:
    arguments: dict[str, Any] = {
        "architecture": config.architecture,
        "output_stride": config.output_stride,
        "frozen_stages": config.frozen_stages,
    }
    if config.architecture in MOBILE:
        return {**arguments, "width": config.width}
    return {
        **arguments,
        "depth": config.depth,
        "base_channels": config.base_channels,
        "context": {**_block(config.context), "stages": config.context.stages},
    }


def _block(context: ContextConfig) -> dict[str, Any]:
    """Collects the arguments of `make_context`."""
    return {"block": context.block, **context.given()}

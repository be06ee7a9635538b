"""Typed configuration: `load_config` reads it, the dataclasses define its settings."""

from gcnet_tf.config.json_text import format_json
from gcnet_tf.config.load import config_from_dict, config_to_dict, load_config
from gcnet_tf.config.schema import (
    AuxiliaryConfig,
    BackboneConfig,
    Config,
    ContextConfig,
    HeadConfig,
    ModelConfig,
    PublishedConfig,
)
from gcnet_tf.config.schema_data import AugmentConfig, DataConfig
from gcnet_tf.config.schema_training import EvaluationConfig, TrainConfig

__all__ = [
    "AugmentConfig",
    "AuxiliaryConfig",
    "BackboneConfig",
    "Config",
    "ContextConfig",
    "DataConfig",
    "EvaluationConfig",
    "HeadConfig",
    "ModelConfig",
    "PublishedConfig",
    "TrainConfig",
    "config_from_dict",
    "config_to_dict",
    "format_json",
    "load_config",
]

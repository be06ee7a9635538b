"""An exported model together with its configuration, as evaluation needs it.

Unlike `gcnet_tf.evaluation.load`, whose models are Keras', this needs no TensorFlow,
unless the model is a SavedModel.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gcnet_tf.config import Config, config_from_dict, config_to_dict
from gcnet_tf.data.catalog import DatasetFacts, facts_of
from gcnet_tf.errors import UserError
from gcnet_tf.runtime import open_network
from gcnet_tf.runtime.backends import SAVED_MODEL, SUFFIXES, format_of
from gcnet_tf.runtime.manifest import ExportManifest
from gcnet_tf.runtime.protocol import Network, Protocol, Segmenter


@dataclass(frozen=True)
class Predictor:
    """Runs a network by the configuration's evaluation protocol.

    Attributes:
        network: what computes scores or labels.
        config: the configuration; `evaluation` says how images are scaled and cut.
        facts: classes and colours.
        mode: one of `gcnet_tf.runtime.protocol.MODES`; None for the configuration's.
    """

    network: Network
    config: Config
    facts: DatasetFacts
    mode: str | None = None

    def labels(self, images: np.ndarray) -> np.ndarray:
        """Class ids uint8 of RGB uint8 images, see `Segmenter.labels`."""
        return self._segmenter().labels(images)

    def scores(self, images: np.ndarray) -> np.ndarray:
        """Scores of RGB uint8 images, see `Segmenter.scores`."""
        return self._segmenter().scores(images)

    def at_once(self, size: tuple[int, int]) -> int:
        """How many images of a size to give at once, see `Segmenter.at_once`."""
        return self._segmenter().at_once(size)

    def _segmenter(self) -> Segmenter:
        protocol = Protocol.from_settings(protocol_settings(self.config))
        return Segmenter(self.network, protocol.with_mode(self.mode))


def protocol_settings(config: Config) -> dict[str, Any]:
    """What `Protocol.from_settings` takes, and manifests keep."""
    evaluation = config_to_dict(config)["evaluation"]
    return {**evaluation, "align_corners": config.model.align_corners}


def is_exported(model: str | None) -> bool:
    """Whether `--model` names an exported model, also one that is not there."""
    return model is not None and (
        format_of(Path(model)) is not None or Path(model).suffix in SUFFIXES
    )


def needs_tensorflow(model: str | None) -> bool:
    """Whether it takes TensorFlow to run what `--model` names."""
    return not is_exported(model) or format_of(Path(str(model))) == SAVED_MODEL


def load_exported(
    model: str,
    overrides: Sequence[str] = (),
    mode: str | None = None,
    cfg: str | None = None,
    weights: str | None = None,
) -> Predictor:
    """An exported model with the configuration in its manifest.

    Args:
        model: a .tflite or .onnx file, or the folder of a SavedModel.
        overrides: changes of the configuration, such as "data.records=elsewhere".
        mode: see `Predictor`.
        cfg, weights: arguments of the scripts that do not go with an exported model.

    Raises:
        UserError: when the model cannot be opened, or a change is one of what is
            inside the file.
    """
    if cfg is not None or weights is not None:
        raise UserError(
            f"--model {model} holds its weights and its configuration; leave out "
            f"--{'cfg' if weights is None else 'weights'}, and change settings with "
            "--set."
        )
    network, manifest = open_network(Path(model))
    config = _config(Path(model), manifest, overrides)
    return Predictor(network, config, facts_of(config.data), mode)


def _config(path: Path, manifest: ExportManifest, overrides: Sequence[str]) -> Config:
    try:
        written = config_from_dict(manifest.config)
    except UserError as error:
        raise UserError(
            f"The manifest of {path} holds no configuration of this version: {error}"
        ) from error
    config = config_from_dict(manifest.config, overrides)
    classes = facts_of(config.data).classes
    if config.model != written.model or classes != manifest.classes:
        raise UserError(
            f"{path} holds a finished model: --set can change neither model.* nor the "
            "classes. Change them before training, and export again."
        )
    return config

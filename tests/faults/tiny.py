"""A tiny training that has all parts: records, evaluations, checkpoints."""

from pathlib import Path

from gcnet_tf.config import Config, load_config
from gcnet_tf.data.shapes import generate_shapes

SETTINGS = (
    "model.backbone.base_channels=4",
    "model.head.channels=8",
    "model.auxiliary.channels=8",
    "augment.crop_size=[32,32]",
    "augment.base_scale=[32,32]",
    "evaluation.scale=[32,32]",
    "train.strategy=one_device",
    "train.batch_size=2",
    "train.panels=0",
)


def make_images(folder: Path) -> Path:
    """Draws sixteen images to train on and three to evaluate, of 32x32."""
    generate_shapes(folder, num_train=16, num_val=3, size=32, seed=0)
    return folder


def tiny_run(folder: Path, *overrides: str, **options) -> tuple[Config, Path]:
    """Trains to the end, and returns the configuration and the run folder.

    Args:
        folder: folder for the images, the records and the run.
        overrides: settings that differ from the usual ones.
        options: options of `train`.
    """
    from gcnet_tf.training import train

    settings = (
        f"data.root={make_images(folder / 'images')}",
        f"data.records={folder / 'records'}",
        "train.iterations=2",
        *SETTINGS,
        *overrides,
    )
    config = load_config("shapes_r18", settings)
    return config, train(config, folder / "run", **options)

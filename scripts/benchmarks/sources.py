"""Images and labels as files that the peer's workers read."""

from pathlib import Path

import numpy as np

from gcnet_tf.config import Config
from gcnet_tf.data.prepare import ensure_records
from gcnet_tf.data.records.shards import parse_example
from gcnet_tf.data.stream.lanes import ALL, split_records


def write_pairs(
    config: Config, split: str, folder: Path, num_images: int | None = None
) -> None:
    """Writes a split's samples as the records hold them, without decoding images.

    Makes the folders images/ and labels/; labels hold training ids and 255.

    Args:
        config: configuration of the data, which is converted where it is not yet.
        split: "train" or "val".
        folder: a new folder.
        num_images: number of images, evenly spread; None, or more than there are, for
            all.
    """
    for name in ("images", "labels"):
        (folder / name).mkdir(parents=True)
    manifest = ensure_records(config, [split])[split]
    total = manifest.num_samples
    count = total if num_images is None else min(num_images, total)
    indices = set(np.linspace(0, total - 1, count).astype(int).tolist())
    records = split_records(Path(config.data.records) / split, manifest, ALL)
    for index, serialized in enumerate(records):
        if index not in indices:
            continue
        example = {k: v.numpy() for k, v in parse_example(serialized).items()}
        suffix = "jpg" if example["image"].startswith(b"\xff\xd8") else "png"
        (folder / "images" / f"{index:05}.{suffix}").write_bytes(example["image"])
        (folder / "labels" / f"{index:05}.png").write_bytes(example["label"])

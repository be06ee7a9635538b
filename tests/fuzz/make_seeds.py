"""Writes the first, good inputs of the corpus: python tests/fuzz/make_seeds.py."""

import dataclasses
import hashlib
import json
import shutil
import sys
import tempfile
from collections import OrderedDict
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE.parent / "weights")]

WEIGHTS = OrderedDict(a=np.arange(6, dtype="f4").reshape(2, 3), b=np.ones((), "i8"))
CHECKPOINT = {
    "meta": {"CLASSES": ("cat", "dog"), "iter": 40, "seed": None, "rate": 0.1},
    "state_dict": WEIGHTS,
}


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        for name, contents in seeds(Path(folder)).items():
            target = HERE / "corpus" / name
            target.mkdir(parents=True, exist_ok=True)
            for index, content in enumerate(contents):
                (target / f"seed-{index}").write_bytes(content)


def seeds(folder: Path) -> dict[str, list[bytes]]:
    """Returns good inputs by the name of their reader."""
    return {
        "torch_checkpoint": _checkpoints(folder),
        "manifest": _manifests(),
        "configuration": _configurations(),
        "record": _records(folder),
        "label": _labels(folder),
    }


def _checkpoints(folder: Path) -> list[bytes]:
    from torch_files import Pickle, write_torch_file

    files = [
        write_torch_file(folder / f"{kind}.pth", CHECKPOINT, kind).read_bytes()
        for kind in ("zip", "legacy")
    ]
    return [*files, Pickle().dump(CHECKPOINT), Pickle().dump({1: {}, "state_dict": {}})]


def _manifests() -> list[bytes]:
    from gcnet_tf.config import config_to_dict, load_config
    from gcnet_tf.runtime.manifest import ExportManifest, TensorInfo

    config = load_config("camvid_r18")
    settings = config_to_dict(config)
    manifest = ExportManifest(
        format="onnx",
        precision="fp32",
        target="portable",
        classes=tuple(config.data.classes),
        palette=tuple(config.data.palette),
        size=None,
        batch=None,
        input=TensorInfo("images", "uint8", "nhwc", "RGB, 0-255"),
        outputs={"labels": TensorInfo("labels", "uint8", "nhw", "class ids")},
        protocol={**settings["evaluation"], "align_corners": False},
        config=settings,
        weights_sha256="0" * 64,
        sha256=hashlib.sha256(b"of the manifests in the corpus").hexdigest(),
        versions={"gcnet_tf": "0.2.0"},
    )
    return [json.dumps(dataclasses.asdict(manifest), indent=1).encode()]


def _configurations() -> list[bytes]:
    from gcnet_tf.config import config_to_dict, format_json, load_config

    layer = {"class_name": "Dense", "config": {"units": 3, "use_bias": [True, None]}}
    small = {
        "custom_imports": ["mine"],
        "model": {"head": {"context_layer": layer}},
        "train": {"optimizer": {"class_name": "AdamW", "config": {}}},
        "data": {"dataset": "folder", "classes": ["a", "b"]},
    }
    whole = format_json(config_to_dict(load_config("template_folder")))
    return [whole.encode(), json.dumps(small).encode(), b'{"_base_": "config.json"}']


def _records(folder: Path) -> list[bytes]:
    from helpers import make_folder_tree

    from gcnet_tf.config import load_config
    from gcnet_tf.data.prepare import ensure_records

    tree = make_folder_tree(folder / "tree", num_train=1, num_val=1)
    settings = [f"data.root={tree}", f"data.records={folder / 'records'}"]
    more = ["data.dataset=folder", 'data.classes=["a","b","c"]']
    ensure_records(load_config("template_folder", [*settings, *more]))
    (file,) = (folder / "records" / "train").glob("*.tfrecord")
    framed = file.read_bytes()
    return [framed, framed[12:-4]]


def _labels(folder: Path) -> list[bytes]:
    from helpers import random_label, save_image, save_palette_png

    ids = random_label(0, height=6, width=8)
    rgb = np.zeros((6, 8, 3), np.uint8)
    files = [
        save_image(folder / "grey.png", ids),
        save_palette_png(folder / "palette.png", ids),
        save_image(folder / "rgb.png", rgb),
        save_palette_png(folder / "bits.png", ids % 3, bits=2),
        save_image(folder / "deep.png", ids.astype(np.uint16)),
    ]
    return [file.read_bytes() for file in files]


if __name__ == "__main__":
    shutil.rmtree(HERE / "corpus", ignore_errors=True)
    main()

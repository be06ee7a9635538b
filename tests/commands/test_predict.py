"""scripts/predict.py for test servers, with a tiny model of Cityscapes' classes."""

import zipfile

import numpy as np
import pytest
from helpers import call_script, random_image, save_image
from PIL import Image

from gcnet_tf.config import load_config
from gcnet_tf.errors import UserError
from gcnet_tf.evaluation.submission import SERVER_IDS
from gcnet_tf.models import build_model
from gcnet_tf.weights.files import save_weights

SETTINGS = [
    "model.backbone.depth=18",
    "model.backbone.base_channels=4",
    "model.head.channels=8",
    "model.auxiliary.channels=8",
    "evaluation.scale=[64,32]",
]
CITYSCAPES = "cityscapes_r50_512x1024_40k"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with weights, and two images in folders of their cities."""
    folder = tmp_path_factory.mktemp("predict")
    model = build_model(load_config(CITYSCAPES, SETTINGS))
    save_weights(model, folder / "city.weights.h5")
    for index, city in enumerate(("berlin", "munich")):
        path = folder / "test" / city / f"{city}_000000_000019_leftImg8bit.png"
        save_image(path, random_image(index))
    return folder


def predict(folder, *arguments, cfg=CITYSCAPES):
    model = ["--cfg", cfg, "--weights", folder / "city.weights.h5"]
    images = ["--image", folder / "test"]
    call_script("predict", *model, "--set", *SETTINGS, *images, *arguments)


def files_in(folder):
    return sorted(
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.is_file()
    )


def test_cityscapes_ids_in_a_zip(folder, tmp_path):
    predict(folder, "--out", tmp_path / "ids")
    names = [f"{c}/{c}_000000_000019_leftImg8bit" for c in ("berlin", "munich")]
    expected_names = [
        f"{name}{end}" for name in names for end in (".png", "_overlay.png")
    ]
    assert files_in(tmp_path / "ids") == expected_names

    archive = tmp_path / "test.zip"
    server = ["--format", "cityscapes", "--zip", archive]
    predict(folder, "--out", tmp_path / "server", *server)
    assert files_in(tmp_path / "server") == [f"{name}.png" for name in names]
    files = sorted((tmp_path / "server").rglob("*.png"))
    for path in files:
        ours = np.asarray(
            Image.open(tmp_path / "ids" / path.relative_to(tmp_path / "server"))
        )
        image = Image.open(path)
        assert image.mode == "L"
        expected = np.array(SERVER_IDS["cityscapes"])[ours]
        np.testing.assert_array_equal(np.asarray(image), expected)
    with zipfile.ZipFile(archive) as packed:
        assert packed.namelist() == [path.name for path in files]


def test_a_format_of_another_data_set_is_refused(folder, tmp_path):
    with pytest.raises(UserError, match="ade20k: received a model of the data set 'ci"):
        predict(folder, "--out", tmp_path / "out", "--format", "ade20k")
    assert not (tmp_path / "out").exists()

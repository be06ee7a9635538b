"""Turned images whose size does not show whether their labels are turned, too."""

import pytest
from helpers import CLASSES, make_folder_tree, random_image, random_label, save_image
from PIL import Image

from gcnet_tf.config import config_from_dict
from gcnet_tf.data.check.conversion import check_before_conversion
from gcnet_tf.data.check.inspect import check_data
from gcnet_tf.data.prepare import SPLITS


def turned(path, turn, height=24, width=24):
    exif = Image.Exif()
    exif[0x0112] = turn
    save_image(path, random_image(turn, height, width), exif=exif)


@pytest.fixture
def config(tmp_path):
    """A set of square pairs, train_000 to train_019 and val_000 to val_001."""
    root = make_folder_tree(tmp_path / "source", num_train=20)
    for path in root.rglob("labels/*.png"):
        save_image(path, random_label(0, height=24, width=24))
    for path in root.rglob("images/*.jpg"):
        save_image(path, random_image(int(path.stem[-3:]) + len(path.stem), 24, 24))
    data = {
        "dataset": "folder",
        "root": str(root),
        "records": str(tmp_path / "records"),
        "classes": list(CLASSES),
    }
    augment = {"base_scale": [24, 24], "crop_size": [12, 12]}
    return config_from_dict({"data": data, "augment": augment})


def unsure(config):
    report = check_data(config, progress=False)
    items = report.findings.get("unsure_turn", [])
    return [(item.where.rpartition("/")[2], item.detail) for item in items]


def test_upright_images_are_sure(config, tmp_path):
    turned(tmp_path / "source" / "train" / "images" / "train_000.jpg", 1)
    assert unsure(config) == []


@pytest.mark.parametrize("ending", ["jpg", "png", "tif"])
@pytest.mark.parametrize("turn", range(2, 9))
def test_square_images_are_unsure(turn, ending, config, tmp_path):
    folder = tmp_path / "source" / "train" / "images"
    (folder / "train_003.jpg").unlink()
    turned(folder / f"train_003.{ending}", turn)
    assert unsure(config) == [(f"train_003.{ending}", f"orientation {turn}")]


@pytest.mark.parametrize("turn", range(2, 9))
def test_other_images_are_unsure_where_the_sides_stay(turn, config, tmp_path):
    folder = tmp_path / "source" / "train"
    height, width = (24, 32) if turn < 5 else (32, 24)
    turned(folder / "images" / "train_003.jpg", turn, height, width)
    save_image(folder / "labels" / "train_003.png", random_label(3))
    assert [name for name, _ in unsure(config)] == ["train_003.jpg"] * (turn < 5)


def test_the_sheet_shows_them_first(config, tmp_path):
    for name in ("train_017", "train_005"):
        turned(tmp_path / "source" / "train" / "images" / f"{name}.jpg", 6)
    looks = check_data(config, progress=False).looks.examples()
    assert [look.pair.name for look in looks[:2]] == ["train_005", "train_017"]
    assert len({look.pair.name for look in looks}) == 12


def test_many_of_them_leave_room_for_no_more(config, tmp_path):
    for path in (tmp_path / "source" / "train" / "images").iterdir():
        turned(path, 6)
    looks = check_data(config, progress=False).looks.examples()
    assert len({look.pair.name for look in looks}) == 12


def test_conversion_before_training_warns(config, tmp_path):
    for name in ("train_017", "train_005"):
        turned(tmp_path / "source" / "train" / "images" / f"{name}.jpg", 6)
    words = r"may not follow \(2\)\. Sizes agree .*--sheet"
    with pytest.warns(UserWarning, match=words):
        check_before_conversion(config, SPLITS)

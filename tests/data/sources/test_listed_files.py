"""Every file below a folder is taken, named or hidden; none is passed over silently."""

import warnings

import pytest
from helpers import (
    CLASSES,
    exit_code,
    make_cityscapes_tree,
    make_folder_config,
    make_folder_tree,
    random_image,
    save_image,
)

from gcnet_tf.config import config_from_dict
from gcnet_tf.data.check.inspect import check_data
from gcnet_tf.data.sources.files import image_files, list_files
from gcnet_tf.data.sources.folders import find_pairs
from gcnet_tf.errors import UserError

HIDDEN = [
    "._train_000.jpg",
    ".DS_Store",
    "Thumbs.db",
    "desktop.ini",
    ".ipynb_checkpoints/train_000-checkpoint.jpg",
    "__MACOSX/train_000.jpg",
    "deep/.cache/a.jpg",
]


def touch(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()


def names(dataset, root, split="train"):
    return [pair.name for pair in find_pairs(dataset, root, split)]


def test_hidden_files_are_never_data_and_never_named(tmp_path):
    make_folder_tree(tmp_path)
    for name in HIDDEN:
        touch(tmp_path / "train" / "images" / name)
        touch(tmp_path / "train" / "labels" / name.replace(".jpg", ".png"))
    assert names("folder", tmp_path) == ["train_000", "train_001", "train_002"]
    root = make_cityscapes_tree(tmp_path / "city")
    (label,) = (root / "gtFine" / "train" / "ulm").glob("*labelIds.png")
    touch(label.with_name(f"._{label.name}"))
    assert len(names("cityscapes", root)) == 2


def test_sub_folders_are_taken(tmp_path):
    make_folder_tree(tmp_path)
    for kind in ("images", "labels"):
        folder = tmp_path / "train" / kind
        (path,) = folder.glob("train_001.*")
        (folder / "day" / "one").mkdir(parents=True)
        path.rename(folder / "day" / "one" / path.name)
    assert names("folder", tmp_path) == ["day/one/train_001", "train_000", "train_002"]
    images = image_files(tmp_path / "train" / "images")
    assert [path.stem for path in images] == ["train_001", "train_000", "train_002"]


def test_folders_behind_links_are_taken(tmp_path):
    root = make_cityscapes_tree(tmp_path / "city")
    expected = names("cityscapes", root)
    for kind in ("leftImg8bit", "gtFine"):
        city = root / kind / "train" / "ulm"
        city.rename(tmp_path / kind)
        city.symlink_to(tmp_path / kind, target_is_directory=True)
    assert names("cityscapes", root) == expected and len(expected) == 2


def test_a_link_to_a_folder_above_has_an_end(tmp_path):
    touch(tmp_path / "a" / "b" / "x.png")
    (tmp_path / "a" / "b" / "again").symlink_to(tmp_path / "a")
    (tmp_path / "a" / "other").symlink_to(tmp_path / "a" / "b")
    found = [str(path.relative_to(tmp_path)) for path in list_files(tmp_path)]
    assert found == ["a/b/x.png", "a/other/x.png"]


def test_two_cities_with_the_same_file_are_an_error(tmp_path):
    root = make_cityscapes_tree(tmp_path)
    for kind in ("leftImg8bit", "gtFine"):
        for path in list((root / kind / "train" / "ulm").iterdir()):
            touch(root / kind / "train" / "copy" / path.name)
    with pytest.raises(UserError, match="copy/ulm_.* and ulm/ulm_.* share a label"):
        names("cityscapes", root)


def test_other_files_are_counted_and_named(tmp_path):
    root = make_folder_tree(tmp_path / "source")
    touch(root / "train" / "images" / "photo.heic")
    touch(root / "train" / "images" / "more" / "notes.txt")
    with pytest.warns(UserWarning) as caught:
        names("folder", root)
    (warning,) = caught
    text = str(warning.message)
    assert "Passed over 2 of the 5 files" in text
    assert ": more/notes.txt, photo.heic." in text

    data = {
        "dataset": "folder",
        "root": str(root),
        "records": str(tmp_path / "records"),
        "classes": list(CLASSES),
    }
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        report = check_data(config_from_dict({"data": data}), progress=False)
    (item,) = report.findings["source"]
    assert item.where == "train" and item.detail == text


def test_other_files_of_cityscapes_are_named(tmp_path):
    root = make_cityscapes_tree(tmp_path)
    save_image(root / "leftImg8bit" / "train" / "ulm" / "x.jpg", random_image(0))
    with pytest.warns(UserWarning, match=r"Passed over 1 of the 3 .*ulm/x\.jpg"):
        names("cityscapes", root)


def test_the_check_names_them_to_the_user(tmp_path, capsys):
    config = make_folder_config(tmp_path / "c.json")
    touch(tmp_path / "source" / "train" / "images" / "photo.heic")
    assert exit_code("check_data", "--cfg", config) == 0
    assert "Passed over 1 of the 4 files" in capsys.readouterr().out

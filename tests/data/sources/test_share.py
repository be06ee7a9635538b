"""The validation share of a folder that has no validation set."""

import shutil

import pytest
from annotation_trees import make_cvat
from helpers import CLASSES, make_folder_tree, random_image, save_image

from gcnet_tf.config import config_from_dict
from gcnet_tf.data.check.inspect import check_data
from gcnet_tf.data.prepare import ensure_records
from gcnet_tf.data.sources.find import find_samples
from gcnet_tf.data.sources.share import names_of_share
from gcnet_tf.errors import UserError


@pytest.fixture
def make_config(tmp_path):
    """Writes 20 images in train/ alone; returns a maker of configurations."""
    make_folder_tree(tmp_path / "source", num_train=20)
    shutil.rmtree(tmp_path / "source" / "val")

    def config(**settings):
        data = {
            "root": str(tmp_path / "source"),
            "records": str(tmp_path / "records"),
            "classes": list(CLASSES),
            "val_share": 0.1,
        }
        return config_from_dict({"data": {"dataset": "folder", **data, **settings}})

    return config


def names(config, split):
    return {pair.name for pair in find_samples(config.data, split)}


@pytest.mark.parametrize("share, num_val", [(0.1, 2), (0.5, 10), (0.001, 1)])
def test_the_splits_are_parts_of_the_whole(make_config, share, num_val):
    config = make_config(val_share=share)
    train, val = names(config, "train"), names(config, "val")
    assert len(val) == num_val and len(train | val) == 20 and not train & val


def test_the_choice_follows_from_the_names_alone(make_config, tmp_path):
    before = names(make_config(), "val")
    for path in (tmp_path / "source" / "train" / "images").iterdir():
        save_image(path, random_image(5))
    assert names(make_config(), "val") == before
    # The smallest of `printf NAME | sha256sum`, the same on every machine.
    assert before == {"train_008", "train_016"}


def test_conversion_end_to_end(make_config, tmp_path):
    manifests = ensure_records(make_config())
    assert [manifests[s].num_samples for s in ("train", "val")] == [18, 2]
    with pytest.warns(UserWarning, match="train and val .*converted again"):
        manifests = ensure_records(make_config(val_share=0.5))
    assert [manifests[s].num_samples for s in ("train", "val")] == [10, 10]


def test_a_validation_set_is_used_as_it_is(make_config, tmp_path):
    make_folder_tree(tmp_path / "source", num_train=20)
    assert names(make_config(), "val") == {"val_000", "val_001"}
    assert len(names(make_config(), "train")) == 20


def test_a_validation_set_of_another_name_is_not_overlooked(make_config, tmp_path):
    make_folder_tree(tmp_path / "source", num_train=20)
    (tmp_path / "source" / "val").rename(tmp_path / "source" / "valid")
    assert names(make_config(), "val") == {"val_000", "val_001"}
    (tmp_path / "source" / "valid").rename(tmp_path / "source" / "holdout")
    with pytest.raises(UserError, match="no folder val, but holdout. Rename"):
        find_samples(make_config().data, "train")
    (tmp_path / "source" / "holdout").rename(tmp_path / "source" / "test")
    assert len(names(make_config(), "train")) == 18


def test_a_further_source_for_training_gives_all(make_config, tmp_path):
    also = [{"root": str(tmp_path / "source")}]
    config = make_config(root=str(make_folder_tree(tmp_path / "main")), also=also)
    assert len(names(config, "train")) == 3 + 20 and len(names(config, "val")) == 2


def test_one_image_cannot_be_divided(tmp_path):
    root = make_folder_tree(tmp_path / "one", num_train=1)
    shutil.rmtree(root / "val")
    data = {"root": str(root), "records": "r", "classes": list(CLASSES)}
    config = config_from_dict({"data": {"dataset": "folder", **data}})
    with pytest.raises(UserError, match="too few images for a val split"):
        find_samples(config.data, "val")


def test_the_check_reports_each_stray_once(make_config, tmp_path):
    folder = tmp_path / "source" / "train" / "labels"
    for number in range(20):
        if number % 2:
            (folder / f"train_{number:03d}.png").unlink()
    report = check_data(make_config(), progress=False)
    assert len(report.findings["image_without_label"]) == 10
    assert "layout" not in report.findings and "same_content" not in report.findings


def test_images_of_a_sub_folder_stay_together():
    scenes = [f"scene{s}/{frame:03d}" for s in range(8) for frame in range(5)]
    val = names_of_share(scenes, "val", 0.25, None)
    train = names_of_share(scenes, "train", 0.25, None)
    assert train | val == set(scenes) and not train & val and len(val) == 10
    assert not {name[:6] for name in train} & {name[:6] for name in val}


@pytest.mark.parametrize("scenes", [["only"], ["small", "large"]])
def test_few_sub_folders_give_each_split_something(scenes):
    all_names = [f"{s}/{i}" for n, s in enumerate(scenes) for i in range(9 * n + 3)]
    parts = [names_of_share(all_names, s, 0.1, None) for s in ("train", "val")]
    assert all(parts) and sum(map(len, parts)) == len(all_names)


def test_an_export_in_sub_folders_keeps_them_together(tmp_path):
    root = make_cvat(tmp_path / "export")
    shutil.rmtree(root / "ImageSets")
    for kind in ("JPEGImages", "SegmentationClass"):
        for index, path in enumerate(sorted((root / kind).glob("image*"))):
            target = root / kind / f"task{index // 2}" / path.name
            target.parent.mkdir(exist_ok=True)
            path.rename(target)
    classes = ["_background_", "tree", "house"]
    data = {"dataset": "cvat", "root": str(root), "records": "r", "classes": classes}
    config = config_from_dict({"data": data})
    folders = [
        {name.split("/")[0] for name in names(config, split)}
        for split in ("train", "val")
    ]
    assert folders[0] and folders[1] and not folders[0] & folders[1]
    assert folders[0] | folders[1] == {"task0", "task1", "sub"}

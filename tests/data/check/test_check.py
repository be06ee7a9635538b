"""A check finds all problems at once, and gives each the right level."""

import dataclasses
import json
import shutil
import warnings

import numpy as np
import pytest
from helpers import (
    CLASSES,
    make_folder_tree,
    make_voc_tree,
    random_image,
    random_label,
    save_image,
)
from PIL import Image

from gcnet_tf.config import AugmentConfig, config_from_dict
from gcnet_tf.data.check import report as check_report
from gcnet_tf.data.check.conversion import check_before_conversion
from gcnet_tf.data.check.inspect import (
    check_data,
    padded_share,
)
from gcnet_tf.data.prepare import SPLITS, ensure_records, outdated_splits
from gcnet_tf.errors import UserError


def make_config(tmp_path, classes=CLASSES, dataset="folder", **settings):
    data = {
        "dataset": dataset,
        "root": str(tmp_path / "source"),
        "records": str(tmp_path / "records"),
        **settings,
    }
    if dataset == "folder":
        data["classes"] = list(classes)
    # A crop that fits the images of 24x32.
    augment = {"base_scale": [32, 24], "crop_size": [12, 12]}
    return config_from_dict({"data": data, "augment": augment})


def findings_of(config, splits=("train", "val")):
    """Returns all findings of a check: {kind: [(end of the path, detail)]}."""
    findings = check_data(config, splits, progress=False).findings
    return {
        kind: [(item.where.rpartition("/")[2], item.detail) for item in items]
        for kind, items in findings.items()
    }


def test_nothing_is_wrong_with_a_good_set(tmp_path):
    make_folder_tree(tmp_path / "source")
    assert findings_of(make_config(tmp_path)) == {}


def test_everything_wrong_is_found_in_one_pass(tmp_path):
    root = make_folder_tree(tmp_path / "source", num_train=10)
    images, labels = root / "train" / "images", root / "train" / "labels"
    (labels / "train_000.png").unlink()
    (root / "val" / "images" / "val_000.jpg").unlink()
    file_bytes = (images / "train_001.jpg").read_bytes()
    (images / "train_001.jpg").write_bytes(file_bytes[: len(file_bytes) // 2])
    wrong = random_label(0)
    wrong[0, :5], wrong[1, :2] = 9, 77
    save_image(labels / "train_002.png", wrong)
    save_image(labels / "train_003.png", random_label(0, width=30))
    save_image(labels / "train_004.png", np.full((24, 32), 255, np.uint8))
    save_image(labels / "train_005.png", random_image(0))
    save_image(labels / "train_006.png", np.full((24, 32), 2, np.uint8))

    result = findings_of(make_config(tmp_path))
    details = {kind: [detail for _, detail in items] for kind, items in result.items()}
    assert "Cannot read" in details.pop("unreadable_image")[0]
    assert "a label must hold one class id" in details.pop("unreadable_label")[0]
    assert details == {
        "image_without_label": [""],
        "label_without_image": [""],
        "label_values": ["9 (5 pixels), 77 (2 pixels)"],
        "size_mismatch": ["30x24 instead of 32x24 (width x height)"],
        "nothing_labelled": [""],
        "one_class": ["2 house"],
    }
    names = {kind: items[0][0] for kind, items in result.items()}
    assert names == {
        "image_without_label": "train_000.jpg",
        "label_without_image": "val_000.png",
        "unreadable_image": "train_001.jpg",
        "label_values": "train_002.png",
        "size_mismatch": "train_003.png",
        "nothing_labelled": "train_004.png",
        "unreadable_label": "train_005.png",
        "one_class": "train_006.png",
    }


def test_wrong_values_are_those_of_the_file_under_a_label_map(tmp_path):
    root = make_folder_tree(tmp_path / "source")
    label = np.zeros((24, 32), np.uint8)
    label[0, :3], label[1, :4] = 7, 8
    save_image(root / "train" / "labels" / "train_000.png", label)
    result = findings_of(make_config(tmp_path, label_map=[[7, 1]]))
    assert result["label_values"] == [("train_000.png", "8 (4 pixels)")]


def test_images_in_two_splits(tmp_path):
    root = make_folder_tree(tmp_path / "source")
    train, val = root / "train" / "images", root / "val" / "images"
    shutil.copy(train / "train_001.jpg", val / "val_000.jpg")
    for folder in ("images", "labels"):
        (file,) = (root / "val" / folder).glob("val_001.*")
        file.rename(file.with_stem("train_002"))
    result = findings_of(make_config(tmp_path))
    assert result == {
        "same_content": [("val_000.jpg", f"as {train / 'train_001.jpg'}")],
        "same_name": [("train_002.jpg", f"and {train / 'train_002.jpg'}")],
    }


def test_images_that_are_not_upright_rgb(tmp_path):
    root = make_folder_tree(tmp_path / "source", num_train=4)
    folder = root / "train" / "images"
    Image.fromarray(random_image(0)).convert("CMYK").save(folder / "train_000.jpg")
    Image.fromarray(random_image(0)).convert("L").save(folder / "train_001.jpg")
    exif = Image.Exif()
    exif[0x0112] = 6
    lying = random_image(0, height=32, width=24)
    Image.fromarray(lying).save(folder / "train_002.jpg", exif=exif)
    assert findings_of(make_config(tmp_path)) == {
        "converted_image": [
            ("train_000.jpg", "CMYK"),
            ("train_001.jpg", "grey"),
            ("train_002.jpg", "turned (EXIF)"),
        ]
    }


def test_classes_that_never_occur(tmp_path):
    root = make_folder_tree(tmp_path / "source", num_classes=3)
    for path in (root / "val" / "labels").iterdir():
        save_image(path, random_label(1, num_classes=2))
    config = make_config(tmp_path, classes=(*CLASSES, "car"))
    assert findings_of(config) == {
        "no_training_pixel": [("3 car", "")],
        "no_pixel": [("2 house", "not in val")],
    }
    # Only training needs all classes.
    assert findings_of(config, ["val"]) == {}


@pytest.mark.parametrize(
    "size, share",
    [
        # Short side 512 after scaling, so it is below 512 for factors below 1.
        ((375, 500), 1 / 3),
        ((512, 512), 1 / 3),
        ((1024, 512), 1 / 3),
        # The bound of 2048 limits the long side, so that the short side becomes 256.
        ((100, 800), 1.0),
        ((400, 2000), (512 / 409.6 - 0.5) / 1.5),
    ],
)
def test_share_of_draws_below_the_crop(size, share):
    assert padded_share(size, AugmentConfig()) == pytest.approx(share)


def test_share_is_that_of_many_draws():
    augment = dataclasses.replace(AugmentConfig(), crop_size=(700, 300))
    factors = np.random.default_rng(0).uniform(*augment.ratio_range, 100_000)
    height, width = 600, 350
    scale = np.minimum(2048 * factors / 600, 512 * factors / 350)
    below = (height * scale < 700) | (width * scale < 300)
    assert padded_share((height, width), augment) == pytest.approx(
        below.mean(), abs=0.005
    )


def test_a_fixed_scale_is_below_the_crop_or_not():
    augment = dataclasses.replace(AugmentConfig(), ratio_range=(1.0, 1.0))
    assert padded_share((375, 500), augment) == 0.0
    larger = dataclasses.replace(augment, crop_size=(513, 512))
    assert padded_share((375, 500), larger) == 1.0


def test_a_crop_that_is_too_large_is_noted(tmp_path):
    make_folder_tree(tmp_path / "source")
    config = make_config(tmp_path)
    augment = dataclasses.replace(config.augment, crop_size=(40, 12))
    result = findings_of(dataclasses.replace(config, augment=augment))
    # A factor of 1.67, out of 0.5 to 2, scales 24 to 40.
    assert "40x12 in 78% of the draws" in result["large_crop"][0][1]


def test_a_missing_split_is_an_error_and_the_other_is_checked(tmp_path):
    root = make_folder_tree(tmp_path / "source")
    shutil.rmtree(root / "val" / "images")
    save_image(
        root / "train" / "labels" / "train_000.png", np.full((24, 32), 9, np.uint8)
    )
    result = findings_of(make_config(tmp_path))
    assert (
        result["layout"][0][0] == "val" and "does not exist" in result["layout"][0][1]
    )
    assert result["label_values"] == [("train_000.png", "9 (768 pixels)")]


def test_cityscapes_goes_on_beside_a_missing_label(tmp_path):
    images = tmp_path / "source" / "leftImg8bit" / "train"
    labels = tmp_path / "source" / "gtFine" / "train"
    for index in range(3):
        name = f"town/town_{index:06d}_000000"
        save_image(images / f"{name}_leftImg8bit.png", random_image(index))
        ids = np.resize(np.array([7, 8, 33, 0], np.uint8), (24, 32))
        if index == 2:
            ids[0, :6] = 99
        if index:
            save_image(labels / f"{name}_gtFine_labelIds.png", ids)
    result = findings_of(make_config(tmp_path, dataset="cityscapes"), ["train"])
    assert result["image_without_label"] == [("town_000000_000000_leftImg8bit.png", "")]
    assert result["label_values"] == [
        ("town_000002_000000_gtFine_labelIds.png", "99 (6 pixels)")
    ]


def test_voc_with_a_wrong_number_of_images_is_looked_through(tmp_path):
    root = make_voc_tree(tmp_path / "source")
    path = next((root / "SegmentationClassAug").glob("2007_1*.png"))
    save_image(path, np.full((24, 32), 77, np.uint8))
    result = findings_of(make_config(tmp_path, dataset="voc12aug"))
    assert "5 images" in result["layout"][0][1] and "10582" in result["layout"][0][1]
    assert result["label_values"] == [(path.name, "77 (768 pixels)")]
    partial = make_config(tmp_path, dataset="voc12aug", allow_partial=True)
    assert findings_of(partial)["label_values"] == [(path.name, "77 (768 pixels)")]
    assert "layout" not in findings_of(partial)


def test_voc_goes_on_beside_a_missing_label(tmp_path):
    root = make_voc_tree(tmp_path / "source", num_train=3)
    missing, bad, _ = sorted((root / "SegmentationClass").glob("2007_0*.png"))
    missing.unlink()
    save_image(bad, np.full((24, 32), 77, np.uint8))
    result = findings_of(make_config(tmp_path, dataset="voc12aug", allow_partial=True))
    assert result["image_without_label"] == [(f"{missing.stem}.jpg", "")]
    assert result["label_values"] == [(bad.name, "77 (768 pixels)")]


def test_missing_parts_of_the_source_are_a_warning_of_the_report(tmp_path):
    root = make_voc_tree(tmp_path / "source")
    shutil.rmtree(root / "SegmentationClassAug")
    config = make_config(tmp_path, dataset="voc12aug", allow_partial=True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        result = findings_of(config)
    assert result["source"][0][0] == "train"


@pytest.fixture
def report(tmp_path):
    """The report on a set with five labels of the value 9 and a missing label."""
    root = make_folder_tree(tmp_path / "source", num_train=7)
    for index in range(5):
        path = root / "train" / "labels" / f"train_{index:03d}.png"
        save_image(path, np.full((24, 32), 9, np.uint8))
    (root / "val" / "labels" / "val_001.png").unlink()
    return check_data(make_config(tmp_path), progress=False)


def test_text_shows_a_few_of_each_kind(report):
    text = check_report.format_report(report)
    assert "train: 7 images, height 24 to 24 (median 24), width 32" in text
    assert "Error: Images without a label (1). Add the labels" in text
    assert "Error: Labels with values that are not allowed (5)." in text
    assert text.count("train_00") == 3 and "  and 2 more\n" in text
    assert text.endswith("Found 6 errors, 0 warnings, 0 notes.")


def test_table_has_the_pixels_and_images_of_each_class(report):
    # Only the two good labels count. They hold three classes and 255, equally often.
    lines = check_report.format_report(report).splitlines()
    assert "class              train   images       val   images" in lines
    assert "house             25.00%        2    25.00%        1" in lines
    assert "(not labelled)    25.00%        2    25.00%        1" in lines


def test_json_has_every_item(report):
    raw = json.loads(json.dumps(check_report.report_to_dict(report)))
    assert raw["num_errors"] == 6
    (values,) = [f for f in raw["findings"] if f["kind"] == "label_values"]
    assert values["level"] == "error" and len(values["items"]) == 5
    assert values["items"][4]["detail"] == "9 (768 pixels)"
    assert raw["splits"]["train"]["classes"]["tree"] == {
        "pixel_share": 0.25,
        "num_images": 2,
    }
    assert raw["splits"]["val"]["size"]["width"]["median"] == 32


def test_sheet_shows_every_class_and_fills_up(tmp_path):
    root = make_folder_tree(tmp_path / "source", num_train=6, num_val=1)
    for index in range(6):
        label = np.zeros((24, 32), np.uint8)
        if index == 3:
            label[:2] = 1  # the only image with class 1; that with class 2 is in val
        save_image(root / "train" / "labels" / f"train_{index:03d}.png", label)
    save_image(root / "val" / "labels" / "val_000.png", np.full((24, 32), 2, np.uint8))
    report = check_data(make_config(tmp_path), progress=False)

    def names(at_least):
        chosen = report.looks.examples(at_least)
        return [look.pair.name for look in chosen]

    assert names(1) == ["train_003", "val_000"]
    assert len(set(names(5))) == 5 and names(5)[:2] == names(1)
    assert len(set(names(99))) == 7


def test_before_conversion_all_errors_come_at_once(tmp_path):
    root = make_folder_tree(tmp_path / "source")
    for split, name in (("train", "train_001"), ("val", "val_001")):
        save_image(
            root / split / "labels" / f"{name}.png", np.full((24, 32), 9, np.uint8)
        )
    config = make_config(tmp_path)
    with pytest.raises(UserError) as error:
        check_before_conversion(config, SPLITS)
    assert "train_001.png: 9 (768 pixels)" in str(error.value)
    assert "val_001.png: 9 (768 pixels)" in str(error.value)
    assert "scripts/check_data.py" in str(error.value)
    check_before_conversion(
        make_config(tmp_path, check=False), SPLITS
    )  # raises nothing


def test_before_conversion_warnings_are_warned_of(tmp_path):
    make_folder_tree(tmp_path / "source")
    with pytest.warns(UserWarning, match=r"Classes without a training pixel \(1\)"):
        config = make_config(tmp_path, classes=(*CLASSES, "car"))
        check_before_conversion(config, SPLITS)


def test_with_records_the_source_is_not_checked(tmp_path):
    root = make_folder_tree(tmp_path / "source")
    config = make_config(tmp_path)
    ensure_records(config)
    shutil.rmtree(root)
    check_before_conversion(config, outdated_splits(config))


def test_before_conversion_a_missing_source_brings_instructions(tmp_path):
    with pytest.raises(UserError, match="does not exist"):
        check_before_conversion(make_config(tmp_path), SPLITS)

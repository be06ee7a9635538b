"""The search for pairs of image and label in each layout."""

import warnings

import pytest
from helpers import make_folder_tree, make_voc_tree

from gcnet_tf.data.sources.folders import find_pairs
from gcnet_tf.errors import UserError


def touch(*paths):
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def relative(pairs, root):
    return [
        (p.name, str(p.image.relative_to(root)), str(p.label.relative_to(root)))
        for p in pairs
    ]


@pytest.mark.parametrize("dataset", ["folder", "shapes"])
def test_folder(tmp_path, dataset):
    make_folder_tree(tmp_path, num_train=2, num_val=1)
    assert relative(find_pairs(dataset, str(tmp_path), "train"), tmp_path) == [
        ("train_000", "train/images/train_000.jpg", "train/labels/train_000.png"),
        ("train_001", "train/images/train_001.jpg", "train/labels/train_001.png"),
    ]
    assert len(find_pairs(dataset, tmp_path, "val")) == 1


def test_folder_takes_all_endings_in_any_case(tmp_path):
    endings = "jpg JPEG jpe jfif Png BMP tif TIFF WebP gif ppm pgm jp2".split()
    for number, ending in enumerate(endings):
        touch(tmp_path / "train" / "images" / f"a.b{number}.{ending}")
        touch(tmp_path / "train" / "labels" / f"a.b{number}.PNG")
    (tmp_path / "val").mkdir()  # without it, a share would be kept
    pairs = find_pairs("folder", tmp_path, "train")
    found = {pair.name: pair.image.suffix[1:] for pair in pairs}
    assert found == {f"a.b{number}": ending for number, ending in enumerate(endings)}


def test_folder_missing(tmp_path):
    with pytest.raises(UserError, match=r"nowhere does not exist.*data\.root"):
        find_pairs("folder", tmp_path / "nowhere", "train")
    make_folder_tree(tmp_path)
    (tmp_path / "val" / "images").rename(tmp_path / "elsewhere")
    with pytest.raises(UserError, match="val/images does not exist"):
        find_pairs("folder", tmp_path, "val")


def test_folder_without_images(tmp_path):
    touch(tmp_path / "train" / "labels" / "a.png")
    touch(tmp_path / "train" / "images" / "a.heic")
    with pytest.raises(UserError, match=r"No images in .*\.jpg"):
        find_pairs("folder", tmp_path, "train")


@pytest.mark.parametrize("kind, other", [("images", "labels"), ("labels", "images")])
def test_folder_with_files_left_over(tmp_path, kind, other):
    make_folder_tree(tmp_path, num_train=9)
    for number in range(1, 8):
        next((tmp_path / "train" / other).glob(f"*_00{number}.*")).unlink()
    with pytest.raises(UserError) as error:
        find_pairs("folder", tmp_path, "train")
    message = str(error.value)
    assert f"7 {kind} are" in message and "and 2 more" in message
    named = [number for number in range(9) if f"train_00{number}." in message]
    assert named == [1, 2, 3, 4, 5]


def test_folder_with_one_file_left_over(tmp_path):
    make_folder_tree(tmp_path)
    (tmp_path / "train" / "labels" / "train_001.png").unlink()
    with pytest.raises(UserError, match=r"^1 image is in .*: train_001\.jpg\."):
        find_pairs("folder", tmp_path, "train")


def test_folder_with_a_name_twice(tmp_path):
    make_folder_tree(tmp_path)
    touch(tmp_path / "train" / "images" / "train_001.PNG")
    with pytest.raises(
        UserError, match=r"train_001\.(PNG|jpg) and train_001\.(jpg|PNG)"
    ):
        find_pairs("folder", tmp_path, "train")


def test_unknown_dataset(tmp_path):
    with pytest.raises(UserError, match="coco.*voc12aug"):
        find_pairs("coco", tmp_path, "train")


def voc_train(folder, names):
    return [(n, f"JPEGImages/{n}.jpg", f"{folder}/{n}.png") for n in names]


VOC = voc_train("SegmentationClass", ["2007_000000", "2007_000001"])
AUG = voc_train("SegmentationClassAug", [f"2007_10000{number}" for number in range(3)])


def test_voc_concatenates_train_and_aug(tmp_path):
    make_voc_tree(tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        pairs = find_pairs("voc12aug", tmp_path, "train")
    assert relative(pairs, tmp_path) == VOC + AUG


def test_voc_val_has_voc_masks(tmp_path):
    make_voc_tree(tmp_path)
    names = ["2007_200000", "2007_200001"]
    assert relative(find_pairs("voc12aug", tmp_path, "val"), tmp_path) == voc_train(
        "SegmentationClass", names
    )


def test_voc_with_trainaug_only(tmp_path):
    make_voc_tree(tmp_path)
    lists = tmp_path / "ImageSets" / "Segmentation"
    both = (lists / "aug.txt").read_text() + (lists / "train.txt").read_text()
    (lists / "aug.txt").unlink()
    (lists / "trainaug.txt").write_text(both)
    assert relative(find_pairs("voc12aug", tmp_path, "train"), tmp_path) == VOC + AUG


@pytest.mark.parametrize("absent", ["list", "masks"])
def test_voc_without_aug_warns(tmp_path, absent):
    make_voc_tree(tmp_path)
    if absent == "list":
        (tmp_path / "ImageSets" / "Segmentation" / "aug.txt").unlink()
    else:
        (tmp_path / "SegmentationClassAug").rename(tmp_path / "elsewhere")
    with pytest.warns(UserWarning, match="The 2 images of VOC alone") as caught:
        pairs = find_pairs("voc12aug", tmp_path, "train")
    assert len(caught) == 1
    assert relative(pairs, tmp_path) == VOC
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        find_pairs("voc12aug", tmp_path, "val")


@pytest.mark.parametrize(
    "lost, words",
    [
        ("JPEGImages/2007_100001.jpg", "1 image is listed in"),
        ("SegmentationClass/2007_000001.png", "1 label is listed in"),
        ("SegmentationClassAug/2007_100001.png", "1 label is listed in"),
        ("ImageSets/Segmentation/train.txt", "train.txt is missing"),
    ],
)
def test_voc_with_a_file_missing(tmp_path, lost, words):
    make_voc_tree(tmp_path)
    (tmp_path / lost).unlink()
    with pytest.raises(UserError, match=words) as error:
        find_pairs("voc12aug", tmp_path, "train")
    assert lost.rsplit("/", 1)[1] in str(error.value)


def test_voc_with_a_name_in_both_lists(tmp_path):
    make_voc_tree(tmp_path)
    with (tmp_path / "ImageSets" / "Segmentation" / "aug.txt").open("a") as file:
        file.write("2007_000001\n")
    with pytest.raises(UserError, match="2007_000001 .*twice"):
        find_pairs("voc12aug", tmp_path, "train")


def test_voc_with_a_bad_list(tmp_path):
    make_voc_tree(tmp_path)
    names = tmp_path / "ImageSets" / "Segmentation" / "val.txt"
    names.write_text(names.read_text() * 2)
    with pytest.raises(UserError, match="2007_200000, 2007_200001 more than once"):
        find_pairs("voc12aug", tmp_path, "val")
    names.write_text("\n")
    with pytest.raises(UserError, match="is empty"):
        find_pairs("voc12aug", tmp_path, "val")


def test_ade20k(tmp_path):
    for folder, name in (
        ("training", "ADE_train_00000002"),
        ("training", "ADE_train_00000001"),
        ("validation", "ADE_val_00000001"),
    ):
        touch(
            tmp_path / "images" / folder / f"{name}.jpg",
            tmp_path / "annotations" / folder / f"{name}.png",
        )
    assert relative(find_pairs("ade20k", tmp_path, "train"), tmp_path) == [
        (name, f"images/training/{name}.jpg", f"annotations/training/{name}.png")
        for name in ("ADE_train_00000001", "ADE_train_00000002")
    ]
    assert len(find_pairs("ade20k", tmp_path, "val")) == 1


def make_cityscapes(root, label_ending):
    for city, number in (("ulm", 1), ("aachen", 2), ("aachen", 1)):
        name = f"{city}_00000{number}_000019"
        touch(
            root / "leftImg8bit" / "train" / city / f"{name}_leftImg8bit.png",
            root / "gtFine" / "train" / city / f"{name}_gtFine_{label_ending}.png",
            root / "gtFine" / "train" / city / f"{name}_gtFine_color.png",
        )


def test_cityscapes(tmp_path):
    make_cityscapes(tmp_path, "labelTrainIds")
    names = [("aachen", "000001"), ("aachen", "000002"), ("ulm", "000001")]
    assert relative(find_pairs("cityscapes", tmp_path, "train"), tmp_path) == [
        (
            f"{city}_{n}_000019",
            f"leftImg8bit/train/{city}/{city}_{n}_000019_leftImg8bit.png",
            f"gtFine/train/{city}/{city}_{n}_000019_gtFine_labelTrainIds.png",
        )
        for city, n in names
    ]


def test_cityscapes_prefers_training_ids(tmp_path):
    """`label_ids` prefers the original ids, which distinguish more classes."""

    def endings(**options):
        pairs = find_pairs("cityscapes", tmp_path, "train", **options)
        return {pair.label.name.rpartition("_")[2] for pair in pairs}

    make_cityscapes(tmp_path, "labelIds")
    assert endings() == {"labelIds.png"}
    make_cityscapes(tmp_path, "labelTrainIds")
    assert endings() == {"labelTrainIds.png"}
    assert endings(label_ids=True) == {"labelIds.png"}


def test_cityscapes_without_labels(tmp_path):
    make_cityscapes(tmp_path, "polygons")
    with pytest.raises(UserError, match="3 images are in .* without a label: aachen_"):
        find_pairs("cityscapes", tmp_path, "train")

"""Pascal VOC with the masks of SBD, as in SBD's archive."""

import numpy as np
import pytest
from helpers import make_sbd, make_voc_tree
from PIL import Image
from scipy.io import savemat

from gcnet_tf.data.catalog import dataset_facts
from gcnet_tf.data.records.samples import read_label
from gcnet_tf.data.sources.folders import find_pairs
from gcnet_tf.data.sources.voc import read_sbd_mask
from gcnet_tf.errors import UserError

AUG = [f"2007_10000{number}" for number in range(3)]
VOC = ["2007_000000", "2007_000001"]
PLACES = ["VOCaug/dataset", "benchmark_RELEASE/dataset"]


@pytest.fixture(params=PLACES)
def raw(request, tmp_path):
    """VOC2012 and SBD beside it, both as downloaded."""
    root = make_voc_tree(tmp_path / "VOCdevkit" / "VOC2012")
    make_sbd(tmp_path / "VOCdevkit" / request.param, root)
    (root / "SegmentationClassAug").rename(tmp_path / "masks")
    (root / "ImageSets" / "Segmentation" / "aug.txt").unlink()
    return root


def test_a_missing_list_is_computed(raw):
    """It is SBD's train and val, without the images in VOC's train and val."""
    pairs = find_pairs("voc12aug", raw, "train")
    assert [pair.name for pair in pairs] == VOC + AUG
    assert [pair.label.suffix for pair in pairs] == [".png"] * 2 + [".mat"] * 3
    assert all(pair.label.is_file() and pair.image.is_file() for pair in pairs)


def test_masks_are_those_of_the_png_files(raw, tmp_path):
    facts = dataset_facts("voc12aug")
    for pair in find_pairs("voc12aug", raw, "train")[2:]:
        png = np.asarray(Image.open(tmp_path / "masks" / f"{pair.name}.png"))
        mask = read_label(pair.label, facts)
        assert mask.dtype == np.uint8 and np.array_equal(mask, png)


def test_png_masks_without_a_list_use_the_lists_of_sbd(raw, tmp_path):
    (tmp_path / "masks").rename(raw / "SegmentationClassAug")
    pairs = find_pairs("voc12aug", raw, "train")
    assert [pair.name for pair in pairs] == VOC + AUG
    assert {pair.label.suffix for pair in pairs} == {".png"}


def test_a_lost_mask_is_named(raw):
    next(raw.parent.glob("*/dataset/cls")).joinpath(f"{AUG[1]}.mat").unlink()
    with pytest.raises(UserError, match=f"1 label is listed.*cls: {AUG[1]}.mat"):
        find_pairs("voc12aug", raw, "train")


def test_damaged_masks_are_refused(raw, tmp_path):
    path = next(raw.parent.glob("*/dataset/cls/*.mat"))
    whole = path.read_bytes()
    for file_bytes in (b"", b"hello", whole[: len(whole) // 2], b"\0" * 500):
        path.write_bytes(file_bytes)
        with pytest.raises(UserError, match="Cannot read .*mat as a mask of SBD"):
            read_sbd_mask(path)


@pytest.mark.parametrize("mask", [np.full((2, 3), 0.5), np.zeros(3), [[256]], [[-1]]])
def test_other_contents_are_refused(mask, tmp_path):
    path = tmp_path / "a.mat"
    segmentation = np.empty((1, 1), [("Segmentation", object)])
    segmentation["Segmentation"][0, 0] = np.array(mask)
    savemat(path, {"GTcls": segmentation})
    if np.array(mask).ndim == 1:
        savemat(path, {"GTcls": np.zeros(3)})
    with pytest.raises(UserError, match="as a mask of SBD"):
        read_sbd_mask(path)


def test_a_class_that_voc_does_not_have_is_named(tmp_path):
    path = tmp_path / "a.mat"
    savemat(path, {"GTcls": {"Segmentation": np.array([[0, 21]], np.uint8)}})
    with pytest.raises(UserError, match=r"a\.mat holds the value 21"):
        read_label(path, dataset_facts("voc12aug"))

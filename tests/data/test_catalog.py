import json
import subprocess
import sys
from pathlib import Path

import pytest

import gcnet_tf
from gcnet_tf.data.catalog import IGNORE_LABEL, automatic_palette, dataset_facts
from gcnet_tf.errors import UserError

SHIPPED = ("voc12aug", "ade20k", "cityscapes", "shapes")


@pytest.mark.parametrize(
    "dataset, num_classes, num_images",
    [
        ("voc12aug", 21, {"train": 10582, "val": 1449}),
        ("ade20k", 150, {"train": 20210, "val": 2000}),
        ("cityscapes", 19, {"train": 2975, "val": 500}),
        ("shapes", 6, {}),
    ],
)
def test_counts(dataset, num_classes, num_images):
    facts = dataset_facts(dataset)
    assert facts.name == dataset
    assert facts.num_classes == len(facts.classes) == len(facts.palette) == num_classes
    assert facts.num_images == num_images


@pytest.mark.parametrize(
    "dataset, index, name, colour",
    [
        ("voc12aug", 0, "background", (0, 0, 0)),
        ("voc12aug", 15, "person", (192, 128, 128)),
        ("voc12aug", 20, "tvmonitor", (0, 64, 128)),
        ("cityscapes", 0, "road", (128, 64, 128)),
        ("cityscapes", 6, "traffic light", (250, 170, 30)),
        ("cityscapes", 18, "bicycle", (119, 11, 32)),
        ("ade20k", 0, "wall", (120, 120, 120)),
        # The published checkpoints spell it with a trailing space.
        ("ade20k", 7, "bed ", (204, 5, 255)),
        ("ade20k", 106, "canopy", (0, 255, 92)),
        ("ade20k", 149, "flag", (92, 0, 255)),
        ("shapes", 0, "background", (0, 0, 0)),
    ],
)
def test_names_and_colours(dataset, index, name, colour):
    facts = dataset_facts(dataset)
    assert facts.classes[index] == name
    assert facts.palette[index] == colour


def test_shapes_has_the_background_and_five_shapes():
    assert dataset_facts("shapes").classes == (
        "background",
        "circle",
        "square",
        "triangle",
        "cross",
        "star",
    )


@pytest.mark.parametrize("dataset", SHIPPED)
def test_names_are_unique_and_colours_are_bytes(dataset):
    facts = dataset_facts(dataset)
    assert len(set(facts.classes)) == facts.num_classes
    assert all(0 <= value <= 255 for colour in facts.palette for value in colour)


def test_only_ade20k_repeats_a_colour():
    ade20k = dataset_facts("ade20k").palette
    repeated = [i for i, colour in enumerate(ade20k) if ade20k.count(colour) > 1]
    assert {6, 48} <= set(repeated)
    for dataset in ("voc12aug", "cityscapes", "shapes"):
        palette = dataset_facts(dataset).palette
        assert len(set(palette)) == len(palette)


def test_automatic_colours_are_those_of_voc():
    # The 21 colours in the file were typed from the reference, not from the formula.
    assert automatic_palette(21) == dataset_facts("voc12aug").palette


def test_automatic_colours_differ_for_all_classes():
    assert len(set(automatic_palette(256))) == 256
    # bits 0, 3, 6 -> red; 1, 4, 7 -> green; 2, 5 -> blue, highest first
    assert automatic_palette(256)[0b11111111] == (0b11100000, 0b11100000, 0b11000000)


def test_ade20k_label_map():
    label_map = dataset_facts("ade20k").label_map
    assert len(label_map) == 256
    assert label_map[0] == IGNORE_LABEL == 255
    assert label_map[1:151] == tuple(range(150))
    assert set(label_map[151:255]) == {-1}
    assert label_map[255] == IGNORE_LABEL


@pytest.mark.parametrize("dataset", ["voc12aug", "cityscapes", "shapes"])
def test_other_data_sets_hold_training_ids(dataset):
    assert dataset_facts(dataset).label_map is None


def test_folder_takes_its_classes_from_the_caller():
    facts = dataset_facts("folder", ("a", "b", "c"))
    assert facts.classes == ("a", "b", "c")
    assert facts.palette == ((0, 0, 0), (128, 0, 0), (0, 128, 0))
    assert facts.num_images == {}
    assert facts.label_map is None
    colours = ((1, 2, 3), (4, 5, 6))
    assert dataset_facts("folder", ["a", "b"], list(colours)).palette == colours


@pytest.mark.parametrize(
    "arguments, phrase",
    [
        (("pascal",), "voc12aug, ade20k, cityscapes, shapes, folder"),
        (("folder",), "data.classes"),
        (("folder", ("a", "b"), ((0, 0, 0),)), "1 colours for 2 classes"),
        (("voc12aug", ("a", "b")), "voc12aug brings its own"),
        (("shapes", (), ((0, 0, 0),)), "shapes brings its own"),
    ],
)
def test_wrong_arguments_are_refused(arguments, phrase):
    with pytest.raises(UserError, match=phrase):
        dataset_facts(*arguments)


@pytest.mark.parametrize("dataset", [*SHIPPED, "folder"])
def test_instructions_are_one_screen_that_names_the_place_and_the_next_command(dataset):
    classes = ("a", "b") if dataset == "folder" else ()
    text = dataset_facts(dataset, classes).instructions.format(
        root="my/root", quoted_root="my/root"
    )
    lines = text.splitlines()
    assert "my/root" in text and "{" not in text
    assert "scripts/make_tfrecords.py --cfg" in text
    assert len(lines) <= 24 and max(map(len, lines)) <= 88
    assert ("http" in text) == (dataset not in ("shapes", "folder"))


def test_changing_the_counts_of_one_call_leaves_the_catalog_alone():
    dataset_facts("ade20k").num_images["train"] = 1
    assert dataset_facts("ade20k").num_images["train"] == 20210


def test_label_files_hold_classes_and_palette():
    folder = Path(gcnet_tf.__file__).parent / "data" / "labels"
    assert {file.stem for file in folder.glob("*.json")} == set(SHIPPED)
    for file in folder.glob("*.json"):
        assert set(json.loads(file.read_text())) == {"classes", "palette"}


def test_catalog_and_config_load_no_tensorflow():
    code = (
        "import sys, gcnet_tf, gcnet_tf.config, gcnet_tf.data.catalog; "
        "gcnet_tf.load_config('voc_r50_20k'); "
        "sys.exit(any(name in sys.modules for name in ('tensorflow', 'keras')))"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0

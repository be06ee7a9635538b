"""The procedural images: deterministic, with a thin void and colours free of class."""

import json

import numpy as np
import pytest
from PIL import Image

from gcnet_tf.data import shapes
from gcnet_tf.data.catalog import dataset_facts
from gcnet_tf.errors import UserError

SIZE = 96
NUM_CLASSES = 6


@pytest.fixture(scope="module")
def samples():
    return {
        split: [shapes.make_sample(0, split, index, SIZE) for index in range(number)]
        for split, number in (("train", 150), ("val", 50))
    }


def test_the_outlines_are_those_of_the_class_list():
    assert ("background", *shapes.OUTLINES) == dataset_facts("shapes").classes


def test_the_outlines_fill_the_unit_circle():
    for name, outline in shapes.OUTLINES.items():
        radius = np.linalg.norm(outline, axis=1).max()
        assert radius == pytest.approx(1), name


def test_areas_of_the_outlines():
    # Circle, square and triangle are inscribed in the unit circle; a cross consists of
    # five rectangles.
    arm = 0.36 / np.hypot(1, 0.36)
    length = 1 / np.hypot(1, 0.36)
    expected = {
        "circle": np.pi,
        "square": 2,
        "triangle": 3 * np.sqrt(3) / 4,
        "cross": 4 * arm**2 + 4 * 2 * arm * (length - arm),
        "star": 10 * 0.5 * 0.45 * np.sin(np.pi / 5),
    }
    for name, outline in shapes.OUTLINES.items():
        x, y = outline.T
        area = 0.5 * abs(np.sum(x * np.roll(y, -1) - y * np.roll(x, -1)))
        assert area == pytest.approx(expected[name], rel=0.01), name


def test_types_and_values(samples):
    for image, label in samples["train"]:
        assert image.shape == (SIZE, SIZE, 3) and image.dtype == np.uint8
        assert label.shape == (SIZE, SIZE) and label.dtype == np.uint8
    values = np.unique([label for _, label in samples["train"]])
    assert values.tolist() == [0, 1, 2, 3, 4, 5, 255]


def test_every_class_covers_enough_to_be_learnt(samples):
    for split, pairs in samples.items():
        labels = np.stack([label for _, label in pairs])
        counts = np.bincount(labels.ravel(), minlength=256)[:NUM_CLASSES]
        assert counts.min() / labels.size > 0.02, split


def test_the_void_is_at_most_two_pixels_wide(samples):
    for _, label in samples["train"]:
        void = label == 255
        assert 0.005 < void.mean() < 0.2
        windows = np.lib.stride_tricks.sliding_window_view(void, (3, 3))
        assert not windows.all(axis=(2, 3)).any()


def test_the_void_lies_on_outlines_and_on_all_of_them(samples):
    """Two classes only touch inside the void, so that no metric counts an outline."""
    touching = total = 0
    for _, label in samples["train"]:
        a, b = label[:, 1:], label[:, :-1]
        touching += np.sum((a != b) & (a != 255) & (b != 255))
        total += np.sum((a == 255) != (b == 255))
    assert touching < 0.02 * total  # the pixels given back where outlines meet


def draw(mask):
    return ["".join(row) for row in np.where(mask, "#", ".")]


def test_the_void_takes_the_last_pixel_on_either_side():
    visible = np.zeros((6, 7), np.int32)
    visible[3:, 3:] = 1
    assert draw(shapes._outline_pixels(visible)) == [
        ".......",
        ".......",
        "...####",
        "..#####",
        "..##...",
        "..##...",
    ]


def test_the_void_stays_thin_on_a_sliver():
    """The bands of the two outlines of a shape one pixel wide would join to three."""
    visible = np.zeros((5, 8), np.int32)
    visible[2, 1:7] = 1
    assert draw(shapes._outline_pixels(visible)) == [
        "........",
        ".######.",
        "##....##",
        ".######.",
        "........",
    ]


def test_a_sample_depends_on_seed_split_and_index_alone():
    image, label = shapes.make_sample(3, "train", 7, SIZE)
    shapes.make_sample(3, "train", 8, SIZE)
    again, label_again = shapes.make_sample(3, "train", 7, SIZE)
    assert np.array_equal(image, again) and np.array_equal(label, label_again)
    for other in ((4, "train", 7), (3, "val", 7), (3, "train", 8)):
        assert not np.array_equal(image, shapes.make_sample(*other, SIZE)[0])


def test_shapes_stay_visible():
    """The larger part of every shape is inside the image and not covered."""
    for seed in range(60):
        rng = np.random.default_rng(seed)
        classes, coverages, visible = shapes._place_shapes(rng, SIZE)
        assert 1 <= len(classes) <= shapes.RECIPE.num_shapes[1]
        for number, coverage in enumerate(coverages, start=1):
            drawn = np.sum(coverage >= 128)
            assert np.sum(visible == number) >= 0.55 * drawn


def test_most_images_have_the_wanted_number_of_shapes():
    numbers = [
        len(shapes._place_shapes(np.random.default_rng(seed), SIZE)[0])
        for seed in range(60)
    ]
    assert min(numbers) >= 2 and set(numbers) == {2, 3, 4}


def colour_classifier_miou(train, val):
    """Returns the mIoU of a classifier that only knows each pixel's colour.

    Colours are quantised to 16 levels per channel. The classifier answers the most
    frequent class of a colour, or the class that is most frequent relative to its share
    of all pixels, which is not always background; the better of the two mIoUs counts.
    """

    def bins(image):
        r, g, b = np.moveaxis(image.astype(np.int64) // 16, -1, 0)
        return (r * 16 + g) * 16 + b

    counts = np.zeros((4096, NUM_CLASSES))
    for image, label in train:
        labelled = label != 255
        np.add.at(counts, (bins(image)[labelled], label[labelled]), 1)
    mious = []
    for weights in (1.0, 1 / counts.sum(axis=0)):
        answer = np.argmax(counts * weights, axis=1)
        confusion = np.zeros((NUM_CLASSES, NUM_CLASSES))
        for image, label in val:
            labelled = label != 255
            guesses = answer[bins(image)[labelled]]
            np.add.at(confusion, (label[labelled], guesses), 1)
        union = confusion.sum(axis=0) + confusion.sum(axis=1) - np.diag(confusion)
        mious.append(np.mean(np.diag(confusion) / union))
    return max(mious)


def test_the_class_is_not_readable_from_colour(samples):
    assert colour_classifier_miou(samples["train"], samples["val"]) < 0.5


def test_the_colour_classifier_detects_colours_tied_to_classes(samples):
    """The test above can fail: images tinted by class are classified well."""
    colours = np.array(dataset_facts("shapes").palette, np.float64)

    def tinted(pairs):
        for image, label in pairs:
            class_colours = colours[np.where(label == 255, 0, label)]
            yield (0.2 * image + 0.8 * class_colours).astype(np.uint8), label

    train, val = list(tinted(samples["train"])), list(tinted(samples["val"]))
    assert colour_classifier_miou(train, val) > 0.8


def test_means_of_shapes_and_background_have_one_distribution(samples):
    """The mean colour of every class is the same, within its sampling error."""
    means = {index: [] for index in range(NUM_CLASSES)}
    for image, label in samples["train"] + samples["val"]:
        for index in np.unique(label[label != 255]):
            means[index].append(image[label == index].mean(axis=0))
    for index, values in means.items():
        error = np.std(values, axis=0) / np.sqrt(len(values))
        assert np.all(np.abs(np.mean(values, axis=0) - 127.5) < 4 * error), index


SMALL = {"num_train": 3, "num_val": 2, "size": 32, "seed": 5}


def test_generates_the_folder_layout(tmp_path):
    root = tmp_path / "deep" / "shapes"
    shapes.generate_shapes(root, **SMALL)
    for split, number in (("train", 3), ("val", 2)):
        images = sorted((root / split / "images").iterdir())
        labels = sorted((root / split / "labels").iterdir())
        assert [p.name for p in images] == [p.name for p in labels]
        assert len(images) == number
        image, label = shapes.make_sample(5, split, 1, 32)
        assert np.array_equal(np.asarray(Image.open(images[1])), image)
        assert np.array_equal(np.asarray(Image.open(labels[1])), label)
    assert [path.name for path in root.parent.iterdir()] == ["shapes"]


def test_the_same_set_is_left_alone_and_another_one_replaced(tmp_path):
    root = tmp_path / "shapes"
    shapes.generate_shapes(root, **SMALL)
    marker = root / "train" / "marker"
    marker.touch()
    shapes.generate_shapes(root, **SMALL)
    assert marker.exists()
    shapes.generate_shapes(root, **SMALL | {"seed": 6})
    assert not marker.exists()
    assert [path.name for path in tmp_path.iterdir()] == ["shapes"]


def test_a_changed_recipe_makes_another_set(tmp_path, monkeypatch):
    shapes.generate_shapes(tmp_path / "shapes", **SMALL)
    before = json.loads((tmp_path / "shapes" / "shapes.json").read_text())
    monkeypatch.setattr(shapes, "RECIPE", shapes.Recipe(pixel_noise=9.0))
    shapes.generate_shapes(tmp_path / "shapes", **SMALL)
    after = json.loads((tmp_path / "shapes" / "shapes.json").read_text())
    assert before["recipe"]["pixel_noise"] != after["recipe"]["pixel_noise"] == 9.0


def test_an_interrupted_run_leaves_nothing_to_trust(tmp_path, monkeypatch):
    root = tmp_path / "shapes"
    make_sample = shapes.make_sample

    def interrupted(seed, split, index, size):
        if split == "val":
            raise KeyboardInterrupt
        return make_sample(seed, split, index, size)

    monkeypatch.setattr(shapes, "make_sample", interrupted)
    with pytest.raises(KeyboardInterrupt):
        shapes.generate_shapes(root, **SMALL)
    assert not root.exists()
    monkeypatch.undo()
    shapes.generate_shapes(root, **SMALL)
    assert len(list((root / "val" / "images").iterdir())) == 2
    assert [path.name for path in tmp_path.iterdir()] == ["shapes"]


def test_a_folder_of_the_user_is_not_overwritten(tmp_path):
    (tmp_path / "photo.jpg").touch()
    with pytest.raises(UserError, match="not a generated shapes set"):
        shapes.generate_shapes(tmp_path, **SMALL)
    assert (tmp_path / "photo.jpg").exists()


@pytest.mark.parametrize("wrong", [{"size": 8}, {"num_train": 0}, {"num_val": 0}])
def test_numbers_out_of_range_are_refused(tmp_path, wrong):
    with pytest.raises(UserError, match="at least"):
        shapes.generate_shapes(tmp_path / "shapes", **SMALL | wrong)

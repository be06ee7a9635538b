"""Masks drawn from polygons and run lengths, beside pycocotools and geometry."""

import cv2
import numpy as np
import pytest
from helpers import save_image
from matplotlib.path import Path as Outline
from PIL import Image, ImageDraw
from pycocotools import mask as tool

from gcnet_tf.data.catalog import dataset_facts
from gcnet_tf.data.records.samples import encode_pair, read_label
from gcnet_tf.data.sources.exports.drawn import Canvas, Drawn
from gcnet_tf.data.sources.pairs import Pair
from gcnet_tf.errors import UserError

# pycocotools among itself, with NumPy 2.
pytestmark = pytest.mark.filterwarnings(
    "ignore:__array__ implementation:DeprecationWarning"
)
SIZE = (20, 30)
FACTS = dataset_facts("folder", ("ground", "tree"))


def drawn(polygons, size=SIZE, holes=()):
    canvas = Canvas(size)
    canvas.polygons(1, polygons, holes)
    return canvas.ids


def by_pycocotools(polygons, size=SIZE):
    return tool.decode(tool.merge(tool.frPyObjects(polygons, *size)))


@pytest.mark.parametrize("seed", range(40))
def test_polygons_are_those_of_pycocotools(seed):
    """Also of several parts, and partly outside the image."""
    rng = np.random.default_rng(seed)
    corners = [rng.integers(3, 12) for _ in range(rng.integers(1, 4))]
    polygons = [rng.uniform(-8, 38, 2 * number).tolist() for number in corners]
    assert np.array_equal(drawn(polygons), by_pycocotools(polygons))


@pytest.mark.parametrize("seed", range(10))
def test_the_centre_of_a_pixel_decides(seed):
    rng = np.random.default_rng(seed)
    angles = np.sort(rng.uniform(0, 2 * np.pi, 9))
    radius = rng.uniform(5, 9, 9)
    points = np.stack([15 + radius * np.cos(angles), 10 + radius * np.sin(angles)], 1)
    y, x = np.mgrid[: SIZE[0], : SIZE[1]] + 0.5
    centres = np.stack([x.ravel(), y.ravel()], 1)
    mask = drawn([points.ravel().tolist()]).astype(bool).ravel()
    # pycocotools rounds corners to a fifth of a pixel.
    surely_in = Outline(points).contains_points(centres, radius=-0.25)
    maybe_in = Outline(points).contains_points(centres, radius=0.25)
    if surely_in.sum() > maybe_in.sum():  # the sign follows the direction of turning
        surely_in, maybe_in = maybe_in, surely_in
    assert mask[surely_in].all() and not mask[~maybe_in].any()


@pytest.mark.parametrize(
    "polygon, pixels",
    [
        ([0, 0, 30, 0, 30, 20, 0, 20], np.s_[:, :]),
        ([5, 5, 6, 5, 6, 6, 5, 6], np.s_[5:6, 5:6]),
        ([29, 19, 30, 19, 30, 20, 29, 20], np.s_[19:, 29:]),
        ([3, 0, 4, 0, 4, 20, 3, 20], np.s_[:, 3:4]),
        ([-9, -9, 4, -9, 4, 4, -9, 4], np.s_[:4, :4]),
        ([-50, -50, 90, -50, 90, 90, -50, 90], np.s_[:, :]),
        ([40, 5, 50, 5, 50, 9], np.s_[:0, :]),
        ([-9, -9, -2, -9, -2, -3], np.s_[:0, :]),
        ([1, 1, 9, 9], np.s_[:0, :]),
        ([], np.s_[:0, :]),
    ],
)
def test_edges_of_pixels(polygon, pixels):
    expected = np.zeros(SIZE, np.uint8)
    expected[pixels] = 1
    assert np.array_equal(drawn([polygon]), expected)


def test_holes_stay_as_they_are():
    canvas = Canvas(SIZE)
    canvas.polygons(2, [[0, 0, 30, 0, 30, 20, 0, 20]])
    canvas.polygons(1, [[2, 2, 12, 2, 12, 12, 2, 12]], [[4, 4, 8, 4, 8, 8, 4, 8]])
    expected = np.full(SIZE, 2, np.uint8)
    expected[2:12, 2:12] = 1
    expected[4:8, 4:8] = 2
    assert np.array_equal(canvas.ids, expected)


def test_a_later_shape_covers_an_earlier_one():
    canvas = Canvas(SIZE)
    canvas.polygons(1, [[0, 0, 9, 0, 9, 9, 0, 9]])
    canvas.mask(2, np.ones((4, 4), bool), 7, 7)
    canvas.polygons(1, [[8, 8, 9, 8, 9, 9, 8, 9]])
    assert canvas.ids[7, 7] == 2 and canvas.ids[8, 8] == 1 and canvas.ids[10, 10] == 2


@pytest.mark.parametrize("left, top", [(-2, -1), (28, 18), (50, 50), (-9, -9), (3, 4)])
def test_a_mask_is_cut_at_the_edges(left, top):
    mask = np.ones((4, 5), bool)
    mask[0, 0] = False
    whole = np.zeros((80, 80), np.uint8)
    whole[20 + top : 24 + top, 20 + left : 25 + left] = mask
    canvas = Canvas(SIZE)
    canvas.mask(1, mask, left, top)
    assert np.array_equal(canvas.ids, whole[20:40, 20:50])


@pytest.mark.parametrize("seed", range(20))
def test_run_lengths_are_those_of_pycocotools(seed):
    rng = np.random.default_rng(seed)
    mask = rng.random(SIZE) < rng.random()
    if seed % 2:  # long runs, whose numbers take more than one character
        mask = np.repeat(np.repeat(rng.random((4, 3)) < 0.5, 5, 0), 10, 1)
    rle = tool.encode(np.asfortranarray(mask.astype(np.uint8)))
    for counts in (rle["counts"], rle["counts"].decode()):
        canvas = Canvas(SIZE)
        canvas.run_lengths(1, {"size": list(SIZE), "counts": counts})
        assert np.array_equal(canvas.ids, mask)


@pytest.mark.parametrize(
    "rle, message",
    [
        ({"size": [40, 30], "counts": [60, 5, 535]}, "of 30x40 in an image of 30x20"),
        ({"size": [20, 30], "counts": [60, 5]}, "of 65 pixels for an image of 600"),
        ({"size": [20, 30], "counts": [60, 5, 10**15]}, "for an image of 600"),
        ({"size": [20, 30], "counts": [60, -5, 545]}, "for an image of 600"),
        ({"size": [20, 30], "counts": "zzzz"}, "that COCO's text cannot have|cut"),
        ({"size": [20, 30], "counts": "l1o"}, "cut short"),
        ({"size": [20, 30], "counts": "Aé"}, "that COCO's text cannot have"),
    ],
)
def test_run_lengths_that_do_not_fit(rle, message):
    with pytest.raises(UserError, match=message):
        Canvas(SIZE).run_lengths(1, rle)


@pytest.mark.parametrize(
    "polygon",
    [[1, 1, 1e9, 1, 1e9, 1e9], [1, 1, np.nan, 4, 5, 6], [1, 2, 3, 4, 5, 6, 7]],
)
def test_coordinates_that_cannot_be(polygon):
    with pytest.raises(UserError, match="far outside|pairs of numbers"):
        drawn([polygon])


def label_of(path, size, turned=1):
    image = save_image(path, np.zeros((*SIZE, 3), np.uint8))
    if turned > 1:
        exif = Image.Exif()
        exif[0x0112] = turned
        Image.open(image).save(image, exif=exif)
    paint = lambda canvas: canvas.polygons(1, [[0, 0, 9, 0, 9, 9]])  # noqa: E731
    return Pair("a", image, Drawn(image, (image,), paint, size))


@pytest.mark.parametrize("ending", ["jpg", "png", "tif", "webp"])
def test_a_label_has_the_size_of_the_upright_image(tmp_path, ending):
    path = tmp_path / f"a.{ending}"
    assert read_label(label_of(path, None).label, FACTS).shape == SIZE
    turned = label_of(path, SIZE[::-1], turned=6)
    assert read_label(turned.label, FACTS).shape == SIZE[::-1]
    encode_pair(turned, FACTS)  # compares the sizes
    with pytest.raises(UserError, match=r"states .*30x20.*upright image has .*20x30"):
        read_label(label_of(path, SIZE, turned=6).label, FACTS)


def test_another_size_is_refused(tmp_path):
    pair = label_of(tmp_path / "a.png", (10, 15))
    with pytest.raises(UserError, match=r"states the size 15x10 .*has 30x20.*Export"):
        encode_pair(pair, FACTS)


def test_the_files_of_a_pair(tmp_path):
    image, label = tmp_path / "a.jpg", tmp_path / "a.png"
    assert Pair("a", image, label).files == (image, label)
    assert Pair("a", image, Drawn(image, (label, image))).files == (image, label, image)


@pytest.mark.parametrize("seed", range(8))
def test_labelme_differs_by_a_pixel_along_the_edge(seed):
    """labelme's own conversion draws with Pillow, outline included."""
    rng = np.random.default_rng(seed)
    angles = np.sort(rng.uniform(0, 2 * np.pi, 7))
    points = np.stack([15 + 9 * np.cos(angles), 10 + 8 * np.sin(angles)], 1)
    image = Image.new("1", SIZE[::-1])
    ImageDraw.Draw(image).polygon([tuple(p) for p in points], outline=1, fill=1)
    wide = np.asarray(image)
    inner = cv2.erode(wide.astype(np.uint8), np.ones((3, 3))).astype(bool)
    outer = cv2.dilate(wide.astype(np.uint8), np.ones((3, 3))).astype(bool)
    mask = drawn([points.ravel().tolist()]).astype(bool)
    assert not mask[~outer].any() and mask[inner].all()
    assert mask.sum() < wide.sum()


def test_corners_of_pixel_polygons_belong_to_them():
    """Supervisely 6.74.51 gives this mask for the same corners."""
    canvas = Canvas(SIZE)
    hole = [[10, 8], [15, 8], [15, 12], [10, 12]]
    canvas.pixel_polygon(1, [[5, 4], [25, 4], [25, 19], [5, 19]], [hole])
    expected = np.zeros(SIZE, np.uint8)
    expected[4:20, 5:26] = 1
    expected[8:13, 10:16] = 0
    assert np.array_equal(canvas.ids, expected)

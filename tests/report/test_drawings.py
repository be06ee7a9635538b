"""Pictures and charts of a report, decoded and looked into."""

import base64
import re
from io import BytesIO
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from gcnet_tf.report import charts, confusion
from gcnet_tf.report.counted.calibration import Calibration
from gcnet_tf.report.counted.objects import SizeBin
from gcnet_tf.report.pictures import Frame, index_png

PALETTE = ((10, 20, 30), (200, 0, 0), (0, 200, 0))


def decoded(address):
    kind, _, content = address.partition(",")
    assert re.fullmatch("data:image/(png|jpeg);base64", kind)
    return Image.open(BytesIO(base64.b64decode(content)))


def test_class_ids_keep_their_colours_and_unlabelled_pixels_are_clear():
    ids = np.array([[0, 1, 2], [255, 2, 1]], np.uint8)
    pixels = np.asarray(decoded(index_png(ids, PALETTE)).convert("RGBA"))
    np.testing.assert_array_equal(pixels[..., 3], np.where(ids == 255, 0, 255))
    known = ids != 255
    np.testing.assert_array_equal(pixels[known][:, :3], np.array(PALETTE)[ids[known]])


def test_wrong_pixels_are_red_in_a_grey_image():
    image = np.random.default_rng(0).integers(0, 256, (40, 60, 3)).astype(np.uint8)
    wrong = np.zeros((40, 60), bool)
    wrong[8:24, 16:40] = True
    pixels = np.asarray(decoded(Frame(image).marked(wrong)), np.int32)
    red = pixels[..., 0] - pixels[..., 1:].max(axis=-1)
    assert red[9:23, 17:39].min() > 60 and np.abs(red[28:]).max() < 25


def test_large_images_are_made_small_and_small_ones_stay():
    large = Frame(np.zeros((900, 300, 3), np.uint8), longest=300)
    assert decoded(large.photo()).size == (100, 300)
    assert large.shrunk(np.zeros((900, 300), np.uint8)).shape == (300, 100)
    assert decoded(Frame(np.zeros((1, 700, 3), np.uint8)).photo()).size == (440, 1)


def test_attention_is_bright_where_it_is_large():
    frame = Frame(np.full((64, 64, 3), 128, np.uint8))
    values = np.zeros((8, 8), np.float32)
    values[:4] = 1e-3
    pixels = np.asarray(decoded(frame.heat(values)).convert("L"), np.float32)
    assert pixels[:24].mean() > pixels[40:].mean() + 60
    decoded(frame.heat(np.full((8, 8), np.nan))).load()


def test_confusions_are_sorted_by_pixels_and_shares_are_of_rows():
    counts = np.array([[90, 10, 0], [30, 70, 0], [0, 0, 0]])
    first, second = confusion.largest_confusions(counts)
    assert (first.truth, first.prediction, first.pixels) == (1, 0, 30)
    assert (first.of_class, first.of_errors) == (0.3, 0.75)
    assert (second.truth, second.prediction) == (0, 1)
    rows = confusion.cells(counts)
    assert [cell.share for cell in rows[0]] == [0.9, 0.1, 0.0]
    assert all(np.isnan(cell.share) and cell.opacity == 0 for cell in rows[2])
    pixels = np.asarray(decoded(confusion.picture(counts)))
    assert pixels.shape == (3, 3, 4) and (pixels[2, :, 3] == 0).all()
    assert pixels[0, 0, 2] > pixels[0, 0, 0] and pixels[0, 1, 0] > pixels[0, 1, 2]


def all_charts():
    calibration = Calibration()
    calibration.update(np.array([[[0.9, 0.1], [0.6, 0.4]]]), np.array([[0, 1]]))
    bins = [SizeBin("0–8", 1200, 0.5, 0.4), SizeBin("8–16", 3, 0.1, 0.0)]
    curve = [(1.0, 0.5), (2.0, 0.25)]
    yield charts.curve_chart("a", "<loss>", [(0, curve), (7, curve[:1])], True, True)
    yield charts.reliability_chart("b", "x", [(0, calibration), (1, calibration)])
    yield charts.size_chart("c", "x", [(0, bins)])


@pytest.mark.parametrize("number", range(3))
def test_charts_are_elements_in_the_colours_of_the_page(number):
    chart = [*all_charts()][number]
    root = ElementTree.fromstring(chart)
    assert root.tag == "svg" and root.get("role") == "img"
    assert not re.search(r"http|xmlns|<style|#0a0b", chart)
    names = re.findall(r'\bid="([^"]+)"', chart)
    assert len(set(names)) == len(names)
    used = re.findall(r'(?:href="#|url\(#)([^")]+)', chart)
    assert used and set(used) <= set(names)
    # Every colour is a variable of the style sheet, so that it changes with the theme.
    colours = re.findall(r"(?:fill|stroke): *([^;\"]+)", chart)
    assert set(colours) <= {"none", *(c for c in colours if c.startswith("var(--"))}


def test_users_own_style_of_charts_changes_nothing():
    import matplotlib

    before, *_ = all_charts()
    with matplotlib.rc_context({"lines.color": "red", "font.size": 30}):
        after, *_ = all_charts()
    assert before == after

import numpy as np

from gcnet_tf.visualize.pictures import (
    colour,
    contact_sheet,
    overlay,
    panel,
    small_overlay,
    with_legend,
)

PALETTE = ((10, 20, 30), (200, 100, 0))
IMAGE = np.full((40, 60, 3), 100, np.uint8)
LABELS = np.zeros((40, 60), np.uint8)
LABELS[:, 30:] = 1
LABELS[0] = 255


def test_colour_of_classes_and_of_ignored_pixels():
    rgb = colour(LABELS, PALETTE)
    assert rgb[5, 5].tolist() == [10, 20, 30]
    assert rgb[5, 40].tolist() == [200, 100, 0]
    assert rgb[0, 0].tolist() == [0, 0, 0]


def test_overlay_mixes_and_leaves_ignored_pixels_unpainted():
    mixed = overlay(IMAGE, LABELS, PALETTE, opacity=0.5)
    assert mixed[5, 5].tolist() == [55, 60, 65]
    assert mixed[5, 40].tolist() == [150, 100, 50]
    assert mixed[0, 0].tolist() == [100, 100, 100]
    assert mixed.dtype == np.uint8


def test_borders_are_in_full_colour():
    mixed = overlay(IMAGE, LABELS, PALETTE, opacity=0.5)
    assert mixed[5, 30].tolist() == [200, 100, 0]
    assert mixed[5, 31].tolist() == [150, 100, 50]


def test_legend_lies_below_and_shows_the_colours_that_occur():
    picture = with_legend(IMAGE, LABELS, ("road", "a very long class name"), PALETTE)
    pixels = np.asarray(picture)
    # Enlarged eight times: 480 is the largest multiple of 60 up to 512.
    enlarged = IMAGE.repeat(8, axis=0).repeat(8, axis=1)
    np.testing.assert_array_equal(pixels[:320, :480], enlarged)
    below = pixels[320:].reshape(-1, 3)
    for rgb in PALETTE:
        assert (below == rgb).all(axis=1).sum() > 50
    only_road = np.asarray(
        with_legend(IMAGE, np.zeros_like(LABELS), ("road", "sky"), PALETTE)
    )
    assert not (only_road[320:] == PALETTE[1]).all(axis=-1).any()


def test_panel_is_three_pictures_wide():
    truth, prediction = np.zeros_like(LABELS), np.ones_like(LABELS)
    picture = panel(IMAGE, truth, prediction, PALETTE)
    assert picture.shape == (40, 180, 3)
    assert picture[3, 70].tolist() == list(PALETTE[0])
    assert picture[3, 130].tolist() == list(PALETTE[1])


def test_small_overlay_has_one_size_and_sharp_borders():
    for factor in (1, 10):
        large = [array.repeat(factor, 0).repeat(factor, 1) for array in (IMAGE, LABELS)]
        tile = small_overlay(*large, PALETTE)
        assert tile.size == (240, 160)
        row = np.asarray(tile)[80]
        assert (row == PALETTE[1]).all(axis=-1).tolist() == [
            column == 120 for column in range(240)
        ]


def test_sheet_is_a_grid_above_a_legend_of_all_classes():
    tile = small_overlay(IMAGE, LABELS, PALETTE)
    sheet = np.asarray(
        contact_sheet([("train/a" * 40, tile)] * 5, ("road", "sky"), PALETTE)
    )
    height, width = 180 + 12 + 2 * 6, 240 + 6
    assert sheet.shape[1] == 4 * width and sheet.shape[0] > 2 * height
    for x, y in ((0, 0), (3 * width, 0), (0, height)):
        np.testing.assert_array_equal(
            sheet[y + 3 : y + 163, x + 3 : x + 243], np.asarray(tile)
        )
    assert (
        sheet[height + 3 : 2 * height, width:] == 255
    ).all()  # five tiles, eight cells
    # Names that are too long are cut, not drawn over the neighbour.
    assert (sheet[164:height, 243 : width + 3] == 255).all()
    legend = sheet[2 * height :].reshape(-1, 3)
    for rgb in PALETTE:
        assert (legend == rgb).all(axis=1).sum() > 50


def test_sheet_of_one_is_not_wider_than_it_needs():
    tile = small_overlay(IMAGE, LABELS, PALETTE)
    assert contact_sheet([("a", tile)], ("road", "sky"), PALETTE).width == 246

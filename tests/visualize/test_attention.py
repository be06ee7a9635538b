"""Attention maps: their values, their picture, and the script with wrong input."""

import numpy as np
import pytest
import tensorflow as tf
from helpers import call_script, random_image, save_image

from gcnet_tf.errors import UserError
from gcnet_tf.models import build_model
from gcnet_tf.training.monitor.run_folder import open_run
from gcnet_tf.visualize.attention import (
    AttentionMap,
    attention_maps,
    draw,
    parse_points,
    spread_points,
)
from gcnet_tf.weights.files import BEST_WEIGHTS, save_weights

pytestmark = pytest.mark.usefixtures("shallow")

SIZE = (24, 32)  # 3x4 positions of 8x8 pixels


@pytest.fixture(scope="module")
def runs(tiny_config, tmp_path_factory):
    """Run folders with drawn weights, by the block of the head."""
    folder = tmp_path_factory.mktemp("runs")
    for block in ("gc", "nl", "none"):
        config = tiny_config(f"model.head.context.block={block}")
        open_run(folder / block, config)
        save_weights(build_model(config), folder / block / BEST_WEIGHTS)
    return folder


@pytest.fixture(scope="module")
def image(tmp_path_factory):
    return save_image(
        tmp_path_factory.mktemp("image") / "a.png", random_image(0, *SIZE)
    )


def test_one_map_of_gc_and_a_map_of_nl_for_each_point(tiny_config):
    pixels = random_image(1, *SIZE)
    points = [(0, 0), (31, 23), (9, 17)]
    config = tiny_config()
    (attention_map,) = attention_maps(
        "run", build_model(config), config, pixels, points
    )
    assert (
        attention_map.title == "run: gc, every position" and attention_map.point is None
    )
    assert attention_map.values.shape == (3, 4)
    assert attention_map.values.sum() == pytest.approx(1, abs=1e-5)

    config = tiny_config("model.head.context.block=nl")
    model = build_model(config)
    maps = attention_maps("run", model, config, pixels, points)
    assert [attention.point for attention in maps] == points
    # The whole affinity, from the block's own convolutions.
    head = model.decode_head
    stage = model.backbone(model._normalise(pixels[None], None))["stage4"]
    inputs = head.conv_before(stage)
    theta, phi = (
        tf.reshape(conv(inputs), [12, 4])
        for conv in (head.context.theta, head.context.phi)
    )
    affinity = tf.nn.softmax(theta @ tf.transpose(phi) / 2).numpy()
    for attention, position in zip(maps, (0, 11, 9)):
        expected = affinity[position].reshape(3, 4)
        np.testing.assert_allclose(attention.values, expected, rtol=1e-4)
    assert np.ptp(maps[0].values) > 0


def test_points_are_read():
    assert parse_points(["3,4 5,6", "0,0"], (24, 32)) == [(3, 4), (5, 6), (0, 0)]
    assert spread_points((24, 32)) == [(8, 6), (24, 6), (8, 18), (24, 18)]
    assert spread_points((1, 1)) == [(0, 0)] * 4


@pytest.mark.parametrize(
    "texts, message",
    [
        (["3"], 'received "3"'),
        (["3,x"], 'received "3,x"'),
        (["32,0"], "32,0 is outside the image, which is 32 wide and 24 high"),
        (["1,1", "0,24"], "0,24 is outside"),
        (["-1,0"], "-1,0 is outside"),
        ([" "], "received none"),
    ],
)
def test_words_that_are_no_points_in_the_image_are_refused(texts, message):
    with pytest.raises(UserError, match=message):
        parse_points(texts, (24, 32))


def test_the_picture_shows_the_map(tmp_path):
    """The right half, where the map is high, is red."""
    grey = np.full((*SIZE, 3), 128, np.uint8)
    values = np.repeat([[0.0, 0.0, 1.0, 1.0]], 3, axis=0).astype(np.float32)
    maps = [AttentionMap("title", None, values)]
    draw(tmp_path / "a.png", grey, [(1, 1)], maps)
    from PIL import Image

    picture = np.asarray(Image.open(tmp_path / "a.png").convert("RGB")).astype(int)
    # The second picture is the right half of the file; the middle rows are in it.
    strip = picture[picture.shape[0] // 2, picture.shape[1] // 2 :]
    coloured = strip[np.ptp(strip, axis=1) > 60]
    first, last = coloured[5], coloured[-5]
    assert first[2] > first[0] + 60 and last[0] > last[2] + 60


def test_the_script(runs, image, tmp_path, capsys):
    models = ["--model", runs / "gc", "--other", runs / "nl"]
    arguments = [*models, "--image", image, "--out", tmp_path / "out"]
    call_script("show_attention", *arguments, "--points", "3,4", "30,20")
    path = tmp_path / "out" / "a_attention.png"
    assert f"Wrote {path}" in capsys.readouterr().out
    assert path.read_bytes()[1:4] == b"PNG"


@pytest.mark.parametrize(
    "arguments, message",
    [
        (("--model", "{}/none"), "/none has no attention to show; .* is 'none'"),
        (("--model", "{}"), "--model: .* is not a run folder"),
        (("--model", "{}/gc", "--other", "gone"), "--other: gone is not a run folder"),
        (("--model", "{}/gc", "--points", "99,0"), "99,0 is outside"),
        (("--model", "{}/gc", "--image", "gone.png"), "--image: there is no file gone"),
        (
            ("--model", "{}/gc", "--out", "{}/gc/config.json"),
            "Cannot write .*Not a dir",
        ),
    ],
)
def test_wrong_input(arguments, message, runs, image, tmp_path):
    words = [text.format(runs) for text in arguments]
    with pytest.raises(UserError, match=message):
        out = ["--out", tmp_path / "out"]
        call_script("show_attention", "--image", image, *out, *words)
    assert not list(tmp_path.glob("**/*.png"))

"""Protocols: their modes, and their settings in manifests."""

import dataclasses

import pytest

from gcnet_tf.errors import UserError
from gcnet_tf.runtime.protocol import Protocol

WHOLE = Protocol("whole", (66, 45), (30, 30), (20, 14), False, (0.5, 1.0), False)
SLIDE = dataclasses.replace(WHOLE, mode="slide")


@pytest.mark.parametrize(
    "mode, expected",
    [
        (None, ("slide", True)),
        ("whole", ("whole", False)),
        ("slide", ("slide", False)),
        ("tiled", ("tiled", False)),
        # Multi-scale and flip, each view in the mode of the configuration.
        ("ms_flip", ("slide", True)),
    ],
)
def test_modes(mode, expected):
    protocol = dataclasses.replace(SLIDE, ms_flip=True).with_mode(mode)
    assert (protocol.mode, protocol.ms_flip) == expected


def test_unknown_modes():
    with pytest.raises(UserError, match='"tile"; allowed: one of whole, slide'):
        WHOLE.with_mode("tile")


def test_a_protocol_comes_from_json():
    settings = {**dataclasses.asdict(SLIDE), "scale": [66, 45], "ratios": [0.5, 1]}
    assert Protocol.from_settings(settings) == SLIDE
    for wrong in (
        *({"scale": [66]}, {"mode": "all"}, {"stride": [0, 4]}),
        *({"padding_colour": [0, 0]}, {"padding_colour": [0, 0, 256]}),
    ):
        with pytest.raises(ValueError):
            Protocol.from_settings({**settings, **wrong})
    # Manifests from before version 0.2 hold no colour; all models then used this one.
    del settings["padding_colour"]
    assert Protocol.from_settings(settings).padding_colour == (124, 116, 104)
    settings.pop("window")
    with pytest.raises(KeyError):
        Protocol.from_settings(settings)


def test_words_give_the_steps_and_their_numbers():
    whole = WHOLE.in_words(None)
    assert "longer and shorter sides are at most 66 and 45 pixels" in whole
    assert "windows" not in whole and "pad" not in whole and "mirror" not in whole
    assert "without aligned corners" in whole
    fixed = WHOLE.in_words((24, 32))
    assert "fits into 24x32" in fixed and "RGB (124, 116, 104)" in fixed
    slide = dataclasses.replace(SLIDE, align_corners=True).in_words(None)
    assert "windows of 30x30 (height x width), 20 further down and 14 to" in slide
    assert "with aligned corners" in slide and "pad" not in slide
    both = dataclasses.replace(SLIDE, ms_flip=True).in_words((60, 60))
    assert "at most 33 and 22 or 66 and 45 pixels" in both and "mirrored" in both
    assert "windows of 60x60 (height x width), 40 further down and 28 to" in both
    assert both.index("windows") < both.index("pad what") < both.index("average their")

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

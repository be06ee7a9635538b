"""Protocols: the way from an image of any size to inputs of a network."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from gcnet_tf.errors import UserError
from gcnet_tf.runtime.windows import scales_of

MODES = ("whole", "slide", "ms_flip", "tiled")
# ImageNet's mean, for manifests from before version 0.2, which hold no colour.
_OLD_PADDING_COLOUR = (124, 116, 104)


@dataclass(frozen=True)
class Protocol:
    """The scales, windows and padding that make inputs of a network from an image.

    Attributes:
        mode: "whole": the image is one input; "slide": overlapping windows, whose
            logits are averaged; "tiled": overlapping windows of the image without
            resizing, of which the middles are kept, for images that are too large for
            the other modes.
        scale: bounds to which images are resized, see `keep_ratio_size`; unused by
            "tiled".
        window: (height, width) of the windows of "slide" and "tiled".
        stride: steps between windows, (down, to the right).
        ms_flip: whether the probabilities of several scales, each also mirrored, are
            averaged.
        ratios: factors on `scale` under `ms_flip`.
        align_corners: how logits are resized, see `resize_logits`.
        padding_colour: RGB in 0-255 of the padding of images that are smaller than the
            network's inputs: the mean of training, which the normalisation turns into
            zeros.
    """

    mode: str
    scale: tuple[int, int]
    window: tuple[int, int]
    stride: tuple[int, int]
    ms_flip: bool
    ratios: tuple[float, ...]
    align_corners: bool
    padding_colour: tuple[int, int, int] = _OLD_PADDING_COLOUR

    @classmethod
    def from_settings(cls, settings: Mapping[str, Any]) -> "Protocol":
        """Makes a protocol from the `protocol` of a manifest.

        Args:
            settings: the configuration's `evaluation` section, `align_corners` and
                `padding_colour`.

        Raises:
            KeyError, TypeError, ValueError, OverflowError: when a setting is missing or
                wrong.
        """
        mode, ms_flip = settings["mode"], settings["ms_flip"]
        if mode not in MODES or not isinstance(ms_flip, bool):
            raise ValueError(f"received the mode {mode} and the ms_flip {ms_flip}")
        colour = settings.get("padding_colour", _OLD_PADDING_COLOUR)
        red, green, blue = (int(value) for value in colour)
        if not 0 <= min(red, green, blue) <= max(red, green, blue) <= 255:
            raise ValueError(f"received the padding_colour {colour}")
        return cls(
            mode=mode,
            scale=_pair(settings["scale"]),
            window=_pair(settings["window"]),
            stride=_pair(settings["stride"]),
            ms_flip=ms_flip,
            ratios=tuple(map(float, settings["ratios"])),
            align_corners=bool(settings["align_corners"]),
            padding_colour=(red, green, blue),
        )

    def with_mode(self, mode: str | None) -> "Protocol":
        """Returns the protocol in another of the `MODES`; None leaves it unchanged.

        Raises:
            UserError: when the mode is unknown.
        """
        if mode is None:
            return self
        if mode not in MODES:
            raise UserError(
                f'mode: received "{mode}"; allowed: one of {", ".join(MODES)}.'
            )
        if mode == "ms_flip":
            return replace(self, ms_flip=True)
        return replace(self, ms_flip=False, mode=mode)

    @property
    def averages_probabilities(self) -> bool:
        """Tells whether several scales and views are averaged; "tiled" has only one."""
        return self.ms_flip and self.mode != "tiled"

    def scales(self) -> list[tuple[int, int]]:
        """Lists the scales to which an image is resized."""
        return scales_of(self.scale, self.ratios) if self.ms_flip else [self.scale]

    def window_of(
        self, size: tuple[int, int] | None
    ) -> tuple[tuple[int, int], tuple[int, int]]:
        """Returns window and stride for a network of one input size, or of any (None).

        They are scaled to that size.
        """
        if size is None:
            return self.window, self.stride
        steps = [
            max(side * step // length, 1)
            for side, step, length in zip(size, self.stride, self.window)
        ]
        return size, (steps[0], steps[1])

    def in_words(self, size: tuple[int, int] | None) -> str:
        """Describes the steps for a file that holds the network alone.

        Args:
            size: the only (height, width) that the file accepts; None for any.
        """
        bounds = [(max(scale), min(scale)) for scale in self.scales()]
        within = " or ".join(f"{long} and {short}" for long, short in bounds)
        steps = [
            "This file is the network alone: photos as they come get wrong labels and "
            "no error. Scale an RGB photo in proportion to the largest size whose "
            f"longer and shorter sides are at most {within} pixels"
        ]
        window, (down, right) = self.window_of(size)
        if self.mode == "slide":
            steps += [
                f"cut windows of {window[0]}x{window[1]} (height x width), {down} "
                f"further down and {right} to the right each",
                "average their logits where they overlap",
            ]
        elif size is not None:
            steps[0] += f" and that fits into {size[0]}x{size[1]} (height x width)"
        if size is not None:
            colour = ", ".join(map(str, self.padding_colour))
            steps.insert(
                2 if self.mode == "slide" else 1,
                f"pad what is smaller below and on the right with RGB ({colour}), and "
                "cut the padding off the outputs",
            )
        corners = "with" if self.align_corners else "without"
        steps.append(
            "scale the values per class bilinearly, and not the labels, to the photo's "
            f"size, {corners} aligned corners"
        )
        if self.ms_flip:
            steps.append(
                "average the probabilities of all scales, each also mirrored left to "
                "right and its outputs mirrored back"
            )
        steps.append("take the class with the largest value")
        return (
            "; ".join(steps) + ". gcnet_tf.runtime.Predictor does this; `protocol` has "
            "the settings."
        )


def _pair(values: Sequence[int]) -> tuple[int, int]:
    first, second = map(int, values)
    if min(first, second) < 1:
        raise ValueError(f"received the size {first}, {second}")
    return first, second

"""Which files an export consists of; needs no TensorFlow."""

import re
from dataclasses import dataclass
from typing import NamedTuple

from gcnet_tf.config import Config
from gcnet_tf.errors import UserError

# format: its precisions
PRECISIONS = {
    "saved_model": ("fp32", "bf16"),
    "tflite": ("fp32", "fp16", "dynamic", "int8"),
    "onnx": ("fp32",),
}
# What SavedModels in fp32 are made for. The second has Winograd convolutions: twice as
# fast on a processor, where TensorFlow has none, and slower on a GPU, which does.
PORTABLE, CPU_FP32 = TARGETS = ("portable", "cpu-fp32")
ALL = "all"
DYNAMIC = "dynamic"


class Job(NamedTuple):
    """One call of an exporter."""

    format: str
    precision: str
    size: tuple[int, int] | None
    """(height, width) of the images, None for any."""


@dataclass(frozen=True)
class Checks:
    """How the accuracy of the written files is looked at.

    Attributes:
        samples: number of validation images at most; 0 for not at all.
        allow_drop: whether files that have lost more than their precision may are kept
            without an error.
    """

    samples: int = 50
    allow_drop: bool = False

    def __post_init__(self):
        if self.samples < 0:
            raise UserError(f"--samples: received {self.samples}; it is at least 0.")


def plan(format: str, precision: str, size: str | None, config: Config) -> list[Job]:
    """What `--format`, `--precision` and `--size` ask for.

    Args:
        format: a key of `PRECISIONS`, or "all".
        precision: one of its precisions, or "all".
        size: "HEIGHTxWIDTH", "dynamic", or None: any size where the format can, else
            that of the training crops.
        config: of the model.

    Raises:
        UserError: when there is no such file.
    """
    wanted = None if size in (None, DYNAMIC) else parse_size(str(size))
    jobs = []
    for each, precisions in PRECISIONS.items():
        if format not in (ALL, each):
            continue
        fitting = [name for name in precisions if precision in (ALL, name)]
        if each == "tflite" and size == DYNAMIC and fitting:
            raise UserError(
                "--size dynamic: phones need one size in a TFLite file; give --size "
                "HEIGHTxWIDTH, or another --format."
            )
        default = config.augment.crop_size if each == "tflite" else None
        jobs += [Job(each, name, wanted or default) for name in fitting]
    if not jobs:
        raise UserError(
            f"--precision {precision}: received with --format {format}; allowed are "
            + "; ".join(
                f"{name}: {', '.join(precisions)}"
                for name, precisions in PRECISIONS.items()
            )
            + "."
        )
    return jobs


def parse_size(text: str) -> tuple[int, int]:
    """(height, width) from "512x1024".

    Raises:
        UserError: when it is none, or too small or large for a network.
    """
    match = re.fullmatch(r"(\d+)[xX](\d+)", text)
    size = (int(match[1]), int(match[2])) if match else (0, 0)
    if not all(32 <= side <= 8192 for side in size):
        raise UserError(
            f'--size: received "{text}"; allowed: HEIGHTxWIDTH such as 512x1024, each '
            "from 32 to 8192, or dynamic."
        )
    return size

"""The plan of an export: the list of its files. Needs no TensorFlow."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from gcnet_tf.config import Config
from gcnet_tf.errors import UserError

# A page for browsers, with TFLite files. It is written only where it is named.
WEB = "web"
# The precisions of each format.
PRECISIONS = {
    "saved_model": ("fp32", "bf16"),
    "tflite": ("fp32", "fp16", "dynamic", "int8", "full_int8"),
    "onnx": ("fp32", "int8"),
    WEB: ("int8", "fp16", "fp32"),
}
# Formats that are or hold TFLite files, which take images of one size.
_OF_ONE_SIZE = ("tflite", WEB)
# Targets of SavedModels in fp32. The second has Winograd convolutions. It is twice as
# fast on a processor, for which TensorFlow has none, and slower on a GPU, for which it
# does.
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
    """The checks of the accuracy of the written files.

    Attributes:
        samples: largest number of validation images; 0 for no check.
        allow_drop: whether files may lose more accuracy than their precision allows
            without an error.
    """

    samples: int = 50
    allow_drop: bool = False

    def __post_init__(self) -> None:
        if self.samples < 0:
            raise UserError(f"--samples: received {self.samples}; it is at least 0.")


def plan(format: str, precision: str, size: str | None, config: Config) -> list[Job]:
    """Lists the files that `--format`, `--precision` and `--size` describe.

    Args:
        format: a key of `PRECISIONS`, or "all" but the page for browsers.
        precision: one of its precisions, or "all".
        size: "HEIGHTxWIDTH", "dynamic", or None: any size where the format allows it,
            else that of the training crops.
        config: configuration of the model.

    Raises:
        UserError: when the options describe no file.
    """
    fixed_size = None if size in (None, DYNAMIC) else parse_size(str(size))
    jobs = []
    for format_name, precisions in PRECISIONS.items():
        if format != format_name and (format != ALL or format_name == WEB):
            continue
        chosen = [name for name in precisions if precision in (ALL, name)]
        has_one_size = format_name in _OF_ONE_SIZE
        if has_one_size and size == DYNAMIC and chosen:
            raise UserError(
                "--size dynamic: phones and browsers need one size in a TFLite file; "
                "give --size HEIGHTxWIDTH, or another --format."
            )
        default = config.augment.crop_size if has_one_size else None
        jobs += [Job(format_name, name, fixed_size or default) for name in chosen]
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


def require_for_servers(jobs: Sequence[Job]) -> None:
    """Checks that an export writes a file for servers.

    Raises:
        UserError: when it writes TFLite files only.
    """
    if all(job.format in _OF_ONE_SIZE for job in jobs):
        raise UserError(
            f"--server: received with --format {jobs[0].format}; servers take "
            "saved_model and onnx. Choose one of them, or all."
        )


def require_for_web(jobs: Sequence[Job], config: Config) -> None:
    """Checks that the page for browsers, if it is planned, can follow the protocol.

    Raises:
        UserError: when it cannot.
    """
    if config.evaluation.ms_flip and any(job.format == WEB for job in jobs):
        raise UserError(
            "--format web: received a model that is evaluated at several scales, each "
            "also mirrored (evaluation.ms_flip); allowed: the modes whole and slide. "
            "Add --set evaluation.ms_flip=false, whose labels differ a little."
        )


def parse_size(text: str) -> tuple[int, int]:
    """Reads (height, width) from a text such as "512x1024".

    Raises:
        UserError: when it is no size, or too small or large for a network.
    """
    match = re.fullmatch(r"(\d+)[xX](\d+)", text)
    size = (int(match[1]), int(match[2])) if match else (0, 0)
    if not all(32 <= side <= 8192 for side in size):
        raise UserError(
            f'--size: received "{text}"; allowed: HEIGHTxWIDTH such as 512x1024, each '
            "from 32 to 8192, or dynamic."
        )
    return size

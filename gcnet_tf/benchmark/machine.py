"""What a measurement was made on and with: times mean nothing without it."""

import platform
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from gcnet_tf.cores import num_cores

_CPU = Path("/proc/cpuinfo")
# The sets that decide the speed of a network, as the kernel calls them.
_SETS = (
    "avx2",
    "avx512f",
    "avx_vnni",
    "avx512_vnni",
    "avx512_bf16",
    "avx512_fp16",
    "amx_bf16",
    "amx_int8",
    "amx_fp16",
)


def processor() -> str:
    """The processor's name, and how many of its cores there are for us."""
    name = _cpu_field("model name") or platform.processor() or platform.machine()
    return f"{name}, {num_cores()} cores"


def instruction_sets() -> list[str]:
    """Which of the sets that decide the speed of a network the processor has."""
    found = _cpu_field("flags").split()
    return [name for name in _SETS if name in found]


def versions(packages: Iterable[str]) -> dict[str, str]:
    """Versions of those packages that are installed."""
    found = {"python": platform.python_version()}
    for package in packages:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def _cpu_field(name: str) -> str:
    """A field of the first processor; "" where the system does not tell."""
    if not _CPU.is_file():
        return ""
    for line in _CPU.read_text().splitlines():
        key, _, value = line.partition(":")
        if key.strip() == name:
            return value.strip()
    return ""

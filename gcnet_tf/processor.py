"""The processor: its cores, its instruction sets, and TensorFlow's settings for it."""

import os
import platform
from collections.abc import Mapping, MutableMapping, Sequence
from glob import glob
from pathlib import Path
from typing import Any

_CPU = Path("/proc/cpuinfo")
_MEMORY = Path("/proc/meminfo")
# The instruction sets that decide the speed of a network, by the kernel's names.
_INSTRUCTION_SETS = (
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
# Device files that the drivers of NVIDIA's and of AMD's GPUs create.
_GPUS = ("/dev/nvidia[0-9]*", "/dev/kfd", "/dev/dxg")
# Of NVIDIA's alone, whose GPUs the extra `gpu` is for. A container without `--gpus` has
# the second one.
_NVIDIA = ("/dev/nvidia[0-9]*", "/proc/driver/nvidia/gpus/*")

ONEDNN = "TF_ENABLE_ONEDNN_OPTS"
GROWTH = "TF_FORCE_GPU_ALLOW_GROWTH"
ALLOCATOR = "TF_CPU_ALLOCATOR_USE_BFC"
_ALLOCATOR_LIMIT = "TF_CPU_BFC_MEM_LIMIT_IN_MB"


def num_cores() -> int:
    """Counts the cores that this process may use; in a container, fewer than all."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def processor() -> str:
    """Names the processor and the number of cores that this process may use."""
    name = _cpu_field("model name") or platform.processor() or platform.machine()
    return f"{name}, {num_cores()} cores"


def instruction_sets() -> list[str]:
    """Lists the processor's instruction sets that decide the speed of a network."""
    flags = _cpu_field("flags").split()
    return [name for name in _INSTRUCTION_SETS if name in flags]


def set_defaults(environment: MutableMapping[str, str] = os.environ) -> None:
    """Sets the variables with which TensorFlow starts: its allocators.

    On a GPU memory grows with its use. TensorFlow would otherwise take all the memory
    of every GPU, in the first process of whatever kind. `set_memory_growth` cannot do
    this everywhere: it fails where TensorFlow has started.

    glibc returns the memory of every large tensor to the system and requests it again:
    a hundred thousand page faults a second, a third of a training's processor time.
    TensorFlow's own allocator ("BFC") keeps its memory (measured in docs/speed.md).
    Where there are instructions for neural networks, TensorFlow uses oneDNN's kernels,
    whose allocator keeps its memory anyway. We do not switch these kernels on
    elsewhere: with AVX2 alone they write beyond their memory in a training of 4
    channels (`malloc_consolidate(): invalid chunk`).

    TensorFlow reads the variables when it starts. Variables that the user has set stay,
    and where a GPU may compute, the processor's allocator stays TensorFlow's own.
    """
    environment.setdefault(GROWTH, "true")
    if ALLOCATOR in environment or _may_have_gpu(environment):
        return
    environment[ALLOCATOR] = "true"
    if memory := _megabytes():
        # By default the allocator stops at 64 GB, also on a machine with more.
        environment.setdefault(_ALLOCATOR_LIMIT, str(memory))


def settings_text(environment: MutableMapping[str, str] = os.environ) -> str:
    """Lists the variables of `set_defaults` that are set, for the log."""
    names = [ONEDNN, ALLOCATOR, _ALLOCATOR_LIMIT]
    if _may_have_gpu(environment):
        names.append(GROWTH)
    assignments = [
        f"{name}={environment[name]}" for name in names if name in environment
    ]
    return ", ".join(assignments) or "TensorFlow's own kernels and allocator"


def unused_gpu(gpus: Sequence[Any], environment: Mapping[str, str] = os.environ) -> str:
    """Describes why an NVIDIA GPU is not used although its driver is there.

    Args:
        gpus: the GPUs that TensorFlow lists.
        environment: says whether the user has hidden the GPUs.

    Returns:
        What to do, as a sentence; "" where there is nothing to do.
    """
    found = [] if gpus or _are_hidden(environment) else _found(_NVIDIA)
    if not found:
        return ""
    return (
        f"NVIDIA's driver is on this machine ({found[0]}), but TensorFlow lists no "
        "GPU and computes on the processor. Install its GPU libraries: pip install -e "
        '".[gpu]" (in a container, also start it with --gpus all). If they are '
        "installed, TF_CPP_MIN_LOG_LEVEL=0 shows what TensorFlow lacks. To use the "
        "processor without this warning: CUDA_VISIBLE_DEVICES=-1."
    )


def _may_have_gpu(environment: Mapping[str, str]) -> bool:
    """Looks for a GPU's device file: TensorFlow cannot be asked before it starts."""
    return not _are_hidden(environment) and bool(_found(_GPUS))


def _are_hidden(environment: Mapping[str, str]) -> bool:
    return environment.get("CUDA_VISIBLE_DEVICES") in ("", "-1")


def _found(patterns: Sequence[str]) -> list[str]:
    return [path for pattern in patterns for path in sorted(glob(pattern))]


def _megabytes() -> int | None:
    """Reads how much memory the machine has; None where the system does not tell."""
    if not _MEMORY.is_file():
        return None
    total = _MEMORY.read_text(encoding="utf-8").split("MemTotal:")[1].split()[0]
    return int(total) // 1024


def _cpu_field(name: str) -> str:
    """Reads a field of the first core; "" where the system does not tell."""
    if not _CPU.is_file():
        return ""
    for line in _CPU.read_text(encoding="utf-8").splitlines():
        key, _, value = line.partition(":")
        if key.strip() == name:
            return value.strip()
    return ""

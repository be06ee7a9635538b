"""The processor: its cores, its instruction sets, and TensorFlow's settings for it."""

import os
import platform
from collections.abc import MutableMapping
from glob import glob
from pathlib import Path

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


def _may_have_gpu(environment: MutableMapping[str, str]) -> bool:
    """Looks for a GPU's device file: TensorFlow cannot be asked before it starts."""
    hidden = environment.get("CUDA_VISIBLE_DEVICES") in ("", "-1")
    return not hidden and any(glob(pattern) for pattern in _GPUS)


def _megabytes() -> int | None:
    """Reads how much memory the machine has; None where the system does not tell."""
    if not _MEMORY.is_file():
        return None
    total = _MEMORY.read_text().split("MemTotal:")[1].split()[0]
    return int(total) // 1024


def _cpu_field(name: str) -> str:
    """Reads a field of the first core; "" where the system does not tell."""
    if not _CPU.is_file():
        return ""
    for line in _CPU.read_text().splitlines():
        key, _, value = line.partition(":")
        if key.strip() == name:
            return value.strip()
    return ""

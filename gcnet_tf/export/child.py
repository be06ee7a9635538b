"""The end of a child process with its parent. Needs no TensorFlow."""

import ctypes
import os
import signal

# Of the kernel's <linux/prctl.h>.
_PR_SET_PDEATHSIG = 1


def end_with(parent: int) -> None:
    """Lets the kernel end this process when the one that started it ends.

    That one ends it by itself unless it is killed. A converter would then go on for
    minutes, on all cores, for nobody.

    Args:
        parent: number of the process that started this one.
    """
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it ended before the call
        os._exit(1)

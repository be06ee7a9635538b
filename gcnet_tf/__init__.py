"""GCNet semantic segmentation in TensorFlow/Keras.

Names are looked up on first use, so that `import gcnet_tf` loads no TensorFlow: parts
that work without it (configuration, conversion checks, the numpy runtime) start fast.
"""

import os
import sys

if sys.argv[:1] == ["-m"] and __name__ in sys.orig_argv and not sys.flags.safe_path:
    # `python -m` looks for modules in the working folder first, and that may be a
    # stranger's.
    del sys.path[0]

from importlib import import_module
from typing import Any

from gcnet_tf.processor import set_defaults

__version__ = "0.2.0"

_HOME_OF = {
    "Config": "gcnet_tf.config",
    "load_config": "gcnet_tf.config",
    "UserError": "gcnet_tf.errors",
    "build_model": "gcnet_tf.models",
    "Segmentor": "gcnet_tf.models",
    "GlobalContextBlock": "gcnet_tf.layers",
    "train": "gcnet_tf.training",
    "load": "gcnet_tf.api",
    "Model": "gcnet_tf.api",
    "Result": "gcnet_tf.api",
}

__all__ = sorted(_HOME_OF)

# TensorFlow reads these variables once, when it starts. Every part of the package that
# starts it imports this module first.
set_defaults()
# HDF5 reads it once, too. Some network disks have no file locks; ours, in `files.lock`,
# is a file, and weights are renamed to their place when they are whole.
os.environ.setdefault("HDF5_USE_FILE_LOCKING", "FALSE")


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module 'gcnet_tf' has no attribute {name!r}")
    return getattr(import_module(_HOME_OF[name]), name)


def __dir__() -> list[str]:
    return sorted(list(globals()) + __all__)

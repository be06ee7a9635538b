"""The working folder as a place of modules: only where the user says so.

Its owner may be a stranger, who has put a configuration there and the modules that it
imports. Needs no TensorFlow.
"""

import os
import sys
from pathlib import Path

from gcnet_tf.config import Config


def is_searched() -> bool:
    """Tells whether Python looks for modules in the working folder."""
    return os.getcwd() in sys.path


def search() -> None:
    """Lets `custom_imports` find modules in the working folder.

    The folder comes last, so that no file in it hides an installed package.
    """
    if not is_searched():
        sys.path.append(os.getcwd())


def holds_modules(config: Config) -> bool:
    """Tells whether modules of `custom_imports` lie in the working folder."""
    tops = [Path(name.partition(".")[0]) for name in config.custom_imports]
    return any(top.is_dir() or top.with_suffix(".py").is_file() for top in tops)

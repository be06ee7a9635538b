"""The memory that an exported R50 takes, in a process of its own."""

import subprocess
import sys

import pytest

from gcnet_tf.config import load_config
from gcnet_tf.export.saved_model import export_saved_model
from gcnet_tf.models import build_model

_OPEN = """
import sys
import numpy as np
from gcnet_tf.runtime import Predictor
Predictor(sys.argv[1])(np.zeros((512, 512, 3), np.uint8))
with open("/proc/self/status") as status:
    print(next(line.split()[1] for line in status if line.startswith("VmHWM")))
"""


@pytest.mark.slow
def test_the_memory_of_an_r50_is_few_times_its_weights(tmp_path):
    """Loading and the first answer took 4.2 GB when weights were in the graph."""
    config = load_config("voc_r50_20k")
    (path,) = export_saved_model(build_model(config), config, tmp_path)
    done = subprocess.run(
        [sys.executable, "-c", _OPEN, path], capture_output=True, text=True, check=True
    )
    assert int(done.stdout.split()[-1]) < 1.5e6  # kB

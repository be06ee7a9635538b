"""The memory that exporting and opening an R50 take, in processes of their own."""

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

_CONVERT = """
import sys
from pathlib import Path
from gcnet_tf.config import load_config
from gcnet_tf.export.onnx import export_onnx
from gcnet_tf.models import build_model
config = load_config("voc_r50_20k")
export_onnx(build_model(config), config, Path(sys.argv[1]))
with open("/proc/self/status") as status:
    print(next(line.split()[1] for line in status if line.startswith("VmHWM")))
"""


def peak_kilobytes(code, path):
    done = subprocess.run(
        [sys.executable, "-c", code, path], capture_output=True, text=True, check=True
    )
    return int(done.stdout.split()[-1])


@pytest.mark.slow
def test_the_memory_of_an_r50_is_few_times_its_weights(tmp_path):
    """Loading and the first answer took 4.2 GB when weights were in the graph."""
    config = load_config("voc_r50_20k")
    (path,) = export_saved_model(build_model(config), config, tmp_path)
    assert peak_kilobytes(_OPEN, path) < 1.5e6


@pytest.mark.slow
def test_converting_an_r50_to_onnx_frees_its_copies(tmp_path):
    """It took 14.8 GB when the copies of tf2onnx's passes stayed, and takes 5.4."""
    assert peak_kilobytes(_CONVERT, tmp_path) < 8e6

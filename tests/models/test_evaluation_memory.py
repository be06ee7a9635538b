"""The memory that evaluating an R50 takes, in a process of its own."""

import subprocess
import sys

import pytest

_EVALUATE = """
import numpy as np
from gcnet_tf.config import load_config
from gcnet_tf.evaluation.load import predictor_from_model
from gcnet_tf.models import build_model

def kilobytes():
    with open("/proc/self/status") as status:
        return int(next(x.split()[1] for x in status if x.startswith("VmHWM")))

config = load_config("voc_r50_20k")
model = build_model(config)
before = kilobytes()
predictor_from_model(model, config)(np.zeros((512, 512, 3), np.uint8))
print(kilobytes() - before)
"""


@pytest.mark.slow
def test_evaluating_an_r50_takes_few_times_its_weights():
    """It took 3.6 GB beside the model when all weights were constants."""
    done = subprocess.run(
        [sys.executable, "-c", _EVALUATE], capture_output=True, text=True, check=True
    )
    assert int(done.stdout.split()[-1]) < 1.5e6  # kB

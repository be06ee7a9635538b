"""Worker that runs the reference's training step for `scripts/benchmark.py train`.

    python tests/parity/reference_train.py PRECISION NETWORK BATCH HEIGHT WIDTH THREADS

PRECISION is "fp32", or "bf16" for PyTorch's autocast. NETWORK holds arguments of
`reference.build_segmentor` in JSON; the weights are drawn. See
scripts/benchmarks/workers.py for the protocol. Stream "run" takes uint8 images and
labels through mmsegmentation's own preprocessing, both heads' losses, the gradients,
and PyTorch's SGD with the published settings, channels last.

Needs the environment of tests/parity/requirements.txt.
"""

import json
import sys
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import reference
import torch

# Both sides use our clock; these modules import no TensorFlow.
sys.path[:0] = [str(Path(__file__).parents[2] / part) for part in ("", "scripts")]
from benchmarks.workers import serve  # noqa: E402


def step_function(network, batch, size, precision):
    """Returns a function that takes one step of the published optimiser."""
    model = reference.build_segmentor(**network, pad_size=size)
    reference.load_drawn(model, 0, double=False)
    model.train().to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(
        model.parameters(), lr=0.01, momentum=0.9, weight_decay=5e-4
    )
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (batch, *size, 3), np.uint8)
    labels = rng.integers(0, network["num_classes"], (batch, *size), np.uint8)
    data = {
        "inputs": [reference.bgr_tensor(image) for image in images],
        "data_samples": [reference.data_sample(label) for label in labels],
    }

    def run():
        autocast = nullcontext()
        if precision == "bf16":
            autocast = torch.autocast("cpu", torch.bfloat16)
        inputs = model.data_preprocessor(data, training=True)
        pixels = inputs["inputs"].to(memory_format=torch.channels_last)
        with autocast:
            losses = model.loss(pixels, inputs["data_samples"])
            total, _ = model.parse_losses(losses)
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        assert np.isfinite(total.item())
        return batch

    return run


def main() -> None:
    precision, network = sys.argv[1], json.loads(sys.argv[2])
    batch, height, width, threads = map(int, sys.argv[3:])
    torch.set_num_threads(threads)
    state = {}

    def run():
        if not state:
            state["run"] = step_function(network, batch, (height, width), precision)
        return state["run"]()

    # PyTorch is imported already.
    serve({"import": lambda: 0, "run": run})


if __name__ == "__main__":
    main()

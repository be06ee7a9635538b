"""Worker that runs the reference's network for `scripts/benchmark.py infer`.

    python tests/parity/reference_infer.py fp32 NETWORK HEIGHT WIDTH THREADS
    python tests/parity/reference_infer.py bf16 NETWORK HEIGHT WIDTH THREADS
    python tests/parity/reference_infer.py export NETWORK HEIGHT WIDTH THREADS FILES

NETWORK holds arguments of `reference.build_segmentor` in JSON; the weights are drawn.
The first two serve the protocol of scripts/benchmarks/workers.py. Stream "run" takes a
uint8 image through mmsegmentation's own preprocessing and `predict`, to logits of its
size and labels, in PyTorch with channels last; bf16 is PyTorch's autocast. "export"
writes two FILES: the weights without the auxiliary head, and the network in ONNX, from
RGB 0-255 to logits and labels.

Needs the environment of tests/parity/requirements.txt.
"""

import json
import sys
import warnings
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import reference
import torch

# Both sides use our clock; these modules import no TensorFlow.
sys.path[:0] = [str(Path(__file__).parents[2] / part) for part in ("", "scripts")]
from benchmarks.workers import serve  # noqa: E402

# The last version that torch.onnx itself writes, and the one that our files have.
OPSET = 17


class Deployed(torch.nn.Module):
    """Network from (batch, 3, height, width) RGB 0-255 to logits and labels."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, images):
        preprocessor = self.model.data_preprocessor
        inputs = (images - preprocessor.mean) / preprocessor.std
        size = tuple(images.shape[2:])
        logits = self.model.encode_decode(
            inputs, [{"ori_shape": size, "img_shape": size}]
        )
        return logits, logits.argmax(dim=1).to(torch.uint8)


def build(network):
    """Builds a network with drawn weights, in evaluation mode."""
    model = reference.build_segmentor(**network)
    reference.load_drawn(model, 0, double=False)
    return model.eval()


def run_function(model, image, precision):
    """Returns a function that takes an image from preprocessing to postprocessing."""
    model.to(memory_format=torch.channels_last)
    packed = reference.bgr_tensor(image)
    autocast = nullcontext()
    if precision == "bf16":
        autocast = torch.autocast("cpu", torch.bfloat16)

    def run():
        with torch.inference_mode(), autocast:
            inputs = model.data_preprocessor({"inputs": [packed]})["inputs"]
            inputs = inputs.to(memory_format=torch.channels_last)
            (sample,) = model.predict(inputs)
        assert sample.seg_logits.data.shape[1:] == image.shape[:2]
        assert sample.pred_sem_seg.data.shape[1:] == image.shape[:2]
        return 1

    return run


def export(model, size, state, file):
    """Writes weights and ONNX file without the auxiliary head, which nobody deploys."""
    weights = {
        key: value
        for key, value in model.state_dict().items()
        if not key.startswith("auxiliary_head.")
    }
    torch.save(weights, state)
    warnings.simplefilter("ignore")
    with torch.no_grad():
        torch.onnx.export(
            Deployed(model),
            (torch.zeros(1, 3, *size),),
            file,
            opset_version=OPSET,
            input_names=["images"],
            output_names=["logits", "labels"],
            dynamo=False,
        )


def main() -> None:
    command, network = sys.argv[1], json.loads(sys.argv[2])
    height, width, threads = map(int, sys.argv[3:6])
    torch.set_num_threads(threads)
    if command == "export":
        return export(build(network), (height, width), *sys.argv[6:])
    shape = (height, width, 3)
    image = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    state = {}

    def run():
        if not state:
            state["run"] = run_function(build(network), image, command)
        return state["run"]()

    # PyTorch is imported already.
    serve({"import": lambda: 0, "run": run})


if __name__ == "__main__":
    main()

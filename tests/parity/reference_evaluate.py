"""Worker that runs the reference's evaluation for `scripts/benchmark.py evaluate`.

    python tests/parity/reference_evaluate.py FOLDER THREADS

FOLDER was written by scripts/benchmarks/evaluate/data.py; see
scripts/benchmarks/workers.py for the protocol. The streams are the modes "whole",
"slide" and "ms_flip". Each evaluates all images, one by one as the reference does, from
their files to the mIoU, in PyTorch with channels last, which is faster than its
default.

Needs the environment of tests/parity/requirements.txt.
"""

import json
import sys
from functools import partial
from pathlib import Path

import numpy as np
import reference
import torch
from mmengine.config import ConfigDict
from reference_pipeline import pairs_of
from reference_protocol import (
    areas_of,
    metrics_of,
    ms_flip_pipeline,
    single_pipeline,
)

# Both sides use our clock; these modules import no TensorFlow.
sys.path[:0] = [str(Path(__file__).parents[2] / part) for part in ("", "scripts")]
from benchmarks.evaluate.files import (  # noqa: E402
    DATA,
    PEER,
    PEER_SETTINGS,
    PEER_WEIGHTS,
    SPLIT,
    write_miou,
)
from benchmarks.workers import serve  # noqa: E402


class Evaluation:
    """Images, labels and the network of an evaluation."""

    def __init__(self, folder):
        self.folder = folder
        self.settings = json.loads((folder / PEER_SETTINGS).read_text())
        self.pairs = pairs_of(folder / DATA / SPLIT)
        self.model = reference.build_segmentor(**self.settings["network"])
        with np.load(folder / PEER_WEIGHTS) as file:
            state = {key: torch.from_numpy(file[key]) for key in file.files}
        self.model.load_state_dict(state, strict=True)
        self.model.eval().to(memory_format=torch.channels_last)

    def run(self, mode, num_images=None):
        """Evaluates the images, and returns their number.

        Args:
            mode: name of the stream.
            num_images: number of images to predict without writing an mIoU; None to
                evaluate all images.
        """
        test_cfg = {"mode": "whole"}
        if mode == "slide":
            window, stride = self.settings["window"], self.settings["stride"]
            test_cfg = {"mode": "slide", "crop_size": window, "stride": stride}
        self.model.test_cfg = ConfigDict(test_cfg)
        pipeline = single_pipeline(self.settings["scale"])
        if mode == "ms_flip":
            pipeline = ms_flip_pipeline(self.settings["scales"])
        pairs = self.pairs[:num_images]
        results = areas_of(self.model, pipeline, pairs, self.settings["classes"])
        if num_images is None:
            miou = np.nanmean(metrics_of(results)["IoU"])
            write_miou(self.folder, PEER, mode, float(miou))
        return len(pairs)


def main() -> None:
    folder, threads = Path(sys.argv[1]), int(sys.argv[2])
    torch.set_num_threads(threads)
    evaluation = Evaluation(folder)
    modes = ("whole", "slide", "ms_flip")
    serve(
        {mode: partial(evaluation.run, mode) for mode in modes},
        {mode: partial(evaluation.run, mode, 1) for mode in modes},
    )


if __name__ == "__main__":
    main()

"""Runs unmodified TFLite files in MediaPipe's ImageSegmenter: `make mediapipe`.

Runs every precision of a model on an image in MediaPipe and in LiteRT, and the model
itself in Keras. Exits with 1 when MediaPipe's masks differ from LiteRT's, or when
MediaPipe reads other metadata from a file than its own writer would write.

python tests/mediapipe/live.py --python .venv-mediapipe/bin/python --model runs/camvid
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import keras
import numpy as np

from gcnet_tf import build_model, load_config
from gcnet_tf.commands import cli
from gcnet_tf.data.prepare import ensure_records
from gcnet_tf.data.shapes import generate_shapes
from gcnet_tf.data.stream.pipeline import evaluation_samples

SEGMENT = Path(__file__).with_name("segment.py")
# Smallest share of equal labels, and largest difference of a confidence: versions of
# the interpreter differ, and MediaPipe has its own softmax.
LIMITS = (0.999, 0.02)
# The same for files whose activations the interpreter rounds in its own way.
DYNAMIC_LIMITS = (0.99, 0.1)


def drawn_model(folder: Path):
    """Builds a small network with random weights, and draws images for it."""
    generate_shapes(folder / "images", num_train=8, num_val=1, size=128, seed=0)
    config = load_config(
        "shapes_r18",
        [
            f"data.root={folder / 'images'}",
            f"data.records={folder / 'records'}",
            "evaluation.scale=[128,128]",
        ],
    )
    ensure_records(config)
    keras.utils.set_random_seed(0)
    model = build_model(config)
    # Large weights make the predictions certain, so that rounding decides no class.
    kernel = model.decode_head.classifier.kernel
    kernel.assign(kernel * 100)
    return model, config


def litert(path: Path, image: np.ndarray) -> np.ndarray:
    """Computes the logits of an image in LiteRT."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(str(path))
    interpreter.allocate_tensors()
    (source,), (result,) = (
        interpreter.get_input_details(),
        interpreter.get_output_details(),
    )
    interpreter.set_tensor(source["index"], image[np.newaxis].astype(source["dtype"]))
    interpreter.invoke()
    return interpreter.get_tensor(result["index"])[0]


def essentials(text: str) -> dict:
    """Selects what MediaPipe reads from the JSON of a file's metadata."""
    (graph,) = json.loads(text)["subgraph_metadata"]
    (source,), (result,) = (
        graph["input_tensor_metadata"],
        graph["output_tensor_metadata"],
    )
    return {
        "content": source["content"],
        "units": source.get("process_units"),
        "stats": source["stats"],
        "files": [(file["name"], file["type"]) for file in result["associated_files"]],
        "custom": graph["custom_metadata"],
    }


def compare(folder: Path, image: np.ndarray, expected: np.ndarray, classes) -> bool:
    """Prints a row for each file, and tells whether all are within the limits."""
    from gcnet_tf.runtime.windows import softmax

    is_close = True
    print("file                      MediaPipe=LiteRT  confidences  MediaPipe=Keras")
    for path in sorted(folder.glob("*.tflite")):
        arrays = np.load(folder / f"{path.stem}.npz")
        logits = litert(path, image)
        same = (arrays["mask"] == logits.argmax(-1)).mean()
        difference = np.abs(arrays["confidences"] - softmax(logits)).max()
        keras_same = (arrays["mask"] == expected).mean()
        print(f"{path.name:26}{same:15.3%}{difference:13.1e}{keras_same:17.2%}")
        smallest, largest = DYNAMIC_LIMITS if "dynamic" in path.name else LIMITS
        is_close &= same >= smallest and difference <= largest
        is_close &= arrays["labels"].tolist() == list(classes)
        if len(arrays["metadata"]):
            ours, theirs = map(essentials, arrays["metadata"])
            if ours != theirs:
                print(f"  metadata: ours {ours}, MediaPipe's writer {theirs}")
                is_close = False
    return is_close


def main() -> int:
    parser = cli.script_parser(__doc__)
    parser.add_argument(
        "--python", required=True, help="python of MediaPipe's environment"
    )
    parser.add_argument("--model", help="a run folder; default: a drawn model")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        return check(Path(name), args)


def check(folder: Path, args: argparse.Namespace) -> int:
    """Exports a model, runs it everywhere, and returns the exit code."""
    cli.start_tensorflow()
    from gcnet_tf.data.catalog import facts_of
    from gcnet_tf.evaluation.load import load_model
    from gcnet_tf.export.plan import PRECISIONS
    from gcnet_tf.export.tflite.export import export_tflite
    from gcnet_tf.models.inference_graph import inference_function

    if args.model:
        model, config = load_model(None, None, args.model, [])
    else:
        model, config = drawn_model(folder)
    image = next(evaluation_samples(config))["image"]
    np.save(folder / "image.npy", image)
    for precision in PRECISIONS["tflite"]:
        if precision == "full_int8":
            continue  # for chips, which MediaPipe's ImageSegmenter does not use
        export_tflite(
            model,
            config,
            folder,
            precision=precision,
            size=image.shape[:2],
            outputs=["logits"],
        )
    subprocess.run([args.python, str(SEGMENT), str(folder)], check=True)
    expected = inference_function(model)(image[np.newaxis]).numpy()[0].argmax(-1)
    if not compare(folder, image, expected, facts_of(config.data).classes):
        print("MediaPipe and LiteRT do not agree.", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    cli.run(main)

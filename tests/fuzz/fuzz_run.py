"""Fuzzes a reader with atheris, from the corpus on: `make fuzz`.

python tests/fuzz/fuzz_run.py torch_checkpoint --seconds 600

It ends at the first mistake, or after the time, and prints the number of executions.
What it finds on the way stays in the folder `--work`, so that the next run goes on from
there. A mistake is written to a file there, too: put it, made small, into the corpus
once it is mended.
"""

import argparse
import os
import sys
from importlib import import_module
from pathlib import Path

import atheris

# TensorFlow reports each record that it cannot read.
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parents[1]), str(HERE.parent), str(HERE.parent / "weights")]

# A larger input finds no more, and takes longer.
_MOST_BYTES = 2**14
_MOST_SECONDS = 10
_MOST_MB = 4096

# Packages whose lines count as reached, ours and those that read for us.
_INSTRUMENTED = ["gcnet_tf", "pickletools", "zipfile", "json", "PIL.PngImagePlugin"]
_MODULES = {
    "torch_checkpoint": ["gcnet_tf.weights.torch.file"],
    "manifest": ["gcnet_tf.evaluation.load"],
    "configuration": ["gcnet_tf.config"],
    "record": ["gcnet_tf.data.records.damage"],
    "label": ["gcnet_tf.data.records.samples"],
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("reader", choices=_MODULES)
    parser.add_argument("--seconds", type=int, default=60, help="default: 60")
    parser.add_argument(
        "--work", type=Path, default=Path("runs/fuzz"), help="default: runs/fuzz"
    )
    args = parser.parse_args()
    _instrument(args.reader)
    from fuzz_targets import check

    # The fuzzer ends the process, so that no temporary folder would be removed.
    found, scratch = args.work / args.reader, args.work / "scratch"
    for folder in (found, scratch):
        folder.mkdir(parents=True, exist_ok=True)

    def try_one(content: bytes) -> None:
        check(args.reader, content, scratch)

    options = [
        f"-max_total_time={args.seconds}",
        f"-max_len={_MOST_BYTES}",
        f"-timeout={_MOST_SECONDS}",
        f"-rss_limit_mb={_MOST_MB}",
        f"-artifact_prefix={args.work / args.reader}-",
        "-print_final_stats=1",
    ]
    corpus = [str(found), str(HERE / "corpus" / args.reader)]
    atheris.Setup([sys.argv[0], *options, *corpus], try_one)
    atheris.Fuzz()


def _instrument(reader: str) -> None:
    """Imports what reads, so that atheris sees which lines an input reaches."""
    with atheris.instrument_imports(include=_INSTRUMENTED):
        for name in (*_INSTRUMENTED[1:], *_MODULES[reader]):
            import_module(name)


if __name__ == "__main__":
    main()

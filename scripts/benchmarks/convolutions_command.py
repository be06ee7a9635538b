"""`scripts/benchmark.py convolutions`, from its arguments to what it prints."""

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks import infer_report, tables
from benchmarks.arguments import check_threads
from gcnet_tf.commands.cli import make_folder

if TYPE_CHECKING:
    from benchmarks.convolutions import Comparison

NAME = "benchmark_convolutions"
_NOTES = """\
ms: median time of the usual way, for a layer TensorFlow's own convolution; ratio: of
the other way's time to it, median over the rounds; difference: the largest, as a share
of the largest number, or of the labels that differ. training: with both gradients."""


def run(args: argparse.Namespace, start_tensorflow: Callable[[], None]) -> None:
    """Measures layers and leads, shows and writes the result.

    Args:
        args: see `arguments.add_convolutions_arguments`.
        start_tensorflow: called before TensorFlow is imported.
    """
    check_threads(args)
    if args.out:
        make_folder(args.out)
    start_tensorflow()
    import tensorflow as tf

    from benchmarks import convolutions

    tf.config.threading.set_intra_op_parallelism_threads(args.threads)
    found = convolutions.compare_layers(convolutions.LAYERS, args.rounds)
    found += convolutions.compare_leads(args.rounds)
    content = infer_report.facts(args.command_line, [], peer_versions="")
    content["rows"] = [each._asdict() for each in found]
    lines = [convolutions.HEAD, *(each.cells() for each in found)]
    header = infer_report.header(content)
    print(header, tables.aligned(lines), _NOTES, sep="\n\n")
    if args.out:
        file = args.out / f"{NAME}.json"
        file.write_text(json.dumps(content, indent=2) + "\n")
        _chart(file.with_suffix(".png"), content["processor"], found)
        file.with_suffix(".md").write_text(
            "# Winograd's convolution and other leads\n\n"
            f"```\n{header}\n```\n\n{tables.markdown(lines)}\n\n{_NOTES}\n\n"
            f"![Ratios]({NAME}.png)\n"
        )
        print(f"\nWritten: {args.out / NAME}.json, .md, .png")


def _chart(path: Path, title: str, found: "list[Comparison]") -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 1.2 + 0.25 * len(found)), layout="constrained")
    axes = figure.subplots()
    names = [f"{each.what}: {each.way}" for each in found]
    bars = axes.barh(range(len(found)), [each.ratio for each in found])
    axes.bar_label(bars, [f" {each.ratio:.2f}" for each in found])
    axes.set_yticks(range(len(found)), names, fontsize=7)
    axes.axvline(1, color="black", linewidth=0.8)
    axes.invert_yaxis()
    axes.set_xlabel("time, ratio to the usual way")
    axes.set_title(title)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=120)

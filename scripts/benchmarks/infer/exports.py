"""Exports to measure, from a run or from a configuration with drawn weights."""

from pathlib import Path

from benchmarks.drawn import drawn_model, with_drawn_images
from gcnet_tf.config import load_config
from gcnet_tf.errors import UserError
from gcnet_tf.evaluation.load import load_model
from gcnet_tf.export.plan import ALL, CPU_FP32, PORTABLE, Checks, plan
from gcnet_tf.export.run import export


def make_exports(
    cfg: str, run: str | None, size: tuple[int, int], folder: Path
) -> None:
    """Writes every format into `folder`/exports.

    Prints a message for each file that cannot be written, and goes on without it.

    Args:
        cfg: a configuration, or the name of a shipped one.
        run: a run folder; None for `cfg` with drawn weights.
        size: (height, width) of the images.
        folder: folder for the exports and drawn images.
    """
    if run is None:
        config = with_drawn_images(load_config(cfg), folder / "data")
        model = drawn_model(config)
    else:
        model, config = load_model(None, None, run, [])
    size_text = "{}x{}".format(*size)
    # The target makes a difference to the SavedModel in fp32 alone.
    for target, jobs in [
        (PORTABLE, plan(ALL, ALL, size_text, config)),
        (CPU_FP32, plan("saved_model", "fp32", size_text, config)),
    ]:
        checks = Checks(samples=0)
        try:
            out = folder / "exports"
            export(model, config, jobs, out, target=target, checks=checks)
        except UserError as error:
            print(error)

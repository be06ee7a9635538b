"""Runs that go on after their last iteration, with a larger `train.iterations`."""

from pathlib import Path

from gcnet_tf.config import Config, load_config
from gcnet_tf.files.names import quoted
from gcnet_tf.training.monitor.run_folder import CONFIG_FILE
from gcnet_tf.training.optimization.schedules import make_schedule


def extension_text(run: Path, config: Config, iteration: int) -> str:
    """Tells what becomes of a run's learning rate when it is made longer.

    Args:
        run: the run folder, with the configuration of before.
        config: the configuration of now.
        iteration: number of iterations that are done.

    Returns:
        A sentence; "" where the run is as long as before.
    """
    before = load_config(run / CONFIG_FILE).train
    if config.train.iterations <= before.iterations:
        return ""
    old, new = (
        float(make_schedule(settings)(iteration)) for settings in (before, config.train)
    )
    return (
        f" train.iterations was {before.iterations} and is {config.train.iterations}: "
        f"from here on the learning rate is that of the longer schedule, {new:.3e} in "
        f"place of {old:.3e}."
    )


def finished_text(run: object, iterations: int) -> str:
    """Tells that a run has ended, and the ways to train on."""
    start = quoted(f"train.init_from={run}")
    return (
        f"The run {run} has finished: all {iterations} iterations are done. To train "
        "it longer: --resume --set train.iterations=N with a larger N; to begin a new "
        f"schedule with its weights: --set {start} with another --out."
    )

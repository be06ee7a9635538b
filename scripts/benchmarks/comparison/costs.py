"""Costs of the networks of several configurations: counted, and timed in turn."""

import json
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from benchmarks import turns
from benchmarks.blocks import multiply_adds
from benchmarks.comparison.runs import Run
from benchmarks.workers import own_command
from gcnet_tf.config import Config, config_to_dict
from gcnet_tf.errors import UserError
from gcnet_tf.models import build_model
from gcnet_tf.processor import num_cores
from gcnet_tf.training.monitor.run_folder import CONFIG_FILE, check_run


class NetworkCost(NamedTuple):
    """Costs of a network, which do not depend on its weights."""

    parameters: int
    """Number of parameters without the auxiliary head."""
    multiply_adds: int
    """Number of multiply-adds for an image."""
    timing: turns.Timing


def check_runs(runs: Sequence[Run]) -> None:
    """Checks that each run can start or resume, before the first one does.

    Raises:
        UserError: when a folder holds a run with other settings. A longer run would be
            one, too: its learning rate would follow two schedules.
    """
    for run in runs:
        started = (run.folder / CONFIG_FILE).is_file()
        try:
            check_run(run.folder, run.config(), resume=started, may_be_longer=False)
        except UserError as error:
            raise UserError(f"{error} Here this means: give another --runs.") from error


def measure(
    networks: Mapping[str, Config],
    size: tuple[int, int],
    rounds: int = 5,
    seconds: float = 2.0,
) -> dict[str, NetworkCost]:
    """Counts the costs of every inference graph, and times all of them in turn.

    Args:
        networks: configurations by name; ratios are to the first one.
        size: (height, width) of the image.
        rounds, seconds: see `turns.measure`.
    """
    models = {name: build_model(config) for name, config in networks.items()}
    counts = {
        name: (multiply_adds.parameters(model), multiply_adds.of_network(model, size))
        for name, model in models.items()
    }
    with tempfile.TemporaryDirectory() as folder:
        candidates = [
            turns.Candidate(
                name, "logits", _worker(config, size, Path(folder, name)), None
            )
            for name, config in networks.items()
        ]
        timings = turns.measure(candidates, rounds, seconds, num_cores())
    return {
        timing.name: NetworkCost(*counts[timing.name], timing) for timing in timings
    }


def _worker(config: Config, size: tuple[int, int], file: Path) -> list[object]:
    file.write_text(json.dumps(config_to_dict(config)), encoding="utf-8")
    return own_command("network_worker", file, *size, num_cores())

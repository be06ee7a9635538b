"""What the networks of several configurations cost: counted, and timed in turn."""

import json
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks import infer, multiply_adds
from benchmarks.family import Run
from benchmarks.family_report import Cost
from benchmarks.workers import own_command
from gcnet_tf.config import Config, config_to_dict
from gcnet_tf.errors import UserError
from gcnet_tf.models import build_model
from gcnet_tf.processor import num_cores
from gcnet_tf.training.monitor.run_folder import CONFIG_FILE, check_run


def check_runs(runs: Sequence[Run]) -> None:
    """Checks that each run can start or go on, before the first one does.

    Raises:
        UserError: when a folder holds a run with other settings.
    """
    for run in runs:
        started = (run.folder / CONFIG_FILE).is_file()
        try:
            check_run(run.folder, run.config(), resume=started)
        except UserError as error:
            raise UserError(f"{error} Here that is: another --runs.") from error


def measure(
    networks: Mapping[str, Config],
    size: tuple[int, int],
    rounds: int = 5,
    seconds: float = 2.0,
) -> dict[str, Cost]:
    """Counts and times every network's inference graph, all in the same rounds.

    Args:
        networks: configurations by name; ratios are to the first one.
        size: (height, width) of the image.
        rounds, seconds: see `infer.measure`.
    """
    models = {name: build_model(config) for name, config in networks.items()}
    counts = {
        name: (multiply_adds.parameters(model), multiply_adds.of_network(model, size))
        for name, model in models.items()
    }
    with tempfile.TemporaryDirectory() as folder:
        candidates = [
            infer.Candidate(
                name, "logits", _worker(config, size, Path(folder, name)), None
            )
            for name, config in networks.items()
        ]
        rows = infer.measure(candidates, rounds, seconds, num_cores())
    return {row.name: Cost(*counts[row.name], row) for row in rows}


def _worker(config: Config, size: tuple[int, int], file: Path) -> list[object]:
    file.write_text(json.dumps(config_to_dict(config)))
    return own_command("network_worker", file, *size, num_cores())

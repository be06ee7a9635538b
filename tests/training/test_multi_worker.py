"""Two workers in two processes: one launch, which several tests check.

Each start of TensorFlow takes ten seconds, so `worker_checks.py` trains several times
in one process: with bfloat16, with float16, with a record that is damaged in the second
worker's copy, and in float64, where the second worker gets killed.
"""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from training.runs import records

from gcnet_tf.config import config_to_dict, format_json
from gcnet_tf.data.stream.lanes import Share
from gcnet_tf.data.stream.pipeline import training_dataset
from gcnet_tf.training import train
from gcnet_tf.weights.files import list_checkpoints

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("shallow")]

TESTS = Path(__file__).parents[1]

# Each worker has two samples of a batch; the 3 validation images do not divide.
SETTINGS = (
    "train.batch_size=4",
    "train.learning_rate=0.02",
    "train.checkpoint_every=3",
)
CASES = {
    "mixed_bfloat16": ("train.precision=mixed_bfloat16", "train.iterations=2"),
    "mixed_float16": ("train.precision=mixed_float16", "train.iterations=2"),
    "float64": (
        "train.precision=float64",
        "train.iterations=10",
        "train.evaluate_every=5",
    ),
}


@pytest.fixture(scope="module")
def configs(tiny_config):
    plain = {name: tiny_config(*SETTINGS, *CASES[name]) for name in CASES}
    three = ("train.iterations=3", "train.evaluate_every=3")
    return plain | {
        on_error: tiny_config(*SETTINGS, *three, f"data.on_error={on_error}")
        for on_error in ("skip", "stop")
    }


def damage_second_batch(config, folder):
    """Copies the records, with damage that the second worker meets after a step."""
    batches = list(training_dataset(config, 0, Share(1, 2)).take(2))
    (name,) = batches[1]["name"].numpy()[:1]
    assert name not in batches[0]["name"].numpy()
    shutil.copytree(config.data.records, folder)
    for path in (folder / "train").glob("*.tfrecord"):
        data = bytearray(path.read_bytes())
        if name in data:
            data[data.index(name)] ^= 1
            path.write_bytes(data)


@pytest.fixture(scope="module")
def launched(configs, tmp_path_factory):
    """The folder of the workers, and the result of the launcher."""
    folder = tmp_path_factory.mktemp("workers")
    for name, config in configs.items():
        train_settings = replace(config.train, strategy="multi_worker")
        config = replace(config, train=train_settings)
        (folder / f"{name}.json").write_text(format_json(config_to_dict(config)))
    damage_second_batch(configs["skip"], folder / "damaged")
    command = [sys.executable, str(Path(__file__).with_name("worker_checks.py"))]
    code = (
        "import sys; from gcnet_tf.training.distributed.launch import launch; "
        f"sys.exit(launch({[*command, str(folder)]!r}, 2))"
    )
    paths = [str(TESTS), os.environ.get("PYTHONPATH", "")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment
    )
    return folder, result


@pytest.fixture(scope="module")
def alone(configs, tmp_path_factory):
    """The float64 run on one device."""
    run = tmp_path_factory.mktemp("alone") / "run"
    train(configs["float64"], run)
    return run


def outcome(folder, name, index):
    path = folder / f"{name}_{index}.json"
    assert path.is_file(), "this worker has failed before"
    return json.loads(path.read_text())


@pytest.mark.parametrize("name", ["mixed_bfloat16", "mixed_float16"])
def test_mixed_precision_on_two_workers(name, launched, alone):
    folder, result = launched
    first, second = (outcome(folder, name, index) for index in (0, 1))
    assert first["losses"] == second["losses"], result.stderr
    expected = [record["loss"] for record in records(alone, "train")[:2]]
    assert first["losses"] == pytest.approx(expected, rel=0.03)


def test_damage_that_the_second_worker_meets_is_left_out_and_told(launched):
    folder, result = launched
    first, second = (outcome(folder, "skip", index) for index in (0, 1))
    assert first == second and first["error"] is None, result.stderr
    assert len(first["losses"]) == 3
    (line,) = records(folder / "skip", "damaged")
    assert (line["split"], line["count"], line["iteration"]) == ("train", 1, 1)
    text = (folder / "skip" / "train.log").read_text()
    assert "train: 1 damaged sample: " in text and "(found by worker 1)" in text
    assert "A record of train cannot be read: checking all 6" in result.stderr


def test_damage_that_the_second_worker_meets_stops_all_with_a_checkpoint(launched):
    folder, _ = launched
    errors = [outcome(folder, "stop", index)["error"] for index in (0, 1)]
    assert errors[0] == errors[1]
    assert errors[0].startswith("DamagedData: 1 damaged sample: ")
    assert list_checkpoints(folder / "stop")[-1].name == "00000001"


def test_different_numbers_of_gpus_are_an_error_on_all_workers(launched):
    folder, _ = launched
    errors = [outcome(folder, "gpus", index) for index in (0, 1)]
    assert errors[0] == errors[1]
    assert "different numbers of GPUs: 0, 1 (workers 0 to 1)" in errors[0]


def test_the_chief_alone_writes(launched):
    folder, _ = launched
    for name in (*CASES, "skip", "stop"):
        assert (folder / name / "train.log").is_file()
        assert not (folder / f"{name}_other").exists()


def test_losses_and_metrics_are_those_of_one_device(launched, alone):
    folder, _ = launched
    run = folder / "float64"
    expected = [record["loss"] for record in records(alone, "train")]
    losses = outcome(folder, "float64", 0)["losses"]
    assert len(losses) >= 6
    assert losses == pytest.approx(expected[: len(losses)], rel=1e-10)
    (metrics,) = records(run, "val")
    assert metrics == records(alone, "val")[0]
    assert metrics["iteration"] == 5


def test_a_worker_that_is_killed_stops_the_other(launched):
    folder, result = launched
    assert result.returncode == 128 + 9
    lost = outcome(folder, "float64", 0)["error"]
    assert lost.startswith("WorkerLost: Another worker has disappeared (")
    assert "--resume" in lost
    assert "[0] iteration 5/10: loss" in result.stdout.replace("[0] iteration 5: ", "")
    # The last step that both have made: the chief notices after it, and saves it.
    assert list_checkpoints(folder / "float64")[-1].name == "00000007"


def test_another_number_of_workers_goes_on(launched, alone, configs):
    """One device in this process continues; all losses are those of one device."""
    folder, _ = launched
    run = folder / "float64"
    train(configs["float64"], run, resume=True)
    for kind, key in (("train", "loss"), ("val", "mIoU")):
        actual, expected = (
            {record["iteration"]: record[key] for record in records(folder, kind)}
            for folder in (run, alone)
        )
        assert actual == pytest.approx(expected, rel=1e-10)

"""Runs of a comparison, which of them are skipped, and the report; no training."""

import json
from pathlib import Path

import pytest
from helpers import call_script

from benchmarks.family import costs as family_costs
from benchmarks.family import runs as family
from benchmarks.family.report import family_report
from benchmarks.turns import Timing
from benchmarks.workers import Measurement
from gcnet_tf.commands import cli
from gcnet_tf.config import config_to_dict, load_config
from gcnet_tf.errors import UserError
from gcnet_tf.models import build_model
from gcnet_tf.training.monitor.run_folder import open_run

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture
def files(tiny_config, tmp_path):
    """Configuration files of the gc and the nl head."""
    paths = []
    for block in ("gc", "nl"):
        config = config_to_dict(tiny_config(f"model.head.context.block={block}"))
        paths.append(tmp_path / f"{block}.json")
        paths[-1].write_text(json.dumps(config))
    return [str(path) for path in paths]


def record(folder, iterations, miou=0.25):
    """Writes the files that a run of so many iterations leaves behind."""
    lines = [
        {"kind": "train", "iteration": 1, "loss": 2.0},
        {"kind": "train", "iteration": iterations, "loss": 1.0},
        {"kind": "val", "iteration": iterations, "mIoU": miou},
    ]
    folder.mkdir(parents=True, exist_ok=True)
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (folder / "metrics.jsonl").write_text(text)
    (folder / "checkpoints" / f"{iterations:08d}").mkdir(parents=True)


def test_runs_are_planned_by_seed_and_configuration(files, tmp_path):
    settings = ["train.batch_size=3"]
    runs = family.plan_runs(files, [5, 0], 80, settings, tmp_path / "runs")
    assert [(run.name, run.seed) for run in runs] == [
        ("gc", 5),
        ("nl", 5),
        ("gc", 0),
        ("nl", 0),
    ]
    assert runs[1].folder == tmp_path / "runs" / "nl" / "seed5"
    train = runs[1].config().train
    assert (train.iterations, train.seed, train.batch_size) == (80, 5, 3)
    assert train.early_stopping is None and train.log_every == 2
    assert runs[1].config().model.head.context.block == "nl"


@pytest.mark.parametrize(
    "change, message",
    [
        ({"seeds": [1, 1]}, "--seeds: received 1 twice"),
        ({"configurations": ["shapes_r18", "shapes_r18.json"]}, "--cfg: received shap"),
        ({"configurations": ["shapes_r18", "voc_r50_20k"]}, "voc_r50_20k trains on ot"),
        ({"settings": ["train.itertions=3"]}, "train.iterations"),
    ],
)
def test_wrong_plans_are_refused(change, message, tmp_path):
    plan = {"configurations": ["shapes_r18"], "seeds": [0], "settings": []} | change
    with pytest.raises(UserError, match=message):
        family.plan_runs(**plan, iterations=4, folder=tmp_path)


def test_a_run_is_finished_with_its_last_miou(files, tmp_path):
    (run,) = family.plan_runs(files[:1], [0], 4, [], tmp_path)
    assert not family.is_finished(run)
    record(run.folder, 2)
    assert not family.is_finished(run)
    record(run.folder, 4)
    assert family.is_finished(run)
    # A signal stopped this run in its last evaluation.
    (run.folder / "metrics.jsonl").write_text(
        json.dumps({"kind": "train", "iteration": 4, "loss": 1.0}) + "\n"
    )
    assert not family.is_finished(run)


def test_a_run_with_other_settings_is_refused(files, tmp_path):
    (run,) = family.plan_runs(files[:1], [0], 4, [], tmp_path)
    family_costs.check_runs([run])
    open_run(run.folder, run.config())
    family_costs.check_runs([run])
    (longer,) = family.plan_runs(files[:1], [0], 8, [], tmp_path)
    with pytest.raises(UserError, match="train.iterations was 4 and is 8.*--runs"):
        family_costs.check_runs([longer])


@pytest.mark.slow
def test_networks_are_counted_and_timed(files):
    networks = {Path(path).stem: load_config(path) for path in files}
    for config, block in zip(networks.values(), networks):
        assert config.model.head.context.block == block
    costs = family_costs.measure(networks, (64, 96), rounds=1, seconds=0.01)
    assert list(costs) == ["gc", "nl"]
    assert costs["gc"].timing.ratios == [1]
    # The block has 8 channels at 8x12 positions; formulas as in test_block_costs.
    without = config_to_dict(networks["gc"])
    without["model"]["head"]["context"] = {"block": "none"}
    (Path(files[0]).parent / "none.json").write_text(json.dumps(without))
    plain = build_model(load_config(str(Path(files[0]).parent / "none.json")))
    base = family_costs.multiply_adds.of_network(plain, (64, 96))
    assert costs["nl"].multiply_adds - base == 4 * 96 * 8 * 4 + 2 * 96**2 * 4
    fewer = family_costs.multiply_adds.parameters(plain)
    assert costs["gc"].parameters - fewer == 9 + 18 + 4 + 24
    assert fewer < plain.count_params()


def outcome(name, miou, seeds=(0, 1)):
    """Makes the results of a configuration; each seed has 0.1 more mIoU."""
    curves = {
        seed: family.Curve([(1, 2.0), (4, 1.0)], [(4, miou + 0.1 * seed)])
        for seed in seeds
    }
    return family.Outcome(name, curves)


def made_cost(name, ratios):
    rounds = [Measurement(2, 0.5, 1.0, 90, 100, [0.25, 0.25])]
    timing = Timing(name, "", None, 4, rounds, ratios)
    return family_costs.NetworkCost(123456, 7_500_000_000, timing)


def test_the_report_is_printed_and_written(tmp_path):
    outcomes = [outcome("gc", 0.25), outcome("nl", 0.5)]
    # This seed reported at other iterations.
    outcomes[0].curves[1] = family.Curve([(2, 2.0), (4, 1.0)], [(4, 0.35)])
    costs = {"gc": made_cost("gc", [1.0]), "nl": made_cost("nl", [1.5, 1.25, 2.0])}
    report = family_report("the command", (360, 480), 4, outcomes, costs)
    (line,) = [x for x in report.text().splitlines() if x[:2] == "nl"]
    numbers = "nl 0.5000 0.6000 0.5500 123,456 7.500 250.0 1.500 1.250 2.000"
    assert line.split() == numbers.split()
    report.write(tmp_path)
    facts = json.loads((tmp_path / "family.json").read_text())
    assert facts["rows"][1]["miou"] == pytest.approx(0.55)
    assert "the command" in (tmp_path / "family.md").read_text()
    assert (tmp_path / "family.png").read_bytes()[1:4] == b"PNG"


def test_the_script_trains_only_missing_runs(files, tmp_path, monkeypatch, capsys):
    folder = tmp_path / "runs"
    finished, _ = family.plan_runs(files, [0], 4, [], folder)
    open_run(finished.folder, finished.config())
    record(finished.folder, 4, miou=0.5)
    trained = []

    def train(cfg, run_folder, settings):
        trained.append((Path(cfg).stem, run_folder, "train.iterations=4" in settings))
        record(run_folder, 4)

    def measure(networks, size):
        assert size == (64, 96)
        return {name: made_cost(name, [1.0]) for name in networks}

    monkeypatch.setattr(cli, "run_training", train)
    monkeypatch.setattr(family_costs, "measure", measure)
    arguments = ["--cfg", *files, "--iterations", 4, "--size", "64x96"]
    arguments += ["--runs", folder, "--out", tmp_path / "out"]
    call_script("compare_blocks", *arguments)
    assert trained == [("nl", folder / "nl" / "seed0", True)]
    rows = json.loads((tmp_path / "out" / "family.json").read_text())["rows"]
    assert [(row["name"], row["miou"]) for row in rows] == [("gc", 0.5), ("nl", 0.25)]
    assert "4 iterations each" in capsys.readouterr().out

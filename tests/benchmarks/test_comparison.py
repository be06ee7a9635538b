"""Runs of a comparison, which of them are skipped, and the report; no training."""

import json
from pathlib import Path

import pytest
from helpers import call_script

from benchmarks.comparison import costs as comparison_costs
from benchmarks.comparison import runs as comparison
from benchmarks.comparison.report import comparison_report
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
        {
            "kind": "val",
            "iteration": iterations,
            "mIoU": miou,
            "classes": {"road": {"IoU": 2 * miou}, "car": {"IoU": None}},
        },
    ]
    folder.mkdir(parents=True, exist_ok=True)
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (folder / "metrics.jsonl").write_text(text)
    (folder / "checkpoints" / f"{iterations:08d}").mkdir(parents=True)


def plan(files, seeds, iterations, folder, settings=(), variations=()):
    rows = comparison.list_rows(files, variations)
    return comparison.plan_runs(rows, seeds, iterations, settings, folder)


def test_runs_are_planned_by_seed_and_row(files, tmp_path):
    runs = plan(
        files,
        [5, 0],
        80,
        tmp_path / "runs",
        ["train.batch_size=3"],
        [["plain", "train.momentum=0", "model.head.dropout=0"]],
    )
    names = ["gc", "nl", "plain"]
    assert [(run.name, run.seed) for run in runs] == [
        *((name, 5) for name in names),
        *((name, 0) for name in names),
    ]
    assert runs[1].folder == tmp_path / "runs" / "nl" / "seed5"
    train = runs[1].config().train
    assert (train.iterations, train.seed, train.batch_size) == (80, 5, 3)
    assert train.early_stopping is None and train.log_every == 2
    assert runs[1].config().model.head.context.block == "nl"
    # A variation is the first configuration but for its changes.
    first, varied = config_to_dict(runs[3].config()), config_to_dict(runs[5].config())
    assert first["train"].pop("momentum") and not varied["train"].pop("momentum")
    assert first["model"]["head"].pop("dropout")
    assert not varied["model"]["head"].pop("dropout")
    assert first == varied


def test_each_row_has_its_own_budget_unless_one_is_given(files, tmp_path):
    variations = [["longer", "train.iterations=400"]]
    runs = plan(files, [0], None, tmp_path, variations=variations)
    own = load_config(files[0]).train.iterations
    assert [run.iterations for run in runs] == [own, own, 400]
    assert runs[2].config().train.log_every == 10
    runs = plan(files, [0], 4, tmp_path, variations=variations)
    assert [run.iterations for run in runs] == [4, 4, 4]


@pytest.mark.parametrize(
    "change, message",
    [
        ({"seeds": [1, 1]}, "--seeds: received 1 twice"),
        ({"files": ["shapes_r18", "shapes_r18.json"]}, "--cfg: received shapes_r18 tw"),
        ({"files": ["shapes_r18", "voc_r50_20k"]}, "voc_r50_20k trains on ot"),
        ({"settings": ["train.itertions=3"]}, "train.iterations"),
        ({"variations": [["a"]]}, "--vary: received a alone"),
        ({"variations": [["train.seed=1", "a"]]}, "the name train.seed=1, which"),
        ({"variations": [["..", "a=1"]]}, "the name .., which"),
        ({"variations": [["a", "train.seed=1"]] * 2}, "--vary: received a twice"),
        ({"variations": [["b", "train.sead=1"]]}, "train.seed"),
    ],
)
def test_wrong_plans_are_refused(change, message, tmp_path):
    whole = {"files": ["shapes_r18"], "seeds": [0], "settings": []} | change
    with pytest.raises(UserError, match=message):
        plan(**whole, iterations=4, folder=tmp_path)


def test_a_run_is_finished_with_its_last_miou(files, tmp_path):
    (run,) = plan(files[:1], [0], 4, tmp_path)
    assert not comparison.is_finished(run)
    record(run.folder, 2)
    assert not comparison.is_finished(run)
    record(run.folder, 4)
    assert comparison.is_finished(run)
    # A signal stopped this run in its last evaluation.
    (run.folder / "metrics.jsonl").write_text(
        json.dumps({"kind": "train", "iteration": 4, "loss": 1.0}) + "\n"
    )
    assert not comparison.is_finished(run)


def test_a_run_with_other_settings_is_refused(files, tmp_path):
    (run,) = plan(files[:1], [0], 4, tmp_path)
    comparison_costs.check_runs([run])
    open_run(run.folder, run.config())
    comparison_costs.check_runs([run])
    (longer,) = plan(files[:1], [0], 8, tmp_path)
    with pytest.raises(UserError, match="train.iterations was 4 and is 8.*--runs"):
        comparison_costs.check_runs([longer])


@pytest.mark.slow
def test_networks_are_counted_and_timed(files):
    networks = {Path(path).stem: load_config(path) for path in files}
    for config, block in zip(networks.values(), networks):
        assert config.model.head.context.block == block
    costs = comparison_costs.measure(networks, (64, 96), rounds=1, seconds=0.01)
    assert list(costs) == ["gc", "nl"]
    assert costs["gc"].timing.ratios == [1]
    # The block has 8 channels at 8x12 positions; formulas as in test_block_costs.
    without = config_to_dict(networks["gc"])
    without["model"]["head"]["context"] = {"block": "none"}
    (Path(files[0]).parent / "none.json").write_text(json.dumps(without))
    plain = build_model(load_config(str(Path(files[0]).parent / "none.json")))
    base = comparison_costs.multiply_adds.of_network(plain, (64, 96))
    assert costs["nl"].multiply_adds - base == 4 * 96 * 8 * 4 + 2 * 96**2 * 4
    fewer = comparison_costs.multiply_adds.parameters(plain)
    assert costs["gc"].parameters - fewer == 9 + 18 + 4 + 24
    assert fewer < plain.count_params()


def outcome(name, miou, seeds=(0, 1)):
    """Makes the results of a configuration; each seed has 0.1 more mIoU."""
    curves = {
        seed: comparison.Curve(
            [(1, 2.0), (4, 1.0)],
            [(4, miou + 0.1 * seed)],
            {"sky": 0.9, "pole": 0.25 + 0.5 * seed, "bus": None},
        )
        for seed in seeds
    }
    return comparison.Outcome(name, 4, curves)


def made_cost(name, ratios):
    rounds = [Measurement(2, 0.5, 1.0, 90, 100, [0.25, 0.25])]
    timing = Timing(name, "", None, 4, rounds, ratios)
    return comparison_costs.NetworkCost(123456, 7_500_000_000, timing)


def test_the_report_is_printed_and_written(tmp_path):
    outcomes = [outcome("gc", 0.25), outcome("nl", 0.5)]
    # This seed reported at other iterations.
    other = outcomes[0].curves[1]._replace(losses=[(2, 2.0), (4, 1.0)])
    outcomes[0].curves[1] = other
    costs = {"gc": made_cost("gc", [1.0]), "nl": made_cost("nl", [1.5, 1.25, 2.0])}
    report = comparison_report("the command", (360, 480), outcomes, costs)
    (line,) = [x for x in report.text().splitlines() if x[:2] == "nl"]
    # 0.0707: the square root of (0.05^2 + 0.05^2) / (2 - 1).
    accuracies = "nl 4 0.5000 0.6000 0.5500 0.0707 pole 0.500"
    numbers = f"{accuracies} 123,456 7.500 250.0 1.500 1.250 2.000"
    assert line.split() == numbers.split()
    report.write(tmp_path)
    facts = json.loads((tmp_path / "comparison.json").read_text())
    assert facts["rows"][1]["miou"] == pytest.approx(0.55)
    assert facts["rows"][1]["iou_by_class"] == {"sky": 0.9, "pole": 0.5}
    assert "the command" in (tmp_path / "comparison.md").read_text()
    assert (tmp_path / "comparison.png").read_bytes()[1:4] == b"PNG"


def test_the_script_trains_only_missing_runs(files, tmp_path, monkeypatch, capsys):
    folder = tmp_path / "runs"
    finished, _ = plan(files, [0], 4, folder)
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
    monkeypatch.setattr(comparison_costs, "measure", measure)
    arguments = ["--cfg", *files, "--iterations", 4, "--size", "64x96"]
    arguments += ["--runs", folder, "--out", tmp_path / "out"]
    call_script("compare", *arguments)
    assert trained == [("nl", folder / "nl" / "seed0", True)]
    rows = json.loads((tmp_path / "out" / "comparison.json").read_text())["rows"]
    assert [(row["name"], row["miou"]) for row in rows] == [("gc", 0.5), ("nl", 0.25)]
    assert "Written: " in capsys.readouterr().out

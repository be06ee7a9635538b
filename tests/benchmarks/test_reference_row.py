"""The row of mmsegmentation in a comparison: what it is given, and what is refused."""

import json
import sys

import numpy as np
import pytest
from helpers import call_script
from PIL import Image

from benchmarks.comparison import costs as comparison_costs
from benchmarks.comparison import reference
from benchmarks.comparison import runs as comparison
from benchmarks.peer import NAME
from benchmarks.sources import write_pairs
from gcnet_tf.commands import cli
from gcnet_tf.config import config_to_dict
from gcnet_tf.data.catalog import facts_of
from gcnet_tf.errors import UserError

# Stands for the worker: checks nothing, writes what it was given and a log.
STAND_IN = """#!{python}
import json, pathlib, sys
_, worker, data, settings, log = sys.argv
assert pathlib.Path(worker).is_file()
files = sorted(str(x.relative_to(data)) for x in pathlib.Path(data).rglob("*.*"))
log = pathlib.Path(log)
(log.parent / "files.json").write_text(json.dumps(files))
known = json.loads(pathlib.Path(settings).read_text())
lines = [
    {{"kind": "train", "iteration": known["iterations"], "loss": 1.0}},
    {{"kind": "val", "iteration": known["iterations"], "mIoU": 0.25,
      "classes": {{"a": {{"IoU": 0.5}}, "b": {{"IoU": None}}}}}},
]
log.write_text("".join(json.dumps(line) + "\\n" for line in lines))
"""


@pytest.fixture
def stand_in(tmp_path):
    file = tmp_path / "python"
    file.write_text(STAND_IN.format(python=sys.executable))
    file.chmod(0o755)
    return file


@pytest.fixture
def cfg(tiny_config, tmp_path):
    """A file of a configuration that the reference can train, on images that exist."""

    def write(*settings):
        raw = config_to_dict(tiny_config(*settings))
        path = tmp_path / "plain.json"
        path.write_text(json.dumps(raw))
        return str(path)

    return write


def planned(cfg, folder, seeds=(0,), settings=()):
    rows = comparison.list_rows([cfg], [])
    return comparison.plan_runs(rows, seeds, 4, settings, folder)


def test_each_seed_of_the_first_row_is_trained_with_its_settings(cfg, tmp_path):
    file = cfg("model.head.dropout=0.25", "train.learning_rate=0.125")
    runs = reference.list_runs(planned(file, tmp_path, [3, 1]), tmp_path)
    assert [(run.name, run.seed) for run in runs] == [(NAME, 3), (NAME, 1)]
    assert runs[1].folder == tmp_path / NAME / "seed1"
    settings = reference.settings_of(runs[0].config())
    config = runs[0].config()
    assert settings["dropout"][0] == 0.25
    assert settings["optimizer"]["lr"] == 0.125
    assert settings["schedule"] == {"power": 0.9, "eta_min": 1e-4}
    assert (settings["seed"], settings["iterations"]) == (3, 4)
    assert (
        settings["augment"]["crop_size"]
        == config_to_dict(config)["augment"]["crop_size"]
    )


@pytest.mark.parametrize(
    "setting",
    [
        "train.schedule=cosine",
        "train.class_weights=auto",
        "train.ema_momentum=0.9",
        "augment.rotation=10",
        "augment.blur=1",
        "model.head.context.block=nl",
        "model.backbone.output_stride=16",
        "model.backbone.frozen_stages=1",
        "evaluation.mode=slide",
    ],
)
def test_settings_that_the_reference_is_not_given_are_refused(cfg, tmp_path, setting):
    runs = planned(cfg(setting), tmp_path)
    name = setting.partition("=")[0]
    with pytest.raises(UserError, match=f"--reference: .*differs in {name}"):
        reference.list_runs(runs, tmp_path)


def test_the_reference_gets_the_images_of_the_records_and_goes_on(
    cfg, tmp_path, stand_in, monkeypatch
):
    file = cfg()
    trained = []

    def train(cfg, run_folder, settings):
        trained.append(run_folder)

    outcome = comparison.Curve([(4, 1.0)], [(4, 0.5)], {"a": 0.5, "b": None})
    own = comparison.read_curve
    monkeypatch.setattr(cli, "run_training", train)
    monkeypatch.setattr(comparison_costs, "measure", lambda networks, size: {})
    monkeypatch.setattr(
        comparison,
        "read_curve",
        lambda folder: own(folder) if folder.parent.name == NAME else outcome,
    )
    runs = tmp_path / "runs"
    arguments = ["--cfg", file, "--iterations", 4, "--runs", runs, "--reference"]
    arguments += ["--peer-python", stand_in]
    call_script("compare", *arguments)
    folder = runs / NAME / "seed0"
    files = json.loads((folder / "files.json").read_text())
    for split in ("train", "val"):
        for name in ("images", "labels"):
            given = [x for x in files if x.startswith(f"{split}/{name}/")]
            assert len(given) == {"train": 6, "val": 3}[split]
    rows = json.loads((runs / "comparison.json").read_text())["rows"]
    assert [(row["name"], row["miou"]) for row in rows] == [
        ("plain", 0.5),
        (NAME, 0.25),
    ]
    # A second call trains nothing; other settings are not mixed in.
    (folder / "files.json").unlink()
    call_script("compare", *arguments)
    assert not (folder / "files.json").exists()
    with pytest.raises(UserError, match="holds a run with other settings"):
        call_script("compare", *arguments, "--set", "train.learning_rate=0.5")


def test_without_its_environment_a_sentence_says_how_to_make_it(cfg, tmp_path):
    arguments = ["--cfg", cfg(), "--reference", "--peer-python", tmp_path / "no"]
    with pytest.raises(UserError, match="make .venv-parity/installed"):
        call_script("compare", *arguments, "--runs", tmp_path / "runs")
    assert not (tmp_path / "runs").exists()


def test_a_part_of_the_samples_is_evenly_spread(cfg, tmp_path):
    config = planned(cfg(), tmp_path)[0].config()
    write_pairs(config, "train", tmp_path / "pairs", 3)
    names = [path.stem for path in sorted((tmp_path / "pairs" / "images").iterdir())]
    assert names == ["00000", "00002", "00005"]
    labels = sorted((tmp_path / "pairs" / "labels").iterdir())
    assert [path.stem for path in labels] == names
    num_classes = facts_of(config.data).num_classes
    ids = np.unique([np.asarray(Image.open(path)) for path in labels])
    assert set(ids) <= {*range(num_classes), 255} and len(ids) > 1

"""The search over three settings in examples/search.py, with tiny trainings."""

import runpy
import sys

import pytest
from script_server import REPOSITORY
from training.runs import records

pytestmark = [pytest.mark.usefixtures("toy_network"), pytest.mark.slow]


def test_two_trials_are_two_runs(tiny_config, tmp_path, monkeypatch, capsys):
    pytest.importorskip("optuna", reason="the example needs optuna")
    data = tiny_config().data
    settings = [f"data.root={data.root}", f"data.records={data.records}"]
    settings += ["train.batch_size=2", "train.iterations=2", "train.evaluate_every=1"]
    settings += ["augment.crop_size=[32,32]", "augment.base_scale=[32,32]"]
    settings += ["evaluation.scale=[32,32]"]
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["search.py", "2", *settings])
    runpy.run_path(str(REPOSITORY / "examples" / "search.py"), run_name="__main__")
    best = [
        max(row["mIoU"] for row in records(tmp_path / f"runs/search/trial_{i}", "val"))
        for i in range(2)
    ]
    out = capsys.readouterr().out
    assert f"Best mIoU {max(best):.4f} with {{'rate': " in out

"""The log of a run, which may be cut off while it is written, or a stranger's."""

import json
import math
import os

import pytest

from gcnet_tf.report.run_log import read_log, read_values


def write(folder, *lines):
    (folder / "metrics.jsonl").write_text("\n".join(lines), encoding="utf-8")
    return read_log(folder)


def line(kind, iteration, **values):
    return json.dumps({"kind": kind, "iteration": iteration, **values})


def test_curves_and_the_best_evaluation(tmp_path):
    log = write(
        tmp_path,
        line("train", 10, loss=2.5, learning_rate=0.1),
        line("val", 10, mIoU=0.4, classes={"a": {"IoU": 0.4, "Acc": None}}),
        line("train", 20, loss=1.5, learning_rate=0.05),
        line("val", 20, mIoU=0.3, classes={}),
        line("damaged", 20, count=7),
    )
    assert log.curves["loss"] == [(10, 2.5), (20, 1.5)]
    assert log.curves["mIoU"] == [(10, 0.4), (20, 0.3)]
    assert log.best["iteration"] == 10 and log.last == 20
    assert "count" not in log.curves


@pytest.mark.parametrize(
    "bad",
    [
        '{"kind": "train", "iteration": 30, "lo',
        "[1, 2]",
        "nonsense",
        "[" * 100_000,
        '{"kind": "train", "iteration": "30", "loss": 1}',
        '{"kind": "train", "loss": 1}',
        '{"kind": "train", "iteration": 1e999, "loss": 1}',
        '{"kind": "train", "iteration": 9, "loss": NaN, "x": true, "y": "1"}',
        '{"kind": ["train"], "iteration": 9, "loss": 1}',
        f'{{"kind": "train", "iteration": 9, "loss": {"9" * 400}}}',
    ],
)
def test_what_is_no_record_or_no_number_is_passed_over(tmp_path, bad):
    log = write(tmp_path, line("train", 10, loss=2.5), bad)
    assert log.curves == {"loss": [(10, 2.5)]} and log.last == 10


def test_there_may_be_no_log_or_a_device_in_its_place(tmp_path):
    assert read_log(tmp_path).curves == {}
    os.symlink("/dev/zero", tmp_path / "metrics.jsonl")
    assert read_log(tmp_path).curves == {}
    (tmp_path / "versions.json").write_text("[]")
    assert read_values(tmp_path / "versions.json") == {}


def test_long_curves_keep_their_ends(tmp_path):
    lines = [line("train", index, loss=math.sqrt(index)) for index in range(1, 5001)]
    curve = write(tmp_path, *lines).curves["loss"]
    assert len(curve) < 2000 and curve[0][0] == 1 and curve[-1][0] == 5000

"""Our side of an evaluation benchmark on a tiny network, figures, what is written."""

import json

import numpy as np
import pytest

from benchmarks import evaluate, evaluate_data, evaluate_report, infer_report
from benchmarks.evaluate_files import OURS, PEER, read_scores, write_scores
from benchmarks.workers import Measurement
from gcnet_tf.config import config_to_dict, load_config
from gcnet_tf.data.records.shards import read_manifest

MODES = ["whole", "slide"]


@pytest.fixture(scope="module")
def prepared(tiny_config, tmp_path_factory):
    folder = tmp_path_factory.mktemp("evaluate")
    cfg = folder / "tiny.json"
    cfg.write_text(json.dumps(config_to_dict(tiny_config())))
    evaluate_data.prepare(str(cfg), None, [], 2, folder)
    return folder


def test_both_sides_get_the_same_images_and_weights(prepared):
    config = load_config(str(prepared / "config.json"))
    assert read_manifest(config.data.records, "val").num_samples == 2
    images, labels = (
        sorted(path.stem for path in (prepared / "data" / "val" / name).iterdir())
        for name in ("images", "labels")
    )
    # The first and the last of three.
    assert images == labels == ["00000", "00002"]
    settings = json.loads((prepared / "mmsegmentation.json").read_text())
    assert settings["network"]["num_classes"] == len(settings["classes"]) == 6
    assert settings["window"] == list(config.evaluation.window) == [24, 24]
    assert settings["stride"] == list(config.evaluation.stride) == [16, 16]
    assert settings["scales"][0] == [16, 16] and len(settings["scales"]) == 6
    with np.load(prepared / "mmsegmentation.npz") as state:
        assert state["decode_head.conv_seg.weight"].shape[0] == 6


@pytest.mark.slow
def test_ours_is_measured_and_the_result_is_written(prepared, tmp_path, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("TF_NUM_INTEROP_THREADS", "1")
    sides = [(OURS, evaluate.our_command(prepared, 1))]
    rows = evaluate.measure(sides, MODES, prepared, rounds=2, threads=1)
    assert [(row.mode, row.name) for row in rows] == [(mode, OURS) for mode in MODES]
    for row in rows:
        assert row.ratios == [1, 1] and row.rate > 0
        assert [each.images for each in row.rounds] == [2, 2]
        assert row.miou == read_scores(prepared, OURS, row.mode)
        assert 0 <= row.miou <= 1
    content = infer_report.facts("the command", rows, "torch 1")
    content |= {"window": [24, 24], "stride": [16, 16]}
    evaluate_report.write(tmp_path, content, rows)
    found = json.loads((tmp_path / "benchmark_evaluate.json").read_text())
    assert found["rows"][1]["miou"] == rows[1].miou
    text = (tmp_path / "benchmark_evaluate.md").read_text()
    assert "the command" in text and "windows of 24x24 in steps of 16x16" in text
    assert (tmp_path / "benchmark_evaluate.png").read_bytes()[1:4] == b"PNG"


def test_the_table_has_ratios_to_the_first_side():
    def row(name, seconds, ratios):
        rounds = [Measurement(4, wall, 2 * wall, 0, 0, [wall]) for wall in seconds]
        return evaluate.Row("whole", name, rounds, ratios, 0.123456)

    rows = [row(PEER, [4.0, 2.0, 1.0], [1, 1, 1]), row(OURS, [1.0] * 3, [0.25, 0.5, 1])]
    content = {"window": [9, 9], "stride": [6, 6]}
    lines = evaluate_report.table(content, rows).splitlines()
    expected = f"whole {PEER} 2.00 1.000 1.000 1.000 2.00 1.000 12.346"
    assert lines[1].split() == expected.split()
    expected = f"whole {OURS} 4.00 0.500 0.250 1.000 2.00 0.500 12.346"
    assert lines[2].split() == expected.split()


def test_windows_are_the_published_share_of_the_scale():
    assert evaluate_data.windows_for((2049, 1025)) == (769, 513)
    assert evaluate_data.windows_for((480, 360)) == (270, 180)
    assert evaluate_data.windows_for((1, 1)) == (1, 1)


def test_scores_are_kept_to_the_last_digit(tmp_path):
    write_scores(tmp_path, PEER, "whole", 1 / 3)
    assert read_scores(tmp_path, PEER, "whole") == 1 / 3

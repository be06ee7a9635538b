"""Our side of an evaluation benchmark on a tiny network, and the report."""

import json

import numpy as np
import pytest

from benchmarks.evaluate import data, sides
from benchmarks.evaluate.files import OURS, PEER, read_miou, write_miou
from benchmarks.evaluate.report import evaluation_report
from benchmarks.workers import Measurement
from gcnet_tf.config import config_to_dict, load_config
from gcnet_tf.data.records.shards import read_manifest

MODES = ["whole", "slide"]


@pytest.fixture(scope="module")
def prepared(tiny_config, tmp_path_factory):
    """Folder of both sides, with two images and a tiny network."""
    folder = tmp_path_factory.mktemp("evaluate")
    cfg = folder / "tiny.json"
    cfg.write_text(json.dumps(config_to_dict(tiny_config())))
    data.prepare(str(cfg), None, [], 2, folder)
    return folder


def test_both_sides_get_the_same_images_and_weights(prepared):
    config = load_config(str(prepared / "config.json"))
    assert read_manifest(config.data.records, "val").num_samples == 2
    images, labels = (
        sorted(path.stem for path in (prepared / "data" / "val" / name).iterdir())
        for name in ("images", "labels")
    )
    # These are the first and the last of three.
    assert images == labels == ["00000", "00002"]
    settings = json.loads((prepared / "mmsegmentation.json").read_text())
    assert settings["network"]["num_classes"] == len(settings["classes"]) == 6
    assert settings["window"] == list(config.evaluation.window) == [24, 24]
    assert settings["stride"] == list(config.evaluation.stride) == [16, 16]
    assert settings["scales"][0] == [16, 16] and len(settings["scales"]) == 6
    with np.load(prepared / "mmsegmentation.npz") as state:
        assert state["decode_head.conv_seg.weight"].shape[0] == 6


@pytest.mark.slow
def test_our_side_is_measured_and_the_report_is_written(
    prepared, tmp_path, monkeypatch
):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("TF_NUM_INTEROP_THREADS", "1")
    commands = [(OURS, sides.our_command(prepared, 1))]
    timings = sides.measure(commands, MODES, prepared, rounds=2, threads=1)
    assert [(timing.mode, timing.name) for timing in timings] == [
        (mode, OURS) for mode in MODES
    ]
    for timing in timings:
        assert timing.ratios == [1, 1] and timing.rate > 0
        assert [turn.images for turn in timing.rounds] == [2, 2]
        assert timing.miou == read_miou(prepared, OURS, timing.mode)
        assert 0 <= timing.miou <= 1
    evaluation = {"window": [24, 24], "stride": [16, 16]}
    report = evaluation_report("the command", evaluation, timings, "torch 1")
    report.write(tmp_path)
    facts = json.loads((tmp_path / "benchmark_evaluate.json").read_text())
    assert facts["rows"][1]["miou"] == timings[1].miou
    text = (tmp_path / "benchmark_evaluate.md").read_text()
    assert "the command" in text and "mmsegmentation: torch 1" in text
    assert "windows of 24x24 in steps of 16x16" in text
    assert (tmp_path / "benchmark_evaluate.png").read_bytes()[1:4] == b"PNG"


def test_the_table_has_ratios_to_the_first_side():
    def timing(name, seconds, ratios):
        rounds = [Measurement(4, wall, 2 * wall, 0, 0, [wall]) for wall in seconds]
        return sides.ModeTiming("whole", name, rounds, ratios, 0.123456)

    timings = [
        timing(PEER, [4.0, 2.0, 1.0], [1, 1, 1]),
        timing(OURS, [1.0] * 3, [0.25, 0.5, 1]),
    ]
    evaluation = {"window": [9, 9], "stride": [6, 6]}
    report = evaluation_report("the command", evaluation, timings, "")
    lines = [line for line in report.text().splitlines() if line.startswith("whole")]
    expected = f"whole {PEER} 2.00 1.000 1.000 1.000 2.00 1.000 12.346"
    assert lines[0].split() == expected.split()
    expected = f"whole {OURS} 4.00 0.500 0.250 1.000 2.00 0.500 12.346"
    assert lines[1].split() == expected.split()


def test_windows_are_the_published_share_of_the_scale():
    assert data.windows_for((2049, 1025)) == (769, 513)
    assert data.windows_for((480, 360)) == (270, 180)
    assert data.windows_for((1, 1)) == (1, 1)


def test_the_miou_is_exact_in_its_file(tmp_path):
    write_miou(tmp_path, PEER, "whole", 1 / 3)
    assert read_miou(tmp_path, PEER, "whole") == 1 / 3

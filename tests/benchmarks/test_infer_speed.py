"""Every kind of worker on a tiny network, the numbers, and the report."""

import json

import numpy as np
import pytest

from benchmarks import drawn, peer, turns
from benchmarks.infer import candidates as infer
from benchmarks.infer import exports as infer_exports
from benchmarks.infer.command import WORDING
from benchmarks.timing_report import timing_report
from benchmarks.turns import Timing
from benchmarks.workers import Measurement
from gcnet_tf.data.prepare import matching_manifest
from gcnet_tf.errors import UserError
from gcnet_tf.export.onnx import export_onnx
from gcnet_tf.processor import processor
from gcnet_tf.runtime.manifest import read_manifest
from gcnet_tf.weights.files import weights_by_path

SIZE = (32, 48)


@pytest.fixture(scope="module")
def exports(tiny_config, tmp_path_factory):
    """Folder with an ONNX file of a tiny network."""
    folder = tmp_path_factory.mktemp("exports")
    config = tiny_config()
    export_onnx(drawn.drawn_model(config), config, folder, size=SIZE)
    return folder


@pytest.fixture(scope="module")
def candidates(exports, tmp_path_factory):
    folder = tmp_path_factory.mktemp("work")
    files = infer.exported_files(exports)
    return list(infer.own_candidates(files, SIZE, 1, folder))


def test_every_interpreter_is_a_candidate(candidates, exports):
    names = [candidate.name for candidate in candidates]
    assert names[:3] == [
        "Keras model",
        "ONNX fp32, ONNX Runtime",
        "ONNX fp32, OpenVINO",
    ]
    (file,) = infer.exported_files(exports)
    assert candidates[1].megabytes == file.stat().st_size / 1e6
    assert candidates[1].outputs == "labels, probabilities"


@pytest.mark.slow
def test_all_are_measured_and_the_report_is_written(candidates, tmp_path, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("TF_NUM_INTEROP_THREADS", "1")
    timings = turns.measure(candidates, rounds=2, seconds=0.01, threads=1)
    names = [candidate.name for candidate in candidates]
    assert [timing.name for timing in timings] == names
    assert timings[0].ratios == [1, 1]
    for timing in timings:
        assert len(timing.rounds) == len(timing.ratios) == 2
        assert timing.peak > timing.baseline > 1 and timing.median > 0
    report = timing_report(WORDING, "the command", timings, "torch 1")
    report.write(tmp_path)
    facts = json.loads((tmp_path / "benchmark_infer.json").read_text())
    assert facts["rows"][1]["name"] == timings[1].name
    assert facts["processor"] == processor()
    text = (tmp_path / "benchmark_infer.md").read_text()
    assert "the command" in text and "torch 1" in text
    assert (tmp_path / "benchmark_infer.png").read_bytes()[1:4] == b"PNG"


def timing_of(times_by_round, ratios):
    """Makes the timing of a file from the times of each round."""
    rounds = [
        Measurement(len(times), sum(times), 1.0, 90, 100, times)
        for times in times_by_round
    ]
    return Timing("file", "labels", 12.34, 40, rounds, ratios)


def test_statistics_are_taken_over_all_rounds():
    timing = timing_of([[0.5, 0.1, 0.2], [0.3, 0.4]], [2.0, 4.0])
    assert (timing.median, timing.p90, timing.ratio) == (0.3, 0.5, 3.0)
    assert (timing.peak, timing.to_dict()["peak_above_interpreter_mb"]) == (100, 60)
    ten_runs = timing_of([[float(seconds) for seconds in range(1, 11)]], [1.0])
    assert ten_runs.p90 == 9


def test_the_table_has_a_line_for_each_candidate():
    report = timing_report(WORDING, "the command", [timing_of([[0.25, 0.25]], [1.5])])
    (line,) = [x for x in report.text().splitlines() if x.startswith("file ")]
    assert line.split() == "file labels 250.0 250.0 1.500 1.500 1.500".split() + [
        "2.00",
        "100",
        "60",
        "12.3",
    ]


def test_a_file_of_another_size_is_refused(exports, tmp_path):
    files = infer.exported_files(exports)
    with pytest.raises(UserError, match="takes images of 32x48; received --size 64x64"):
        list(infer.own_candidates(files, (64, 64), 1, tmp_path))


@pytest.mark.parametrize("name", ["", "missing"])
def test_a_folder_without_exports_is_refused(name, tmp_path):
    with pytest.raises(UserError, match="holds no exported model"):
        infer.exported_files(tmp_path / name)


def test_the_reference_gets_the_same_network(exports):
    (file,) = infer.exported_files(exports)
    manifest = read_manifest(file)
    assert peer.network_of(manifest.config, len(manifest.classes)) == {
        "depth": 18,
        "width": 4,
        "head_channels": 8,
        "aux_channels": 8,
        "num_classes": 6,
        "align_corners": False,
    }


def test_no_weight_of_a_drawn_model_is_zero(tiny_config):
    weights = weights_by_path(drawn.drawn_model(tiny_config()))
    for path, weight in weights.items():
        assert np.all(np.abs(weight.numpy()) > 1e-30), path


def test_every_format_is_exported_with_drawn_data(monkeypatch, tmp_path, capsys):
    jobs, configs, targets = [], [], []

    def export(model, config, planned, out, target, checks):
        jobs.extend(planned)
        targets.append((target, len(planned)))
        configs.append(config)
        assert checks.samples == 0 and out == tmp_path / "exports"
        raise UserError("Not written: one of them.")

    monkeypatch.setattr(infer_exports, "export", export)
    infer_exports.make_exports("shapes_r18", None, (64, 96), tmp_path)
    assert {(job.format, job.size) for job in jobs} == {
        ("saved_model", (64, 96)),
        ("tflite", (64, 96)),
        ("onnx", (64, 96)),
    }
    assert targets == [("portable", 9), ("cpu-fp32", 1)]
    assert len(configs[0].data.classes) == 6
    matching_manifest(configs[0], "train")
    assert "Not written: one of them." in capsys.readouterr().out

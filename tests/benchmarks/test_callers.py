"""Threads that share an exported file: the workers, and the table."""

import json

import pytest
from exported_files import write_onnx, write_tflite

from benchmarks import turns
from benchmarks.infer import callers
from benchmarks.infer.callers_worker import open_for
from benchmarks.workers import Measurement
from gcnet_tf.errors import UserError


def group_of(write, folder):
    return list(callers.file_candidates(write(folder, size=(48, 64)), (48, 64), 1))


def test_tflite_files_are_shared_and_opened_by_each(tmp_path):
    shared, own = group_of(write_tflite, tmp_path)
    assert [candidate.name for candidate in shared] == ["TFLite fp32"] * 3
    assert own[0].name == "TFLite fp32, opened by each"
    assert [candidate.command[-1] for candidate in own] == [1, 2, 4]


@pytest.mark.parametrize("way", ["shared", "own"])
def test_every_caller_infers_an_image(way, tmp_path):
    path = write_onnx(tmp_path)
    answers = open_for(way, path, (48, 64), 1, 3)()
    assert len(answers) == 3
    assert len({answer["labels"].tobytes() for answer in answers}) == 3


@pytest.mark.slow
def test_the_workers_answer(tmp_path, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("TF_NUM_INTEROP_THREADS", "1")
    (group,) = group_of(write_onnx, tmp_path)
    timings = turns.measure(group, rounds=1, seconds=0.01, threads=1)
    for count, timing in zip(callers.CALLERS, timings):
        (turn,) = timing.rounds
        assert turn.images == count * len(turn.times)


def test_rates_are_of_all_callers_together(tmp_path):
    """Four callers take twice the time of one for four times the images."""
    turn = Measurement(8, 4.0, 8.0, 90, 100, [2.0, 2.0])
    timing = turns.Timing("file", "labels", None, 40, [turn], [2.0])
    row = callers.Throughput(4, timing)
    assert (row.rate, row.ratios) == (2.0, [2.0])
    report = callers.callers_report("the command", [row])
    report.write(tmp_path)
    facts = json.loads((tmp_path / "benchmark_callers.json").read_text())
    assert facts["rows"][0]["images_per_second"] == 2
    assert "| file | 4 | 2.00 | 2.000 |" in report.markdown()


def test_a_file_of_another_size_is_refused(tmp_path):
    path = write_onnx(tmp_path, size=(48, 64))
    with pytest.raises(UserError, match="received --size 64x64"):
        list(callers.file_candidates(path, (64, 64), 1))

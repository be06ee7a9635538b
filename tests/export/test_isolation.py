"""Exports that fail, are ended, or meet: each leaves the others and cleans up."""

import os
import signal
import time

import pytest
from worker_here import started_workers

from gcnet_tf.commands import cli
from gcnet_tf.config import config_to_dict, format_json
from gcnet_tf.errors import UserError
from gcnet_tf.evaluation.load import load_model
from gcnet_tf.export import run
from gcnet_tf.export.accuracy import measure
from gcnet_tf.export.plan import Checks, Job
from gcnet_tf.export.tflite import export as tflite
from gcnet_tf.export.tflite.export import export_tflite
from gcnet_tf.files.lock import locked
from gcnet_tf.models import build_model

pytestmark = pytest.mark.usefixtures("shallow")

SAVED_MODEL, ONNX = Job("saved_model", "fp32", None), Job("onnx", "fp32", None)


@pytest.fixture(scope="module")
def model(tiny_config):
    return build_model(tiny_config())


def fail(error):
    def raise_it(*arguments, **settings):
        raise error

    return raise_it


@pytest.mark.parametrize(
    "error, reason",
    [
        (RuntimeError("in the converter\nat 0x0"), "RuntimeError: in the converter"),
        (MemoryError(), "MemoryError: MemoryError"),
        (UserError("No package."), "No package."),
    ],
)
def test_a_format_that_fails_leaves_the_others(
    error, reason, model, tiny_config, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(run, "export_saved_model", fail(error))
    with pytest.raises(UserError) as caught:
        jobs = [SAVED_MODEL, ONNX]
        run.export(model, tiny_config(), jobs, tmp_path, checks=Checks(3))
    assert str(caught.value) == f"Not written: saved_model fp32. {reason}"
    assert [path.name for path in sorted(tmp_path.iterdir())] == [
        "README.md",
        "model_fp32.onnx",
        "model_fp32.onnx.json",
    ]
    report = capsys.readouterr().out
    assert "Exported: " in report and "model_fp32.onnx" in report.splitlines()[-2]


def test_a_file_that_does_not_run_leaves_the_report_of_the_others(
    model, tiny_config, tmp_path, monkeypatch, capsys
):
    open_network = measure.open_network

    def refuse_onnx(path):
        if path.suffix == ".onnx":
            raise RuntimeError("this interpreter is broken")
        return open_network(path)

    monkeypatch.setattr(measure, "open_network", refuse_onnx)
    with pytest.raises(UserError) as caught:
        jobs = [SAVED_MODEL, ONNX]
        checks = Checks(3, allow_drop=True)
        run.export(model, tiny_config(), jobs, tmp_path, checks=checks)
    expected = "model_fp32.onnx was not measured: this interpreter is broken"
    assert str(caught.value) == expected
    assert "saved_model_fp32 " in capsys.readouterr().out


def test_files_of_an_earlier_training_are_named(model, tiny_config, tmp_path, capsys):
    config = tiny_config()
    (tmp_path / "notes.onnx").write_text("mine")
    none = Checks(samples=0)
    run.export(model, config, [ONNX], tmp_path, checks=none)
    other = build_model(config)
    run.export(other, config, [SAVED_MODEL], tmp_path, checks=none)
    earlier = f"Of other weights, from an earlier export: {tmp_path}/model_fp32.onnx"
    assert capsys.readouterr().out.splitlines()[-1] == earlier


def test_two_exports_into_one_folder_do_not_mix(model, tiny_config, tmp_path):
    out = tmp_path / "out"
    with locked(out):
        with pytest.raises(UserError, match=f"being written by process {os.getpid()}"):
            run.export(model, tiny_config(), [ONNX], out, checks=Checks(0))
    assert not out.exists()
    run.export(model, tiny_config(), [ONNX], out, checks=Checks(0))
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


@pytest.fixture(scope="module")
def run_folder(model, tiny_config, tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    (folder / "config.json").write_text(format_json(config_to_dict(tiny_config())))
    model.save_weights(folder / "best.weights.h5")
    return folder


def test_a_run_has_its_own_configuration(run_folder):
    with pytest.raises(UserError, match="holds its configuration; leave out .*--cfg"):
        load_model("shapes_r18", None, str(run_folder), [])


def test_sigterm_ends_the_conversion_and_leaves_nothing(
    model, tiny_config, tmp_path, monkeypatch
):
    temporary, out = tmp_path / "temporary", tmp_path / "out"
    temporary.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    started = started_workers(monkeypatch)

    def terminate(*arguments):
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(60)  # which the signal interrupts

    monkeypatch.setattr(tflite, "_show_progress", terminate)
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(SystemExit) as end, cli.sigterm_cleans_up():
        export_tflite(model, tiny_config(), out, size=(32, 32))
    assert end.value.code == 143
    assert started[0].returncode == -signal.SIGKILL
    assert not list(out.iterdir()) and not list(temporary.glob("gcnet_tf-*"))
    assert signal.getsignal(signal.SIGTERM) == before

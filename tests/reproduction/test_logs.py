"""The reference's training logs beside a run of ours."""

import json

import numpy as np
import pytest

from gcnet_tf.commands import cli
from gcnet_tf.errors import UserError
from reproduction import logs

main = cli.load_main("reproduce")


def write_lines(path, lines):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(json.dumps(line) for line in lines) + "\n")
    return path


def reference_log(path, iterations=range(50, 2001, 50)):
    """Writes a log as version 0.x does: its environment, training, validation."""
    train = [
        {"mode": "train", "epoch": 1, "iter": i, "lr": 0.01, "memory": 7748}
        | {"decode.loss_seg": 800 / i, "aux.loss_seg": 200 / i, "loss": 1000 / i}
        for i in iterations
    ]
    validation = {"mode": "val", "epoch": 1, "iter": 2000, "mIoU": 0.7, "loss": 99.0}
    return write_lines(path, [{"env_info": "sys.platform: linux"}, *train, validation])


def own_log(path, iterations=range(10, 2001, 10), factor=1.5):
    train = [
        {"kind": "train", "iteration": i, "loss": factor * 1000 / i} for i in iterations
    ]
    return write_lines(path, [*train, {"kind": "val", "iteration": 2000, "mIoU": 0.1}])


def test_curves_are_averaged_over_the_same_spans(tmp_path):
    theirs = logs.reference_losses(reference_log(tmp_path / "a.log.json"))
    assert theirs.iterations.tolist() == list(range(50, 2001, 50))
    ours = logs.run_losses(own_log(tmp_path / "metrics.jsonl"))
    own, other = logs.side_by_side(ours, theirs)
    assert own.iterations.tolist() == other.iterations.tolist()
    assert own.iterations.tolist() == list(range(100, 2001, 100))
    # Of iterations 110 to 200: ten of ours, two of theirs.
    assert own.losses[1] == pytest.approx(
        np.mean([1500 / i for i in range(110, 201, 10)])
    )
    assert other.losses[1] == pytest.approx(np.mean([1000 / 150, 1000 / 200]))


def test_a_shorter_run_is_compared_as_far_as_it_goes(tmp_path):
    theirs = logs.reference_losses(reference_log(tmp_path / "a.log.json"))
    ours = logs.run_losses(own_log(tmp_path / "m.jsonl", range(10, 301, 10)))
    own, other = logs.side_by_side(ours, theirs)
    assert own.iterations[-1] == 300
    # Theirs has a loss in every 50 iterations: shorter spans are left out.
    assert len(other.losses) == 6 and np.isfinite(other.losses).all()


def test_scalars_of_version_1_are_read(tmp_path):
    lines = [
        {"lr": 0.01, "loss": 2.0, "iter": 50, "step": 50},
        {"aAcc": 50, "step": 60},
    ]
    curve = logs.reference_losses(write_lines(tmp_path / "scalars.json", lines))
    assert curve.iterations.tolist() == [50] and curve.losses.tolist() == [2.0]


@pytest.mark.parametrize("text", ["", "no JSON", '{"mode": "train", "iter": 1}', "[1]"])
def test_a_file_without_losses_gets_a_sentence(tmp_path, text):
    path = tmp_path / "log.json"
    path.write_text(text)
    with pytest.raises(UserError, match="holds no losses; expected: a training log"):
        logs.reference_losses(path)


def test_the_command_prints_a_table_and_draws(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    own_log(tmp_path / "runs" / "voc_r50_20k" / "metrics.jsonl")
    log = reference_log(tmp_path / "a.log.json")
    assert main(["voc_r50_20k", "--logs", str(log)]) == 0
    assert "iteration   gcnet_tf   mmsegmentation" in capsys.readouterr().out
    picture = tmp_path / "runs" / "reproduce" / "voc_r50_20k_loss.png"
    assert picture.read_bytes()[:4] == b"\x89PNG"

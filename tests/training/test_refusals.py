"""Errors in settings and data, which must come before the run folder exists."""

import dataclasses
import shutil

import pytest

from gcnet_tf.errors import UserError
from gcnet_tf.files.lock import locked
from gcnet_tf.training import train

pytestmark = pytest.mark.usefixtures("shallow")


def test_the_batch_must_divide_over_the_replicas(tiny_config, tmp_path):
    config = tiny_config("train.logical_cpus=2", "train.batch_size=3")
    with pytest.raises(UserError, match="train.batch_size is 3.*multiple of 2"):
        train(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_run_has_one_training_at_a_time(tiny_config, tmp_path):
    run = tmp_path / "run"
    with locked(run):
        with pytest.raises(UserError, match=f"{run} is being written by process"):
            train(tiny_config(), run)
        assert not run.exists()
        with pytest.raises(UserError, match=f"{run} is being written by process"):
            train(tiny_config(), run, resume=True)
        assert (tmp_path / "run.lock").exists()
    with pytest.raises(UserError, match="Nothing to resume"):
        train(tiny_config(), run, resume=True)
    assert not list(tmp_path.iterdir())


def test_missing_data_leaves_no_run_folder(tiny_config, tmp_path):
    config = tiny_config(f"data.records={tmp_path}/none", "data.dataset=voc12aug")
    config = dataclasses.replace(
        config, data=dataclasses.replace(config.data, root=str(tmp_path / "gone"))
    )
    with pytest.raises(UserError, match="There are no records"):
        train(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_missing_initial_weights_leave_no_run_folder(tiny_config, tmp_path):
    config = tiny_config(f"train.init_from={tmp_path}/gone.weights.h5")
    with pytest.raises(UserError, match="No weights file"):
        train(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_wrong_number_of_class_weights_leaves_no_run_folder(tiny_config, tmp_path):
    with pytest.raises(UserError, match="received 2 numbers for the 6 classes"):
        train(tiny_config("train.class_weights=[1,2]"), tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("check", ["true", "false"])
def test_a_bad_file_stops_before_the_run_folder(check, tiny_config, tmp_path):
    root = tmp_path / "source"
    shutil.copytree(tiny_config().data.root, root)
    for name in ("train_00000", "train_00001"):
        (root / "train" / "labels" / f"{name}.png").write_bytes(b"cut")
    config = tiny_config(
        f"data.root={root}", f"data.records={tmp_path / 'new'}", f"data.check={check}"
    )
    with pytest.raises(UserError) as error:
        train(config, tmp_path / "run")
    # The check finds both files; conversion stops at the first.
    named = [f"train_0000{index}.png" in str(error.value) for index in (0, 1)]
    assert sum(named) == (2 if check == "true" else 1)
    assert not (tmp_path / "run").exists()
    assert not list(tmp_path.glob("new/*/manifest.json"))

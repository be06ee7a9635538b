import json

import pytest

from gcnet_tf.config import load_config
from gcnet_tf.errors import UserError
from gcnet_tf.training.monitor.run_folder import check_run, open_run
from gcnet_tf.weights.files import newest_checkpoint

CONFIG = load_config("shapes_r18")


def test_a_new_run_records_configuration_and_versions(tmp_path):
    run = tmp_path / "deep" / "run"
    check_run(run, CONFIG, resume=False)
    open_run(run, CONFIG)
    assert newest_checkpoint(run) is None
    assert load_config(run / "config.json") == CONFIG
    versions = json.loads((run / "versions.json").read_text())
    assert versions["tensorflow"].startswith("2.")


def test_an_existing_run_is_not_overwritten(tmp_path):
    open_run(tmp_path / "run", CONFIG)
    with pytest.raises(UserError, match="already exists.*--resume.*--out"):
        check_run(tmp_path / "run", CONFIG, resume=False)
    (tmp_path / "file").write_text("mine")
    with pytest.raises(UserError, match="already exists"):
        check_run(tmp_path / "file", CONFIG, resume=False)
    assert (tmp_path / "file").read_text() == "mine"


def test_an_empty_folder_may_hold_its_lock(tmp_path):
    (tmp_path / ".lock").touch()
    check_run(tmp_path, CONFIG, resume=False)


def test_nothing_to_resume(tmp_path):
    with pytest.raises(UserError, match="Nothing to resume"):
        check_run(tmp_path / "run", CONFIG, resume=True)


def test_resumes_with_the_same_settings_only(tmp_path):
    open_run(tmp_path, CONFIG)
    check_run(tmp_path, CONFIG, resume=True)
    open_run(tmp_path, CONFIG)
    changed = load_config("shapes_r18", ["train.learning_rate=0.02"])
    with pytest.raises(UserError, match="train.learning_rate was 0.1 and is 0.02"):
        check_run(tmp_path, changed, resume=True)
    # Settings that only change outputs or paths may change.
    free = load_config("shapes_r18", ["train.log_every=7", "data.root=elsewhere"])
    check_run(tmp_path, free, resume=True)


LOSS = '{"class_name": "Dice", "config": {}}'
ADAM = '{"class_name": "Adam", "config": {"beta_1": 0.5}}'
DROPOUT = '{"class_name": "GaussianNoise", "config": {"stddev": 1.0}}'


@pytest.mark.parametrize(
    "setting, before, after",
    [
        ("train.loss", LOSS, "null"),
        ("train.loss", "null", LOSS),
        ("train.optimizer", ADAM, '{"class_name": "Adam", "config": {}}'),
        ("augment.layer", DROPOUT, "null"),
        ("train.metrics", f"[{LOSS}]", "[]"),
    ],
)
def test_a_named_object_is_compared_whole(setting, before, after, tmp_path):
    run = tmp_path / "run"
    open_run(run, load_config("voc_r50_20k", [f"{setting}={before}"]))
    written = (run / "config.json").read_bytes()
    check_run(run, load_config("voc_r50_20k", [f"{setting}={before}"]), resume=True)
    with pytest.raises(UserError, match=f"other settings: {setting} was .* and is"):
        check_run(run, load_config("voc_r50_20k", [f"{setting}={after}"]), resume=True)
    assert (run / "config.json").read_bytes() == written

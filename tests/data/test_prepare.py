"""Records are made when missing, checked when present, and never silently wrong."""

import subprocess
import sys

import pytest
from helpers import CLASSES, make_folder_tree, make_voc_tree

from gcnet_tf.config import config_from_dict
from gcnet_tf.data import prepare
from gcnet_tf.data.records.shards import read_manifest
from gcnet_tf.errors import UserError
from gcnet_tf.files.lock import locked


def make_config(tmp_path, dataset="folder", classes=CLASSES, root="source", **settings):
    data = {
        "dataset": dataset,
        "root": str(tmp_path / root),
        "records": str(tmp_path / "records"),
    }
    if dataset == "folder":
        data["classes"] = list(classes)
    data |= settings
    return config_from_dict({"data": data})


def write_times(tmp_path):
    return {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.tfrecord")}


def test_missing_records_are_made_once(tmp_path):
    make_folder_tree(tmp_path / "source")
    config = make_config(tmp_path)
    prepare.ensure_records(config)
    assert read_manifest(tmp_path / "records", "train").num_samples == 3
    assert read_manifest(tmp_path / "records", "val").num_samples == 2
    before = write_times(tmp_path)
    prepare.ensure_records(config)
    assert write_times(tmp_path) == before


def test_only_the_missing_split_is_made(tmp_path):
    make_folder_tree(tmp_path / "source")
    config = make_config(tmp_path)
    prepare.ensure_records(config, ["val"])
    assert not (tmp_path / "records" / "train").exists()
    before = write_times(tmp_path)
    prepare.ensure_records(config)
    after = write_times(tmp_path)
    assert len(after) > len(before) and before.items() <= after.items()


def test_two_processes_do_not_convert_into_one_folder(tmp_path):
    make_folder_tree(tmp_path / "source")
    config = make_config(tmp_path)
    with locked(tmp_path / "records"):
        with pytest.raises(UserError, match="records is being written by process"):
            prepare.ensure_records(config)
    assert not (tmp_path / "records").exists()
    prepare.ensure_records(config)
    with locked(tmp_path / "records"):
        prepare.ensure_records(config)  # which only reads


def test_overwrite_makes_all_again(tmp_path):
    make_folder_tree(tmp_path / "source")
    config = make_config(tmp_path, on_changed_source="ignore")
    prepare.ensure_records(config)
    make_folder_tree(tmp_path / "source", num_train=5)
    assert prepare.ensure_records(config)["train"].num_samples == 3
    assert prepare.ensure_records(config)["train"].num_samples == 3
    assert prepare.ensure_records(config, overwrite=True)["train"].num_samples == 5


def test_records_are_enough_without_the_source(tmp_path):
    make_folder_tree(tmp_path / "source")
    prepare.ensure_records(make_config(tmp_path))
    prepare.ensure_records(make_config(tmp_path, root="gone"))


def test_voc_end_to_end(tmp_path):
    make_voc_tree(tmp_path / "source")
    config = make_config(tmp_path, "voc12aug", allow_partial=True)
    manifests = prepare.ensure_records(config)
    assert manifests["train"].num_samples == 5
    assert manifests["train"].num_ignored_pixels > 0  # the border of VOC's own masks
    assert all(manifests["train"].class_histogram)


def test_a_missing_source_says_what_to_do(tmp_path):
    with pytest.raises(UserError) as error:
        prepare.ensure_records(make_config(tmp_path, "voc12aug"))
    message = str(error.value)
    for words in (
        "VOCtrainval_11-May-2012.tar",
        str(tmp_path / "source"),
        "scripts/make_tfrecords.py --cfg",
    ):
        assert words in message
    assert "{" not in message


def test_a_missing_source_is_reported_without_tensorflow(tmp_path):
    code = (
        "import sys\n"
        "from gcnet_tf.config import load_config\n"
        "from gcnet_tf.data import prepare\n"
        f"config = load_config('voc_r50_20k', ['data.root={tmp_path}/none',"
        f" 'data.records={tmp_path}/none'])\n"
        "try:\n"
        "    prepare.ensure_records(config)\n"
        "except ValueError:\n"
        "    print('tensorflow' in sys.modules)\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True
    )
    assert result.stdout == "False\n", result.stderr


def test_a_file_as_the_source(tmp_path):
    (tmp_path / "source").touch()
    with pytest.raises(UserError, match="source is a file"):
        prepare.ensure_records(make_config(tmp_path))


def test_a_bad_val_split_is_reported_before_train_is_converted(tmp_path):
    make_folder_tree(tmp_path / "source")
    next((tmp_path / "source" / "val" / "labels").iterdir()).unlink()
    with pytest.raises(UserError, match="1 image is"):
        prepare.ensure_records(make_config(tmp_path))
    assert not (tmp_path / "records").exists()


def test_shapes_are_drawn_when_missing(tmp_path, monkeypatch):
    small = {"num_train": 4, "num_val": 3, "size": 32, "seed": 0}
    monkeypatch.setattr(prepare, "DEMO_SET", small)
    prepare.ensure_records(make_config(tmp_path, "shapes"))
    assert read_manifest(tmp_path / "records", "train").num_samples == 4
    assert read_manifest(tmp_path / "records", "val").num_samples == 3


@pytest.mark.parametrize("split", ["train", "val"])
def test_records_of_other_classes_are_refused(tmp_path, split):
    make_folder_tree(tmp_path / "source")
    prepare.ensure_records(make_config(tmp_path))
    config = make_config(tmp_path, classes=("ground", "house", "tree"))
    with pytest.raises(UserError, match="ground, tree, house, but.*--overwrite"):
        prepare.ensure_records(config, [split])


def test_records_of_another_dataset_are_refused(tmp_path):
    make_folder_tree(tmp_path / "source")
    prepare.ensure_records(make_config(tmp_path))
    with pytest.raises(UserError, match="'folder', but.*'shapes'.*--overwrite"):
        prepare.ensure_records(make_config(tmp_path, "shapes"))


@pytest.mark.parametrize(
    "before, after, words",
    [
        ({}, {"label_map": [[2, 1]]}, r"data.label_map = \[\], but it is \[\[2, 1\]\]"),
        ({"label_map": [[2, 1], [0, 1]]}, {"label_map": [[2, 1]]}, "label_map = .*now"),
        ({}, {"also": [{"root": "x"}]}, "data.also = .*folder.* now"),
    ],
)
def test_records_of_other_settings_are_refused(tmp_path, before, after, words):
    make_folder_tree(tmp_path / "source")
    prepare.ensure_records(make_config(tmp_path, **before))
    with pytest.raises(UserError, match=words + ".*--overwrite"):
        prepare.ensure_records(make_config(tmp_path, **after))


def test_settings_that_change_nothing_are_accepted(tmp_path):
    make_folder_tree(tmp_path / "source")
    prepare.ensure_records(make_config(tmp_path, label_map=[[2, 1], [0, 1]]))
    same = {"label_map": [[0, 1], [2, 1]], "val_share": 0.5, "allow_partial": True}
    prepare.ensure_records(make_config(tmp_path, **same))


def test_several_sources_end_to_end(tmp_path):
    make_folder_tree(tmp_path / "source")
    make_folder_tree(tmp_path / "more", num_train=4, num_classes=4)
    also = [{"root": str(tmp_path / "more"), "label_map": [[3, 255]]}]
    manifests = prepare.ensure_records(make_config(tmp_path, also=also))
    assert manifests["train"].num_samples == 7
    assert manifests["val"].num_samples == 2
    size = 24 * 32
    assert manifests["train"].num_ignored_pixels > 3 * size // 4 + 4 * size // 3


def test_a_limit_is_remembered_and_mentioned(tmp_path):
    make_voc_tree(tmp_path / "source")
    config = make_config(tmp_path, "voc12aug")  # incomplete, which a limit allows
    manifests = prepare.ensure_records(config, limit=1)
    assert [manifest.limit for manifest in manifests.values()] == [1, 1]
    with pytest.warns(UserWarning, match="only the first 1 images.*--overwrite"):
        prepare.ensure_records(config)


def test_a_partial_data_set_is_refused_before_anything_is_written(tmp_path):
    make_voc_tree(tmp_path / "source")
    with pytest.raises(UserError, match="there should be 10582"):
        prepare.ensure_records(make_config(tmp_path, "voc12aug"))
    assert not (tmp_path / "records").exists()


def test_damaged_records_are_refused(tmp_path):
    make_folder_tree(tmp_path / "source")
    prepare.ensure_records(make_config(tmp_path))
    next((tmp_path / "records" / "val").glob("*.tfrecord")).unlink()
    with pytest.raises(UserError, match="is missing"):
        prepare.ensure_records(make_config(tmp_path))

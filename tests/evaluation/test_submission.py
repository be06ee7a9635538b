"""Prediction files for the test servers of Cityscapes and ADE20K."""

import re
import zipfile

import numpy as np
import pytest
from helpers import random_image, save_image

from gcnet_tf.data.catalog import CITYSCAPES_ID_MAP, dataset_facts
from gcnet_tf.errors import UserError
from gcnet_tf.evaluation.submission import (
    check_format,
    check_zip,
    server_ids,
    write_zip,
)

# The forward table of docs/reference.md, section 5.6.
CITYSCAPES_TABLE = (
    "7→0 8→1 11→2 12→3 13→4 17→5 19→6 20→7 21→8 22→9 23→10 24→11 25→12 26→13 27→14 "
    "28→15 31→16 32→17 33→18"
)


def test_cityscapes_ids_invert_the_table():
    pairs = [map(int, pair) for pair in re.findall(r"(\d+)→(\d+)", CITYSCAPES_TABLE)]
    label_ids, train_ids = zip(*pairs)
    assert train_ids == tuple(range(19))
    written = server_ids(np.array([train_ids], np.uint8), "cityscapes")
    assert written.tolist() == [list(label_ids)] and written.dtype == np.uint8


def test_written_ids_read_as_labels_are_the_prediction():
    for dataset, label_map in (
        ("cityscapes", CITYSCAPES_ID_MAP),
        ("ade20k", dataset_facts("ade20k").label_map),
    ):
        classes = np.arange(dataset_facts(dataset).num_classes, dtype=np.uint8)
        written = server_ids(classes, dataset)
        assert [label_map[k] for k in written] == classes.tolist()


def test_ade20k_ids_are_one_more_and_plain_ids_stay():
    ids = np.array([[0, 7], [99, 149]], np.uint8)
    assert server_ids(ids, "ade20k").tolist() == [[1, 8], [100, 150]]
    assert server_ids(ids, "ids").tolist() == ids.tolist()


def test_a_format_is_for_models_of_its_data_set():
    check_format("ids", "voc12aug")
    check_format("ade20k", "ade20k")
    with pytest.raises(UserError, match="cityscapes.*voc12aug"):
        check_format("cityscapes", "voc12aug")


def test_zip_holds_the_files_without_folders(tmp_path):
    files = [save_image(tmp_path / "a" / f"{i}.png", random_image(i)) for i in range(2)]
    archive = tmp_path / "new" / "test.zip"
    write_zip(archive, files)
    with zipfile.ZipFile(archive) as packed:
        assert packed.namelist() == ["0.png", "1.png"]
        assert packed.read("1.png") == files[1].read_bytes()


def test_a_zip_that_fails_leaves_the_one_before(tmp_path):
    archive = tmp_path / "test.zip"
    archive.write_text("before")
    with pytest.raises(UserError, match="Cannot write"):
        write_zip(archive, [tmp_path / "gone.png"])
    assert archive.read_text() == "before"
    assert [path.name for path in tmp_path.iterdir()] == ["test.zip"]


def test_files_of_one_name_do_not_share_a_place_in_the_zip(tmp_path):
    left, right = tmp_path / "left" / "1.png", tmp_path / "right" / "1.png"
    check_zip(tmp_path / "new" / "x.zip", [left, tmp_path / "2.png"])
    assert not list(tmp_path.iterdir())
    with pytest.raises(UserError, match=f"{left} and {right} have the same name"):
        check_zip(tmp_path / "x.zip", [left, right])
    with pytest.raises(UserError, match=r"a.png; it must end in .zip"):
        check_zip(tmp_path / "a.png", [left])

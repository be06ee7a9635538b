"""An export is parsed once a step, and what is left out of it is told once."""

import warnings

import export_trees as trees
import pytest
from helpers import random_image, save_image

from gcnet_tf.config import config_from_dict
from gcnet_tf.data.check.conversion import checked_records
from gcnet_tf.data.check.inspect import check_data
from gcnet_tf.data.check.report import format_report
from gcnet_tf.data.prepare import keeping_records
from gcnet_tf.data.sources.exports import coco


@pytest.fixture
def config(tmp_path):
    """An export that nothing divides, with an image that it does not list."""
    root = trees.make_coco(tmp_path / "export")
    save_image(root / "images" / "third.jpg", random_image(3))
    data = {
        "dataset": "coco",
        "root": str(root),
        "records": str(tmp_path / "records"),
        "classes": ["background", *trees.NAMES],
        "val_share": 0.5,
    }
    return config_from_dict({"data": data})


@pytest.fixture
def parsed(monkeypatch):
    """The files that are parsed, one after the other."""
    files = []

    def read_json(path):
        files.append(path.name)
        return whole(path)

    whole = coco.read_json
    monkeypatch.setattr(coco, "read_json", read_json)
    return files


def test_what_both_splits_leave_out_is_one_warning(config, parsed):
    report = check_data(config, progress=False)
    (item,) = report.findings["source"]
    assert item.where == "train, val" and "third.jpg" in item.detail
    text = format_report(report)
    assert text.count("third.jpg") == 1 and "passed over (1)" in text
    assert parsed == ["instances_default.json"]


@pytest.mark.parametrize("step", [checked_records, keeping_records])
def test_a_step_parses_the_file_once(step, config, parsed):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        checked_records(config)
        assert len(parsed) == 1
        step(config)
    assert len(parsed) == 2  # it may have changed between the steps

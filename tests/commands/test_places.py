"""Commands refuse a place that cannot be written before they load anything."""

import pytest
from helpers import call_script, random_image, save_image

from gcnet_tf.errors import UserError

IMAGE = ["--image", "{}/photo.png"]
LATE = "a file that is read after the place is tried"


@pytest.mark.parametrize(
    "command, arguments",
    [
        ("predict", ["--model", LATE, *IMAGE, "--out", "{}/file"]),
        (
            "predict",
            ["--model", LATE, *IMAGE, "--out", "{}/out", "--zip", "{}/file/a.zip"],
        ),
        ("predict", ["--model", LATE, "--video", "{}/file", "--out", "{}/file/out"]),
        ("evaluate", ["--model", LATE, "--json", "{}/file/a.json"]),
        ("check_data", ["--cfg", LATE, "--json", "{}/file/a.json"]),
        ("check_data", ["--cfg", LATE, "--sheet", "{}/file/a.png"]),
        ("export_mmseg", ["--model", LATE, "--out", "{}/file/a.npz"]),
        (
            "import_mmseg",
            ["--cfg", "voc_r50_20k", "--checkpoint", LATE]
            + ["--out", "{}/file/a.weights.h5"],
        ),
        ("show_attention", ["--model", "{}/run", *IMAGE, "--out", "{}/file"]),
    ],
)
def test_the_place_is_tried_first(command, arguments, tmp_path):
    save_image(tmp_path / "photo.png", random_image(0))
    (tmp_path / "file").touch()
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.json").write_text("{}")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(UserError, match="Cannot write .*/file/.*: Not a directory"):
        call_script(command, *(text.format(tmp_path) for text in arguments))
    assert sorted(tmp_path.rglob("*")) == before

"""Files for the user: places that are tried first, and disks that are full."""

import numpy as np
import pytest
from PIL import Image

from gcnet_tf.errors import UserError
from gcnet_tf.files.results import new_result, require_place, write_result


def test_trying_a_place_leaves_nothing(tmp_path):
    require_place(tmp_path / "new" / "folder" / "a.json")
    assert not list(tmp_path.iterdir())
    mine = tmp_path / "a.json"
    mine.write_text("mine")
    require_place(mine)
    assert mine.read_text() == "mine" and list(tmp_path.iterdir()) == [mine]


@pytest.mark.parametrize(
    "place, words",
    [
        ("folder", "folder is a folder or a device"),
        ("/dev/full", "/dev/full is a folder or a device"),
        ("file/a.json", "Cannot write .*file/a.json: Not a directory"),
        ("file/new/a.json", "Cannot write .*file/new/a.json: Not a directory"),
        ("/proc/a.json", "Cannot write /proc/a.json: "),
        ("a" * 300, "Cannot write .*: File name too long"),
    ],
)
def test_places_that_cannot_be_written(place, words, tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=words):
        require_place(tmp_path / place)


def test_a_full_disk_leaves_the_file_before(tmp_path, full_disk):
    path = tmp_path / "a.png"
    Image.new("L", (4, 4)).save(path)
    before = path.read_bytes()
    noise = np.random.default_rng(0).integers(0, 256, (200, 200), np.uint8)
    with full_disk(5000), pytest.raises(UserError, match=f"Cannot write {path}: File"):
        with new_result(path) as partial:
            Image.fromarray(noise).save(partial)
    with full_disk(5000), pytest.raises(UserError, match=f"Cannot write {path}: File"):
        write_result(path, "x" * 6000)
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]


def test_folders_are_made_and_text_is_whole(tmp_path):
    write_result(tmp_path / "new" / "a.txt", "é\n")
    assert (tmp_path / "new" / "a.txt").read_bytes() == b"\xc3\xa9\n"
    with pytest.raises(UserError, match="Cannot write .*b.txt: "):
        write_result(tmp_path / "new" / "a.txt" / "b.txt", "text")

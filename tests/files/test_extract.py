"""Unpacking: whole or not at all, and never outside of the folder."""

import os
import tarfile

import pytest
from archives import tar_bytes, zip_bytes

from gcnet_tf.errors import UserError
from gcnet_tf.files import extract
from gcnet_tf.files.extract import extract_folder

FILES = [
    ("kit/set/a.txt", b"a"),
    ("kit/set/sub/b.txt", b"bb"),
    ("kit/other/c.txt", b"c"),
    ("readme", b"d"),
]
MAKERS = {
    "x.tar": tar_bytes,
    "x.tgz": lambda files: tar_bytes(files, mode="w:gz"),
    "x.zip": zip_bytes,
}


@pytest.fixture
def place(tmp_path):
    """A folder to unpack in; what lies beside it must stay as it is."""
    (tmp_path / "victim").write_text("mine")
    (tmp_path / "in").mkdir()
    return tmp_path / "in"


def everything(folder):
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*"))


@pytest.mark.parametrize("name", MAKERS)
def test_one_folder_is_taken_out(place, name):
    archive = place / name
    archive.write_bytes(MAKERS[name](FILES))
    extract_folder(archive, "kit/set", place / "VOC2012")
    assert everything(place / "VOC2012") == ["a.txt", "sub", "sub/b.txt"]
    assert (place / "VOC2012" / "sub" / "b.txt").read_bytes() == b"bb"
    assert everything(place) == sorted(
        [name, "VOC2012", *(f"VOC2012/{p}" for p in everything(place / "VOC2012"))]
    )


@pytest.mark.parametrize("prefix", ["./", ""])
def test_names_may_begin_with_a_dot(place, prefix):
    archive = place / "x.tar"
    archive.write_bytes(tar_bytes([(prefix + name, data) for name, data in FILES]))
    extract_folder(archive, "kit/set", place / "out")
    assert everything(place / "out") == ["a.txt", "sub", "sub/b.txt"]


def test_a_folder_that_is_there_is_left_alone(place):
    (place / "out").mkdir()
    archive = place / "x.tar"
    archive.write_bytes(b"anything")
    extract_folder(archive, "kit/set", place / "out")
    assert everything(place / "out") == []


def test_what_a_killed_run_left_is_removed(place):
    (place / "partial-out").mkdir()
    (place / "partial-out" / "half").touch()
    archive = place / "x.tar"
    archive.write_bytes(tar_bytes(FILES))
    extract_folder(archive, "kit/set", place / "out")
    assert everything(place / "out") == ["a.txt", "sub", "sub/b.txt"]
    assert not (place / "partial-out").exists()


NAMES = [
    "../victim",
    "kit/set/../../../victim",
    "/tmp/victim",
    "kit/../../victim",
    "..",
    "kit\\..\\..\\victim",
    "C:/victim",
]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("make", [tar_bytes, zip_bytes])
def test_names_that_lead_out_are_refused(place, name, make):
    archive = place / "x"
    archive.write_bytes(make([*FILES, (name, b"evil")]))
    with pytest.raises(UserError, match="not safe to unpack: its member"):
        extract_folder(archive, "kit/set", place / "out")
    assert everything(place) == ["x"]
    assert (place.parent / "victim").read_text() == "mine"


@pytest.mark.parametrize(
    "name, target",
    [
        ("kit/set/l", "/etc/passwd"),
        ("kit/set/l", "../../../victim"),
        ("l", ".."),
        ("kit/set/l", "../../.."),
    ],
)
@pytest.mark.parametrize("kind", ["symbolic", "hard", "zip"])
def test_links_that_lead_out_are_refused(place, name, target, kind):
    if kind == "zip":
        content = zip_bytes(FILES, [(name, target)])
    else:
        kind = tarfile.SYMTYPE if kind == "symbolic" else tarfile.LNKTYPE
        content = tar_bytes(FILES, [(name, kind, target)])
    archive = place / "x"
    archive.write_bytes(content)
    with pytest.raises(UserError, match="not safe.* '(kit/set/)?l', a link to '"):
        extract_folder(archive, "kit/set", place / "out")
    assert everything(place) == ["x"]


@pytest.mark.parametrize("make", ["tar", "zip"])
def test_links_inside_are_not_followed(place, make):
    """Neither made, nor written through."""
    if make == "tar":
        links = [("kit/set/sub2", tarfile.SYMTYPE, "sub")]
        content = tar_bytes([*FILES, ("kit/set/sub2/x", b"x")], links)
    else:
        content = zip_bytes(FILES, [("kit/set/sub2", "sub")])
    archive = place / "x"
    archive.write_bytes(content)
    extract_folder(archive, "kit/set", place / "out")
    assert not any(path.is_symlink() for path in (place / "out").rglob("*"))
    assert everything(place / "out/sub") == ["b.txt"]


@pytest.mark.parametrize(
    "kind", [tarfile.FIFOTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.DIRTYPE]
)
def test_devices_are_not_made(place, kind):
    archive = place / "x.tar"
    archive.write_bytes(tar_bytes(FILES, [("kit/set/device", kind, "")]))
    extract_folder(archive, "kit/set", place / "out")
    assert everything(place / "out") == ["a.txt", "sub", "sub/b.txt"]


def test_permissions_are_not_taken_over(place):
    info = tarfile.TarInfo("kit/set/run")
    info.mode = 0o6777
    with tarfile.open(place / "x.tar", "w") as tar:
        tar.addfile(info)
    extract_folder(place / "x.tar", "kit/set", place / "out")
    assert not (place / "out" / "run").stat().st_mode & 0o7111


@pytest.mark.parametrize("name", MAKERS)
@pytest.mark.parametrize("share", [0, 0.5, 0.9])
def test_cut_archives_are_refused(place, name, share):
    noise = os.urandom(50_000)
    content = MAKERS[name]([*FILES, ("kit/set/noise", noise), ("kit/set/z", noise)])
    (place / name).write_bytes(content[: int(share * len(content))])
    with pytest.raises(UserError, match="Cannot unpack .*remove it and run again"):
        extract_folder(place / name, "kit/set", place / "out")
    assert everything(place) == [name]


def test_a_changed_zip_is_refused(place):
    content = bytearray(zip_bytes([("kit/set/a", b"a" * 5000)]))
    content[45] ^= 1
    (place / "x.zip").write_bytes(content)
    with pytest.raises(UserError, match="Cannot unpack"):
        extract_folder(place / "x.zip", "kit/set", place / "out")
    assert everything(place) == ["x.zip"]


def test_an_archive_of_something_else_is_refused(place):
    (place / "x.tar").write_bytes(tar_bytes([("page.html", b"<html>")]))
    with pytest.raises(UserError, match="has no folder kit/set with files"):
        extract_folder(place / "x.tar", "kit/set", place / "out")
    assert everything(place) == ["x.tar"]


def test_a_file_in_the_way_of_a_folder(place):
    (place / "x.tar").write_bytes(tar_bytes([*FILES, ("kit/set/a.txt/b", b"")]))
    with pytest.raises(UserError, match="Cannot unpack"):
        extract_folder(place / "x.tar", "kit/set", place / "out")


def test_ctrl_c_leaves_nothing(place, monkeypatch):
    def interrupted(content, path):
        path.touch()
        raise KeyboardInterrupt

    monkeypatch.setattr(extract, "_write", interrupted)
    (place / "x.tar").write_bytes(tar_bytes(FILES))
    with pytest.raises(KeyboardInterrupt):
        extract_folder(place / "x.tar", "kit/set", place / "out")
    assert everything(place) == ["x.tar"]

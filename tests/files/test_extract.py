"""Unpacking of archives, whole or not at all, and never outside of the folder."""

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
def work_dir(tmp_path):
    """A folder to unpack in; the file beside it must stay unchanged."""
    (tmp_path / "victim").write_text("mine")
    (tmp_path / "in").mkdir()
    return tmp_path / "in"


def everything(folder):
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*"))


@pytest.mark.parametrize("name", MAKERS)
def test_one_folder_is_taken_out(work_dir, name):
    archive = work_dir / name
    archive.write_bytes(MAKERS[name](FILES))
    extract_folder(archive, "kit/set", work_dir / "VOC2012")
    assert everything(work_dir / "VOC2012") == ["a.txt", "sub", "sub/b.txt"]
    assert (work_dir / "VOC2012" / "sub" / "b.txt").read_bytes() == b"bb"
    assert everything(work_dir) == sorted(
        [name, "VOC2012", *(f"VOC2012/{p}" for p in everything(work_dir / "VOC2012"))]
    )


@pytest.mark.parametrize("prefix", ["./", ""])
def test_names_may_begin_with_a_dot(work_dir, prefix):
    archive = work_dir / "x.tar"
    archive.write_bytes(tar_bytes([(prefix + name, data) for name, data in FILES]))
    extract_folder(archive, "kit/set", work_dir / "out")
    assert everything(work_dir / "out") == ["a.txt", "sub", "sub/b.txt"]


def test_a_folder_that_is_there_is_left_alone(work_dir):
    (work_dir / "out").mkdir()
    archive = work_dir / "x.tar"
    archive.write_bytes(b"anything")
    extract_folder(archive, "kit/set", work_dir / "out")
    assert everything(work_dir / "out") == []


def test_leftovers_of_a_killed_run_are_removed(work_dir):
    (work_dir / "partial-out").mkdir()
    (work_dir / "partial-out" / "half").touch()
    archive = work_dir / "x.tar"
    archive.write_bytes(tar_bytes(FILES))
    extract_folder(archive, "kit/set", work_dir / "out")
    assert everything(work_dir / "out") == ["a.txt", "sub", "sub/b.txt"]
    assert not (work_dir / "partial-out").exists()


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
@pytest.mark.parametrize("archive_of", [tar_bytes, zip_bytes])
def test_names_that_lead_out_are_refused(work_dir, name, archive_of):
    archive = work_dir / "x"
    archive.write_bytes(archive_of([*FILES, (name, b"evil")]))
    with pytest.raises(UserError, match="not safe to unpack: its member"):
        extract_folder(archive, "kit/set", work_dir / "out")
    assert everything(work_dir) == ["x"]
    assert (work_dir.parent / "victim").read_text() == "mine"


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
def test_links_that_lead_out_are_refused(work_dir, name, target, kind):
    if kind == "zip":
        data = zip_bytes(FILES, [(name, target)])
    else:
        kind = tarfile.SYMTYPE if kind == "symbolic" else tarfile.LNKTYPE
        data = tar_bytes(FILES, [(name, kind, target)])
    archive = work_dir / "x"
    archive.write_bytes(data)
    with pytest.raises(UserError, match="not safe.* '(kit/set/)?l', a link to '"):
        extract_folder(archive, "kit/set", work_dir / "out")
    assert everything(work_dir) == ["x"]


@pytest.mark.parametrize("kind", ["tar", "zip"])
def test_links_inside_are_not_followed(work_dir, kind):
    """Links are neither made nor written through."""
    if kind == "tar":
        links = [("kit/set/sub2", tarfile.SYMTYPE, "sub")]
        data = tar_bytes([*FILES, ("kit/set/sub2/x", b"x")], links)
    else:
        data = zip_bytes(FILES, [("kit/set/sub2", "sub")])
    archive = work_dir / "x"
    archive.write_bytes(data)
    extract_folder(archive, "kit/set", work_dir / "out")
    assert not any(path.is_symlink() for path in (work_dir / "out").rglob("*"))
    assert everything(work_dir / "out/sub") == ["b.txt"]


@pytest.mark.parametrize(
    "kind", [tarfile.FIFOTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.DIRTYPE]
)
def test_devices_are_not_made(work_dir, kind):
    archive = work_dir / "x.tar"
    archive.write_bytes(tar_bytes(FILES, [("kit/set/device", kind, "")]))
    extract_folder(archive, "kit/set", work_dir / "out")
    assert everything(work_dir / "out") == ["a.txt", "sub", "sub/b.txt"]


def test_permissions_are_not_taken_over(work_dir):
    info = tarfile.TarInfo("kit/set/run")
    info.mode = 0o6777
    with tarfile.open(work_dir / "x.tar", "w") as tar:
        tar.addfile(info)
    extract_folder(work_dir / "x.tar", "kit/set", work_dir / "out")
    assert not (work_dir / "out" / "run").stat().st_mode & 0o7111


@pytest.mark.parametrize("name", MAKERS)
@pytest.mark.parametrize("share", [0, 0.5, 0.9])
def test_cut_archives_are_refused(work_dir, name, share):
    noise = os.urandom(50_000)
    data = MAKERS[name]([*FILES, ("kit/set/noise", noise), ("kit/set/z", noise)])
    (work_dir / name).write_bytes(data[: int(share * len(data))])
    with pytest.raises(UserError, match="Cannot unpack .*remove it and run again"):
        extract_folder(work_dir / name, "kit/set", work_dir / "out")
    assert everything(work_dir) == [name]


def test_a_changed_zip_is_refused(work_dir):
    data = bytearray(zip_bytes([("kit/set/a", b"a" * 5000)]))
    data[45] ^= 1
    (work_dir / "x.zip").write_bytes(data)
    with pytest.raises(UserError, match="Cannot unpack"):
        extract_folder(work_dir / "x.zip", "kit/set", work_dir / "out")
    assert everything(work_dir) == ["x.zip"]


def test_an_archive_of_something_else_is_refused(work_dir):
    (work_dir / "x.tar").write_bytes(tar_bytes([("page.html", b"<html>")]))
    with pytest.raises(UserError, match="has no folder kit/set with files"):
        extract_folder(work_dir / "x.tar", "kit/set", work_dir / "out")
    assert everything(work_dir) == ["x.tar"]


def test_a_file_in_the_way_of_a_folder(work_dir):
    (work_dir / "x.tar").write_bytes(tar_bytes([*FILES, ("kit/set/a.txt/b", b"")]))
    with pytest.raises(UserError, match="Cannot unpack"):
        extract_folder(work_dir / "x.tar", "kit/set", work_dir / "out")


def test_ctrl_c_leaves_nothing(work_dir, monkeypatch):
    def interrupted(source, path):
        path.touch()
        raise KeyboardInterrupt

    monkeypatch.setattr(extract, "_write", interrupted)
    (work_dir / "x.tar").write_bytes(tar_bytes(FILES))
    with pytest.raises(KeyboardInterrupt):
        extract_folder(work_dir / "x.tar", "kit/set", work_dir / "out")
    assert everything(work_dir) == ["x.tar"]

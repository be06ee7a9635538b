import errno
import json
import os
import stat

import pytest

from gcnet_tf.files import atomic, checksum


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_file_is_replaced_when_it_is_complete(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with atomic.new_file(path) as partial:
        partial.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert names(tmp_path) == ["a.txt"]


def test_an_error_leaves_the_old_file(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(KeyboardInterrupt):
        with atomic.new_file(path) as partial:
            partial.write_text("ne")
            raise KeyboardInterrupt
    assert path.read_text() == "old"
    assert names(tmp_path) == ["a.txt"]


def test_a_folder_is_replaced_when_it_is_complete(tmp_path):
    path = tmp_path / "a"
    for text in ("old", "new"):
        with atomic.new_folder(path) as partial:
            assert not list(partial.iterdir())
            (partial / "sub").mkdir()
            (partial / "sub" / text).write_text(text)
    assert names(path / "sub") == ["new"]
    with pytest.raises(ZeroDivisionError):
        with atomic.new_folder(path) as partial:
            (partial / "half").touch()
            raise ZeroDivisionError
    assert names(path / "sub") == ["new"]
    assert names(tmp_path) == ["a"]


def test_a_folder_outlives_a_kill_between_the_two_renames(tmp_path, monkeypatch):
    path = tmp_path / "a"
    path.mkdir()
    (path / "old").touch()

    class Killed(BaseException):
        pass

    real, calls = os.replace, []

    def replace(source, target):
        calls.append(source)
        if len(calls) >= 2:
            raise Killed  # from here on, no call works
        real(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", replace)
        with pytest.raises(Killed), atomic.new_folder(path) as partial:
            (partial / "new").touch()
    assert not path.exists()
    with pytest.raises(ZeroDivisionError), atomic.new_folder(path):
        assert names(path) == ["old"]
        raise ZeroDivisionError
    assert names(path) == ["old"]


def test_everything_is_on_the_disk_before_the_rename(tmp_path, monkeypatch):
    """A safe order for a power cut: files, their folder, the rename, its folder."""
    done = []
    real = os.replace
    monkeypatch.setattr(atomic, "to_disk", lambda path: done.append(path.name))

    def replace(*paths):
        done.append("rename")
        real(*paths)

    monkeypatch.setattr(os, "replace", replace)
    with atomic.new_folder(tmp_path / "a") as partial:
        (partial / "file").touch()
    assert done == ["file", "partial-a", "rename", tmp_path.name]
    done.clear()
    atomic.write_text(tmp_path / "b", "text")
    assert done == ["partial-b", "rename", tmp_path.name]


def test_json_with_a_checksum():
    values = {"a": [1, 0.1, None], "b": {"c": "é"}}
    written = json.loads(json.dumps(checksum.sealed(values), indent=3))
    assert checksum.unsealed(written) == values
    assert checksum.unsealed(values) == values  # as an older version wrote it
    for key, value in (("a", [1, 0.1]), ("new", 1), ("checksum", "0")):
        with pytest.raises(ValueError, match="does not match its checksum"):
            checksum.unsealed(written | {key: value})


def test_any_changed_byte_of_a_file_with_a_checksum_is_noticed(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(bytes(range(256)) * 3)
    checksum.check_file(path)  # it has no checksum yet
    checksum.append_checksum(path)
    whole = path.read_bytes()
    assert whole.startswith(bytes(range(256)) * 3)
    checksum.check_file(path)
    marker = len(whole) - len("\nsha256 ") - 65
    for position in [*range(0, marker, 41), *range(marker + 8, len(whole))]:
        damaged = bytearray(whole)
        damaged[position] ^= 4
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match="does not match"):
            checksum.check_file(path)


@pytest.mark.parametrize(
    "error, full",
    [
        (OSError(errno.ENOSPC, "No space left on device"), True),
        (OSError(errno.EDQUOT, "quota"), True),
        (RuntimeError("Unable to flush: error message = 'File too large'"), True),
        (OSError(errno.EACCES, "Permission denied"), False),
        (RuntimeError("Out of memory"), False),
    ],
)
def test_what_a_full_disk_looks_like(error, full):
    assert atomic.is_disk_full(error) == full
    try:
        raise ValueError("outer") from error
    except ValueError as outer:
        assert atomic.is_disk_full(outer) == full


@pytest.mark.parametrize("code", [errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP])
def test_a_disk_that_cannot_force_a_list_of_names(code, tmp_path, monkeypatch):
    """SMB is one. For a file the same error is an error."""
    real = os.fsync

    def fsync(descriptor):
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(code, os.strerror(code))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    atomic.write_text(tmp_path / "a.txt", "text")
    assert (tmp_path / "a.txt").read_text() == "text"

    def fail(descriptor):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError):
        atomic.write_text(tmp_path / "b.txt", "text")
    assert names(tmp_path) == ["a.txt"]

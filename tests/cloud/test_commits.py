"""Commits to an address: whole or not there, by one writer, whatever ends it when."""

import json

import pytest

from gcnet_tf.errors import UserError
from gcnet_tf.files.checksum import file_sha256
from gcnet_tf.files.remote.commits import (
    CommittedFolder,
    committed,
    fetch_commit,
    newest_commit,
)
from gcnet_tf.files.remote.failures import RemoteError
from gcnet_tf.files.remote.inputs import local_copy
from gcnet_tf.files.remote.store import Store

pytestmark = pytest.mark.filterwarnings("default")


class Killed(BaseException):
    """Ends a process of these tests."""


def write(folder, files):
    for name in sorted(folder.rglob("*")):
        if name.is_file():
            name.unlink()
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def texts(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_text()
        for path in folder.rglob("*")
        if path.is_file()
    }


def writer(address, monkeypatch, cache, resume):
    """Returns a writer as if on a machine of its own."""
    monkeypatch.setenv("GCNET_TF_CACHE", str(cache))
    folder = CommittedFolder(address, "--out")
    folder.open(resume)
    return folder


def committed_texts(address, folder):
    store = Store(address, "--model")
    commit = newest_commit(store)
    fetch_commit(store, commit, folder)
    for name, item in commit.files.items():
        assert file_sha256(folder / name) == item.sha256
    return texts(folder)


FIRST = {"config.json": "{}", "log": "1", "checkpoints/1/w": "one", "best": "b1"}
SECOND = {"config.json": "{}", "log": "1 2", "checkpoints/2/w": "two", "best": "b2"}
THIRD = {"config.json": "{}", "log": "1 3", "checkpoints/3/w": "three", "best": "b2"}


def test_a_state_is_committed_and_read_again(store, monkeypatch, tmp_path):
    address, _ = store
    folder = writer(address, monkeypatch, tmp_path / "a", resume=False)
    write(folder.folder, FIRST)
    folder.commit()
    assert committed_texts(address, tmp_path / "x") == FIRST
    write(folder.folder, SECOND)
    folder.commit()
    folder.commit()  # nothing new
    assert committed_texts(address, tmp_path / "x") == SECOND
    names = [name for name in Store(address, "x").list() if name.startswith("objects/")]
    assert len(names) == len(SECOND)
    # A reader has the run folder, and each file by the address it seems to have.
    assert texts(committed(Store(address, "x"))) == SECOND
    assert open(local_copy(f"{address}/checkpoints/2/w", "x")).read() == "two"
    with pytest.raises(UserError, match="there is no object"):
        local_copy(f"{address}/checkpoints/1/w", "x")


def test_a_kill_at_any_request_leaves_a_whole_state(store, monkeypatch, tmp_path):
    address, faulty = store
    done = 0
    for hit in range(1, 200):
        place = f"{address}/{hit}"
        folder = writer(place, monkeypatch, tmp_path / f"{hit}", resume=False)
        write(folder.folder, FIRST)
        folder.commit()
        write(folder.folder, SECOND)
        calls = 0
        real = Store._do

        def dying(self, *arguments, real=real, hit=hit):
            nonlocal calls
            calls += 1
            if calls == hit:
                raise Killed
            return real(self, *arguments)

        with monkeypatch.context() as patch:
            patch.setattr(Store, "_do", dying)
            try:
                folder.commit()
            except Killed:
                pass
            else:
                done = hit
        found = committed_texts(place, tmp_path / f"read{hit}")
        assert found in (FIRST, SECOND)
        # Another machine goes on, commits, and leaves no object of none.
        other = writer(place, monkeypatch, tmp_path / f"other{hit}", resume=True)
        assert texts(other.folder) == found
        write(other.folder, THIRD)
        other.commit()
        assert committed_texts(place, tmp_path / f"read{hit}") == THIRD
        names = [n for n in Store(place, "x").list() if n.startswith("objects/")]
        assert len(names) == len(THIRD)
        # The one that was thought dead cannot commit any more.
        write(folder.folder, {"config.json": "stale"})
        with pytest.raises(RemoteError, match="is being written by process"):
            folder.commit()
        assert committed_texts(place, tmp_path / f"read{hit}") == THIRD
        if done:
            break
    assert done > len(SECOND)  # kills have hit every request of the commit


def test_of_two_writers_one_can_commit(store, monkeypatch, tmp_path):
    address, _ = store
    first = writer(address, monkeypatch, tmp_path / "a", resume=False)
    second = writer(address, monkeypatch, tmp_path / "b", resume=False)
    write(second.folder, SECOND)
    second.commit()
    write(first.folder, FIRST)
    with pytest.raises(RemoteError, match="so that this one stops"):
        first.commit()
    assert committed_texts(address, tmp_path / "x") == SECOND


def test_a_lost_answer_is_no_second_writer(store, monkeypatch, tmp_path):
    address, faulty = store
    folder = writer(address, monkeypatch, tmp_path / "a", resume=False)
    write(folder.folder, FIRST)

    def lose(number, method, path):
        return "lost" if method in ("PUT", "POST") and number % 2 else ""

    faulty.reset(lose)
    folder.commit()
    faulty.reset()
    assert committed_texts(address, tmp_path / "x") == FIRST


def test_a_new_run_replaces_none_and_an_old_one_is_needed(store, monkeypatch, tmp_path):
    address, _ = store
    with pytest.raises(UserError, match="Nothing to resume in"):
        writer(address, monkeypatch, tmp_path / "a", resume=True)
    folder = writer(address, monkeypatch, tmp_path / "a", resume=False)
    write(folder.folder, FIRST)
    folder.commit()
    with pytest.raises(UserError, match="already exists. Add --resume"):
        writer(address, monkeypatch, tmp_path / "b", resume=False)
    assert committed_texts(address, tmp_path / "x") == FIRST


def test_a_store_that_replaces_what_is_to_be_new_is_refused(
    store, monkeypatch, tmp_path
):
    address, _ = store
    real = Store.write
    monkeypatch.setattr(
        Store, "create", lambda self, name, content: not real(self, name, content)
    )
    with pytest.raises(UserError, match="conditional writes"):
        writer(address, monkeypatch, tmp_path / "a", resume=False)


def test_other_stores_take_no_run(store):
    with pytest.raises(UserError, match="allowed: s3, s3a, gs, gcs or a path"):
        CommittedFolder("memory://run", "--out")


@pytest.mark.parametrize("change", ["flip", "outside", "cut"])
def test_a_damaged_record_is_told(change, store, monkeypatch, tmp_path):
    address, _ = store
    folder = writer(address, monkeypatch, tmp_path / "a", resume=False)
    write(folder.folder, FIRST)
    folder.commit()
    place = Store(address, "x")
    content = place.read("commits/00000002.json")
    if change == "outside":
        values = json.loads(content)
        values.pop("checksum")
        values["files"]["../x"] = values["files"]["log"]
        content = json.dumps(values).encode()
    elif change == "cut":
        content = content[:-5]
    else:
        content = content.replace(b'"num_bytes": 1', b'"num_bytes": 2', 1)
    place.write("commits/00000002.json", content)
    with pytest.raises(RemoteError, match="commits/00000002.json is damaged"):
        newest_commit(place)
    assert not (tmp_path / "x").exists()

"""The cache: bounded, checked, shared by processes; copies of what is at addresses."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from gcnet_tf.errors import UserError
from gcnet_tf.files.remote import cache
from gcnet_tf.files.remote.inputs import local_copy
from gcnet_tf.files.remote.store import Store

pytestmark = pytest.mark.filterwarnings("default")


def put(address, files):
    for name, text in files.items():
        Store(address, "x").write(name, text.encode())


def texts(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_text()
        for path in Path(folder).rglob("*")
        if path.is_file()
    }


def test_a_folder_and_an_object_are_copied_under_their_names(store):
    address, faulty = store
    put(address, {"set/a.txt": "a", "set/sub/b.txt": "b", "m.onnx": "m"})
    put(address, {"m.onnx.json": "{}"})
    copy = local_copy(f"{address}/set", "--image")
    assert Path(copy).name == "set" and texts(copy) == {"a.txt": "a", "sub/b.txt": "b"}
    model = Path(local_copy(f"{address}/m.onnx", "--model"))
    assert model.name == "m.onnx" and model.with_name("m.onnx.json").is_file()


def test_only_what_has_changed_is_fetched_again(store):
    address, faulty = store
    put(address, {f"set/{number}.txt": str(number) for number in range(6)})
    local_copy(f"{address}/set", "x")
    put(address, {"set/3.txt": "three", "set/9.txt": "nine"})
    faulty.reset()
    copy = local_copy(f"{address}/set", "x")
    assert texts(copy)["3.txt"] == "three" and texts(copy)["0.txt"] == "0"
    fetched = [path for method, path in faulty.requests if ".txt" in path]
    assert fetched and all("3.txt" in p or "9.txt" in p for p in fetched)


def made(text):
    return lambda path: path.write_text(text)


def add(key, size):
    with cache.entry(key, size, made("x" * size), lambda path: True) as path:
        assert path.stat().st_size == size


@pytest.fixture
def small_cache(tmp_path, monkeypatch):
    """A cache of 1000 bytes."""
    monkeypatch.setenv("GCNET_TF_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv(cache.SIZE_VARIABLE, "1e-6")
    return tmp_path / "cache" / "remote" / "entries"


def test_the_cache_never_grows_beyond_its_bound(small_cache):
    for number in range(20):
        add(f"e{number}", 300)
        present = [path.name for path in small_cache.iterdir()]
        assert sum(path.stat().st_size for path in small_cache.iterdir()) <= 1000
        assert f"e{number}" in present
    # Those that were used last are there.
    assert sorted(present) == ["e17", "e18", "e19"]


def test_what_was_used_lately_stays(small_cache):
    for key in ("a", "b", "c"):
        add(key, 300)
        os.utime(small_cache / key, (0, ord(key)))
    add("a", 300)
    add("d", 300)
    assert sorted(path.name for path in small_cache.iterdir()) == ["a", "c", "d"]


def test_what_is_read_stays_and_what_does_not_fit_is_told(small_cache, tmp_path):
    with cache.entry("a", 600, made("x" * 600), lambda path: True) as path:
        with pytest.raises(UserError, match="running processes read"):
            add("b", 600)
        os.link(path, tmp_path / "link")
    with pytest.raises(UserError, match="running processes read"):
        add("b", 600)
    (tmp_path / "link").unlink()
    add("b", 600)
    with pytest.raises(UserError, match="GCNET_TF_CACHE_GB"):
        add("c", 1001)
    assert [path.name for path in small_cache.iterdir()] == ["b"]


def test_a_changed_entry_is_made_again(small_cache):
    add("a", 100)
    (small_cache / "a").write_text("changed")

    def is_intact(path):
        return path.read_text() != "changed"

    with cache.entry("a", 100, made("new"), is_intact) as path:
        assert path.read_text() == "new"


def test_a_failed_entry_leaves_nothing(small_cache):
    def fail(path):
        path.write_text("half")
        raise UserError("no network")

    with pytest.raises(UserError, match="no network"):
        with cache.entry("a", 100, fail, lambda path: True):
            pass
    assert not list(small_cache.iterdir())
    assert not cache._sizes()


@pytest.mark.parametrize("text", ["0", "-1", "many", "inf"])
def test_a_bound_that_is_none(text, small_cache, monkeypatch):
    monkeypatch.setenv(cache.SIZE_VARIABLE, text)
    with pytest.raises(UserError, match="a number of GB above 0"):
        add("a", 1)


OTHER = """
import sys, time
from pathlib import Path
from gcnet_tf.files.remote import cache

def make(path):
    with open(sys.argv[1], "a") as log:
        log.write("made ")
    path.write_text("half")
    time.sleep(0.3)
    path.write_text("whole" * 60)

for number in range(5):
    with cache.entry(f"e{number}", 300, make, lambda path: True) as path:
        assert path.read_text() == "whole" * 60, path.read_text()
"""


def test_two_processes_make_an_entry_once_and_see_it_whole(small_cache, tmp_path):
    log = tmp_path / "log"
    processes = [
        subprocess.Popen([sys.executable, "-c", OTHER, str(log)]) for _ in range(3)
    ]
    assert [process.wait() for process in processes] == [0, 0, 0]
    # The bound of three entries holds; few were made more than once.
    assert 5 <= log.read_text().count("made") <= 15
    assert len(list(small_cache.iterdir())) <= 3


def test_a_killed_process_leaves_no_lock(small_cache, tmp_path):
    code = OTHER.replace("time.sleep(0.3)", "import os; os.kill(os.getpid(), 9)")
    log = tmp_path / "log"
    assert subprocess.run([sys.executable, "-c", code, str(log)]).returncode == -9
    with cache.entry("e0", 300, made("x" * 300), lambda path: True) as path:
        assert path.stat().st_size == 300
    for number in range(1, 6):
        add(f"n{number}", 300)
    assert len(list(small_cache.iterdir())) == 3

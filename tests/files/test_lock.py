import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time

import pytest

from gcnet_tf.errors import UserError
from gcnet_tf.files import lock
from gcnet_tf.files.lock import locked

DIES = """
import os, sys
from pathlib import Path
from gcnet_tf.files.lock import locked
with locked(Path(sys.argv[1])):
    os.kill(os.getpid(), 9)
"""


def edit(path, **values):
    """Changes entries of a lock file."""
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


@pytest.fixture
def left(tmp_path):
    """The lock file of a process that was killed, beside tmp_path / "run"."""
    process = subprocess.run([sys.executable, "-c", DIES, str(tmp_path / "run")])
    assert process.returncode == -signal.SIGKILL
    return tmp_path / "run.lock"


def test_a_second_owner_is_refused_and_told_of_the_first(tmp_path):
    run = tmp_path / "runs" / "run"
    with locked(run):
        process = f"process {os.getpid()} on {socket.gethostname()} since 20"
        with pytest.raises(UserError, match=f"{run} is being written by {process}"):
            with locked(run):
                raise AssertionError
        assert (tmp_path / "runs" / "run.lock").exists()
    assert not list((tmp_path / "runs").iterdir())
    with locked(run):
        pass


def test_a_killed_owner_is_replaced(left):
    with locked(left.with_suffix("")):
        assert json.loads(left.read_text())["pid"] == os.getpid()
    assert not list(left.parent.iterdir())


def test_an_owner_whose_process_id_was_used_again_is_replaced(left):
    edit(left, pid=os.getpid())
    with locked(left.with_suffix("")):
        pass


@pytest.mark.parametrize("machine", ["other", ""])
def test_an_owner_elsewhere_is_replaced_when_it_stays_silent(machine, left):
    edit(left, machine=machine, host="node7")
    with pytest.raises(UserError, match="on node7 since"):
        with locked(left.with_suffix("")):
            raise AssertionError
    os.utime(left, (time.time() - 150,) * 2)
    with locked(left.with_suffix("")):
        pass


def test_an_owner_gives_signs_of_life(tmp_path, monkeypatch):
    monkeypatch.setattr(lock, "_TOUCH_SECONDS", 0.01)
    with locked(tmp_path / "run"):
        file = tmp_path / "run.lock"
        os.utime(file, (0, 0))
        end = time.time() + 10
        while file.stat().st_mtime == 0 and time.time() < end:
            time.sleep(0.01)
        assert file.stat().st_mtime > 0


def test_a_lock_that_is_not_yet_written_counts(tmp_path):
    (tmp_path / "run.lock").touch()
    with pytest.raises(UserError, match="an unknown machine"):
        with locked(tmp_path / "run"):
            raise AssertionError


def test_an_owner_leaves_the_lock_of_its_successor(tmp_path):
    file = tmp_path / "run.lock"
    with locked(tmp_path / "run"):
        edit(file, token="of another")
    assert json.loads(file.read_text())["token"] == "of another"


def test_one_of_many_takes_a_stale_lock_over(left):
    outcomes, barrier, tried = [], threading.Barrier(8), threading.Barrier(8)

    def compete():
        barrier.wait()
        try:
            with locked(left.with_suffix("")):
                outcomes.append("owner")
                tried.wait()
        except UserError:
            outcomes.append("refused")
            tried.wait()

    threads = [threading.Thread(target=compete) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["owner"] + 7 * ["refused"]


def test_a_lock_of_another_is_never_removed(left):
    """Between finding a stale lock and removing it, another process may replace it."""
    stale = left.read_text()
    edit(left, token="of another")
    lock._remove(left, stale)
    assert json.loads(left.read_text())["token"] == "of another"
    # A process that holds the leave to remove keeps all others from it.
    leave = left.with_name("partial-run.lock")
    leave.mkdir()
    lock._remove(left, left.read_text())
    assert left.exists()
    with pytest.raises(UserError, match="is being written"):
        with locked(left.with_suffix("")):
            raise AssertionError
    # One that has died there does not.
    os.utime(leave, (0, 0))
    with locked(left.with_suffix("")):
        assert not leave.exists()


def test_a_folder_in_one_that_cannot_be_written_holds_its_lock(tmp_path, monkeypatch):
    """A mounted volume is one. Root may write everywhere, so that access is faked."""
    run = tmp_path / "run"
    run.mkdir()
    monkeypatch.setattr(lock.os, "access", lambda path, mode: path != tmp_path)
    with locked(run):
        assert [path.name for path in tmp_path.iterdir()] == ["run"]
        with pytest.raises(UserError, match="is being written"), locked(run):
            raise AssertionError
    assert not list(run.iterdir())

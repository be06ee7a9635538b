"""Files that the system cannot read: on a disk without file locks, or a bad one."""

import errno
import os
import shutil
import subprocess
import sys
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest

from gcnet_tf.errors import UserError
from gcnet_tf.files.reading import CannotRead
from gcnet_tf.training import checkpoints
from gcnet_tf.training.initial import _num_classes
from gcnet_tf.weights import files, keras_mobilenet
from gcnet_tf.weights.torch.file import read_torch_file

# A disk on which every lock fails, as NFS without its lock service.
NO_LOCKS = """
#include <errno.h>
int flock(int file, int operation) { errno = ENOLCK; return -1; }
"""
TRY = """
import sys
from pathlib import Path
from gcnet_tf.commands import cli
from gcnet_tf.weights.files import require_hdf5
cli.run(lambda: require_hdf5(Path(sys.argv[1])))
"""
FAILURES = (errno.ENOLCK, errno.EOPNOTSUPP, errno.EIO, errno.ESTALE, errno.EACCES)


@pytest.fixture(scope="module")
def without_locks(tmp_path_factory):
    """The environment of a process on a disk without locks."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("needs a C compiler")
    folder = tmp_path_factory.mktemp("locks")
    (folder / "locks.c").write_text(NO_LOCKS)
    library = str(folder / "locks.so")
    subprocess.run(
        [compiler, "-shared", "-fPIC", "-o", library, str(folder / "locks.c")],
        check=True,
    )
    return {**os.environ, "LD_PRELOAD": library}


def model_of(width: int = 2) -> keras.Model:
    # Keras 2.15 counts the layers that have no name of their own.
    layers = [keras.Input((3,)), keras.layers.Dense(width, name="dense")]
    return keras.Sequential(layers)


@pytest.fixture
def weights(tmp_path):
    files.save_weights(model_of(), tmp_path / "m.weights.h5")
    return tmp_path / "m.weights.h5"


def failing(code: int):
    def fail(*arguments, **options):
        raise OSError(code, os.strerror(code))

    return fail


@pytest.mark.parametrize("users", ["", "TRUE"])
def test_a_disk_without_file_locks(users, without_locks, tmp_path):
    environment = {k: v for k, v in without_locks.items() if k != files.LOCKING}
    if users:
        environment[files.LOCKING] = users
    result = subprocess.run(
        [sys.executable, "-c", TRY, str(tmp_path / "run")],
        env=environment,
        capture_output=True,
        text=True,
    )
    assert not list(tmp_path.iterdir())
    if not users:
        assert (result.returncode, result.stderr) == (0, "")
        return
    assert result.returncode == 2 and result.stderr.count("\n") == 1
    assert result.stderr.startswith(f"Error: Cannot write weights files in {tmp_path}")
    assert "start Python with the variable HDF5_USE_FILE_LOCKING=FALSE" in result.stderr


@pytest.mark.parametrize("code", FAILURES)
def test_weights_that_cannot_be_read_are_not_called_of_another_model(
    code, weights, monkeypatch
):
    for place in (
        "gcnet_tf.compat.load_weights",
        "gcnet_tf.weights.files.check_file",
        "gcnet_tf.weights.hdf5_file._check",
    ):
        with monkeypatch.context() as patch:
            patch.setattr(place, failing(code))
            with pytest.raises(CannotRead, match=os.strerror(code)) as error:
                files.load_weights(model_of(), weights)
        assert "fit" not in str(error.value) and "damaged" not in str(error.value)
    monkeypatch.setattr(h5py, "File", failing(code))
    with pytest.raises(CannotRead, match=os.strerror(code)):
        _num_classes(weights)


def test_damage_is_not_called_another_model_either(weights):
    """A file of another program has no checksum of ours."""
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(UserError, match="is damaged: .*truncated file"):
        files.load_weights(model_of(), weights)


def saved(run: Path, iteration: int) -> Path:
    model = model_of()
    optimizer = keras.optimizers.SGD()
    optimizer.build(model.trainable_weights)
    state = {"iteration": iteration}
    return checkpoints.save_checkpoint(
        run, model, checkpoints.read_values(model, optimizer), state, keep=3
    )


@pytest.mark.parametrize("name", ["state.json", "optimizer.npz", "model.weights.h5"])
def test_a_checkpoint_that_cannot_be_read_is_not_passed_over(
    name, tmp_path, monkeypatch
):
    """A run that went on from the older one would remove it."""
    saved(tmp_path, 1)
    newest = saved(tmp_path, 2)
    real = Path.open

    def open_file(path, *arguments, **options):
        if path == newest / name:
            failing(errno.EIO)()
        return real(path, *arguments, **options)

    monkeypatch.setattr(Path, "open", open_file)
    with pytest.raises(CannotRead, match=f"{name}: .*Input/output error"):
        files.newest_checkpoint(tmp_path)


def test_an_optimizer_that_cannot_be_read_is_not_to_be_deleted(tmp_path, monkeypatch):
    checkpoint = saved(tmp_path, 1)
    monkeypatch.setattr(np, "load", failing(errno.ESTALE))
    model, optimizer = model_of(), keras.optimizers.SGD()
    optimizer.build(model.trainable_weights)
    with pytest.raises(CannotRead, match="optimizer.npz: .*[Ss]tale") as error:
        checkpoints.restore_checkpoint(checkpoint, model, optimizer)
    assert "Delete" not in str(error.value)


def test_best_weights_that_cannot_be_read_are_not_replaced(tmp_path, monkeypatch):
    checkpoints.save_best(tmp_path, model_of(), {"mIoU": 0.9})
    before = (tmp_path / "best.weights.h5").read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr(files, "check_file", failing(errno.EIO))
        with pytest.raises(CannotRead, match="best.weights.h5"):
            checkpoints.save_best(tmp_path, model_of(), {"mIoU": 0.1})
    assert (tmp_path / "best.weights.h5").read_bytes() == before


def test_other_checkpoints_that_cannot_be_read(tmp_path, monkeypatch):
    file = tmp_path / "a.pth"
    file.write_bytes(b"PK\x03\x04")
    with monkeypatch.context() as patch:
        patch.setattr("gcnet_tf.weights.torch.file._read", failing(errno.EIO))
        with pytest.raises(CannotRead, match="a.pth: .*Input/output"):
            read_torch_file(file)
    h5 = tmp_path / "a.h5"
    h5py.File(h5, "w").close()
    for place in ("keras_mobilenet._network", "hdf5_file._check"):
        with monkeypatch.context() as patch:
            patch.setattr(f"gcnet_tf.weights.{place}", failing(errno.ENOLCK))
            with pytest.raises(CannotRead, match="a.h5: .*No locks"):
                keras_mobilenet._from_file("MobileNetV2", 1.0, h5)

"""Import and export of checkpoints by commands; a local server replaces the official.

There are many bad files here, because the steps before TensorFlow starts are quick to
test. The contents of checkpoints are tested in tests/weights.
"""

import hashlib
import json
import re
from pathlib import Path

import numpy as np
import pytest
from file_server import FileServer
from script_server import REPOSITORY
from weights.mmseg_states import drawn_state
from weights.torch_files import call, write_torch_file

from gcnet_tf.config import load_config
from gcnet_tf.errors import UserError
from gcnet_tf.models import build_model
from gcnet_tf.weights.export_mmseg import export_mmseg
from gcnet_tf.weights.files import load_weights, weight_shapes, weights_by_path
from gcnet_tf.weights.import_mmseg import import_weights
from gcnet_tf.weights.mmseg_names import reference_key, to_ours
from gcnet_tf.weights.torch.file import TorchFile

SMALL = {
    "model": {
        "backbone": {"base_channels": 4, "pretrained": None},
        "head": {"channels": 8},
        "auxiliary": {"channels": 8},
    },
}


@pytest.fixture(scope="module")
def state(tmp_path_factory):
    path = tmp_path_factory.mktemp("config") / "config.json"
    write_config(path)
    return drawn_state(weight_shapes(build_model(load_config(path))))


def write_config(path, url=None):
    base = str(REPOSITORY / "configs" / "voc_r50_20k.json")
    config = {"_base_": base, **SMALL, "published": {"checkpoint_url": url}}
    path.write_text(json.dumps(config))
    return path


def checkpoint_of(state, **meta):
    """Returns a checkpoint as mmsegmentation saves it."""
    return {
        "meta": {"mmseg_version": "0.5.0", "iter": 20000, **meta},
        "state_dict": state,
    }


def assert_holds(config, weights, state):
    model = build_model(load_config(config))
    load_weights(model, weights)
    for path, weight in weights_by_path(model).items():
        expected = to_ours(path, state[reference_key(path)])
        np.testing.assert_array_equal(weight.numpy(), expected, err_msg=path)


def test_a_full_disk_is_one_sentence(state, tmp_path, full_disk):
    config = load_config(write_config(tmp_path / "config.json"))
    file = TorchFile(state, {})
    before = sorted(tmp_path.iterdir())
    with full_disk(10_000):
        for out, write in (
            (
                tmp_path / "a.weights.h5",
                lambda out: import_weights(file, config, out, "x"),
            ),
            (tmp_path / "a.npz", lambda out: export_mmseg(build_model(config), out)),
        ):
            with pytest.raises(UserError, match=f"Cannot write {out}: File too large"):
                write(out)
    assert sorted(tmp_path.iterdir()) == before


def test_there_and_back(scripts, tmp_path, state):
    """The file has another hash than its name promises, and another class name."""
    config = write_config(tmp_path / "config.json")
    names = [*load_config(config).data.classes]
    checkpoint = write_torch_file(
        tmp_path / "model-01234567.pth",
        checkpoint_of(state, CLASSES=["sky", *names]),
        "legacy",
    )
    out = tmp_path / "new" / "folder" / "model.weights.h5"
    result = scripts.run(
        *("import_mmseg", "--cfg", config, "--checkpoint", checkpoint, "--out", out)
    )
    counters = sum(key.endswith("tracked") for key in state)
    assert f"{len(state) - counters} tensors, " in result.stdout
    assert f"dropped: {counters} (a counter of batches" in result.stdout
    assert "classes: 21" in result.stdout and f"Wrote {out}" in result.stdout
    assert "its name says 01234567" in result.stderr
    assert "calls class 0 'sky', not 'background'" in result.stderr
    assert_holds(config, out, state)
    assert [path.name for path in out.parent.iterdir()] == [out.name]

    model = ["--cfg", config, "--weights", out]
    result = scripts.run("export_mmseg", *model, "--out", tmp_path / "back.npz")
    assert f"Wrote {len(state) - counters} tensors" in result.stdout
    with np.load(tmp_path / "back.npz") as back:
        assert set(back.files) == {key for key in state if not key.endswith("tracked")}
        for key in back.files:
            np.testing.assert_array_equal(back[key], state[key], err_msg=key)
            assert back[key].dtype == state[key].dtype


@pytest.mark.slow
def test_download(scripts, tmp_path, state):
    """A file is refused for its hash, cut and resumed, and taken from the cache."""
    file = write_torch_file(tmp_path / "file", checkpoint_of(state)).read_bytes()
    digest = hashlib.sha256(file).hexdigest()[:8]
    good, bad = f"/gcnet-{digest}.pth", "/gcnet-01234567.pth"
    config, out = tmp_path / "config.json", tmp_path / "model.weights.h5"

    def download(*more, code=0):
        arguments = ["--cfg", config, "--download", "--out", out, *more]
        cache = {"GCNET_TF_CACHE": str(tmp_path / "cache")}
        return scripts.run("import_mmseg", *arguments, code=code, environment=cache)

    with FileServer({good: file, bad: file}) as server:
        write_config(config, server.url(bad))
        text = download(code=2).stderr
        assert "expected" in text and "01234567" in text and digest in text
        assert not out.exists()
        result = download("--allow-hash-mismatch")
        assert "Warning: " in result.stderr and "01234567" in result.stderr
        assert_holds(config, out, state)
        out.unlink()

        write_config(config, server.url(good))
        server.cut_after, server.cuts = len(file) // 2, 1
        before = len(server.requests)
        download()
        assert [byte_range for _, byte_range in server.requests[before:]] == [
            None,
            f"bytes={len(file) // 2}-",
        ]
        assert_holds(config, out, state)
    # The server is gone, but the cache has the file.
    out.unlink()
    download()
    assert_holds(config, out, state)


@pytest.mark.parametrize(
    "write, words",
    [
        (lambda path: path, "There is no file"),
        (lambda path: path.write_bytes(b"<html>404</html>"), "a web page"),
        (lambda path: cut(write_torch_file(path, {"a": np.ones(99)})), "cut off"),
        (
            lambda path: cut(write_torch_file(path, {"a": np.ones(99)}, "legacy")),
            "cut off",
        ),
        (
            lambda path: write_torch_file(
                path, {"a": call("posix system", f"touch {path}.hostile")}
            ),
            "posix.system.*nothing in it was run",
        ),
        (lambda path: write_torch_file(path, {"a": np.ones(3)}), "not a segmentation"),
    ],
)
def test_broken_and_hostile_files(write, words, scripts, tmp_path):
    path = tmp_path / "FILE.pth"
    write(path)
    config = write_config(tmp_path / "config.json")
    out = tmp_path / "out.weights.h5"
    text = scripts.run(
        *("import_mmseg", "--cfg", config, "--checkpoint", path, "--out", out), code=2
    ).stderr
    assert text.startswith("Error: ") and text.count("\n") == 1
    assert re.search(words, text)
    assert not out.exists() and not Path(f"{path}.hostile").exists()


def cut(path):
    path.write_bytes(path.read_bytes()[:-300])


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["--checkpoint", "x.pth", "--out", "{}/weights.npz"], "*.weights.h5"),
        (["--download", "--out", "{}/a.weights.h5"], "no published.checkpoint_url"),
        (
            ["--checkpoint", "x.pth", "--out", "{}/config.json/a.weights.h5"],
            "Not a directory",
        ),
    ],
)
def test_bad_arguments(arguments, words, scripts, tmp_path):
    config = write_config(tmp_path / "config.json")
    arguments = [text.format(tmp_path) for text in arguments]
    text = scripts.run("import_mmseg", "--cfg", config, *arguments, code=2).stderr
    assert words in text

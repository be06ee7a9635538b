"""MLflow and Weights & Biases, each with its own local store, without any network."""

import io
import json
import struct
import time
import warnings
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from helpers import call_script
from PIL import Image
from training.runs import records

from gcnet_tf import UserError
from gcnet_tf.config import config_to_dict
from gcnet_tf.models import build_model
from gcnet_tf.training import train
from gcnet_tf.training.monitor.run_folder import open_run
from gcnet_tf.training.trackers import TRACKERS
from gcnet_tf.training.trackers.mlflow_tracker import _name
from gcnet_tf.training.trackers.shown import ShownSoFar
from gcnet_tf.weights.files import BEST_WEIGHTS, save_weights

pytestmark = [
    pytest.mark.usefixtures("toy_network"),
    # What the packages do among themselves.
    pytest.mark.filterwarnings("ignore:::(mlflow|alembic|sqlalchemy|wandb|pydantic)"),
]


class MLflowStore:
    """A database of MLflow in the working folder."""

    def __init__(self):
        self.client = pytest.importorskip("mlflow.tracking").MlflowClient()

    def runs(self):
        (experiment,) = [
            e for e in self.client.search_experiments() if e.name != "Default"
        ]
        assert experiment.name == "gcnet_tf"
        return self.client.search_runs([experiment.experiment_id])

    def read(self):
        """Returns name, settings, values by tag as (step, value), pictures, files."""
        (run,) = self.runs()
        run_id = run.info.run_id
        values = {
            tag: [
                (m.step, m.value) for m in self.client.get_metric_history(run_id, tag)
            ]
            for tag in run.data.metrics
        }
        assert run.info.status == "FINISHED"
        root = self._root(run)
        files = [p for p in root.rglob("*") if p.is_file()]
        pictures = {
            (p.name.split("+")[0].replace("~", "/"), int(p.name.split("+")[2])): p
            for p in files
            if p.parent.name == "images" and p.suffix == ".png"
        }
        pictures = {key: np.asarray(Image.open(p)) for key, p in pictures.items()}
        others = {
            p.relative_to(root).as_posix(): p.read_bytes()
            for p in files
            if "images" not in p.parts
        }
        return run.info.run_name, run.data.params, values, pictures, others

    def _root(self, run):
        return Path(run.info.artifact_uri.removeprefix("file://"))


class WandBStore:
    """Folders of W&B in the run folder, which `wandb sync` would send."""

    def __init__(self):
        pytest.importorskip("wandb")

    def read(self):
        values, pictures, files, settings = {}, {}, {}, {}
        names, keys = set(), set()
        for log in sorted(Path("run").glob("wandb/offline-run-*/run-*.wandb")):
            folder = log.parent
            for record in finished_records(log):
                kind = record.WhichOneof("record_type")
                if kind == "run":
                    names.add(record.run.display_name)
                    keys.add(record.run.run_id)
                if kind in ("run", "config"):
                    config = record.run.config if kind == "run" else record.config
                    for item in config.update:
                        key = item.key or ".".join(item.nested_key)
                        settings[key] = json.loads(item.value_json)
                if kind == "history":
                    row = {
                        tuple(item.nested_key): json.loads(item.value_json)
                        for item in record.history.item
                    }
                    step = row.pop(("iteration",))
                    for (tag, *inner), value in row.items():
                        if inner == ["path"]:
                            picture = Image.open(folder / "files" / value)
                            pictures[tag, step] = np.asarray(picture)
                        elif not inner and not tag.startswith("_"):
                            values.setdefault(tag, []).append((step, value))
                if kind == "artifact":
                    for entry in record.artifact.manifest.contents:
                        name = f"{record.artifact.name.split('-')[0]}/{entry.path}"
                        files[name] = Path(entry.local_path).read_bytes()
        assert len(names) == len(keys) == 1
        settings = {key: str(value) for key, value in settings.items()}
        return names.pop(), settings, values, pictures, files


def finished_records(path):
    """Reads W&B's log once its own process, which may be late, has written the end."""
    from google.protobuf.message import DecodeError

    for _ in range(600):
        with suppress(DecodeError):
            records = list(wandb_records(path))
            if any(record.WhichOneof("record_type") == "exit" for record in records):
                return records
        time.sleep(0.1)
    raise AssertionError(f"{path} has no end")


def wandb_records(path):
    """Reads W&B's own log: records in blocks of 32 KiB, as LevelDB writes them."""
    from wandb.proto.wandb_internal_pb2 import Record

    content = path.read_bytes()
    assert content.startswith(b":W&B")
    place, parts = 7, b""
    while place + 7 <= len(content):
        left = 2**15 - place % 2**15
        if left < 7:
            place += left
            continue
        _, length, kind = struct.unpack_from("<IHB", content, place)
        parts += content[place + 7 : place + 7 + length]
        place += 7 + length
        if kind in (1, 4):  # a whole record, or the last part of one
            yield Record.FromString(parts)
            parts = b""


@pytest.fixture(params=["MLflow", "WandB"])
def tracker(request, tmp_path, monkeypatch):
    """The name of a tracker, and its store."""
    monkeypatch.chdir(tmp_path)
    # MLflow keeps a store by this text: a relative path would be that of another test.
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_DATA_DIR", str(tmp_path / "data"))
    return request.param, {"MLflow": MLflowStore, "WandB": WandBStore}[request.param]()


def expected_values(run):
    """Returns the values in metrics.jsonl by TensorBoard's tags."""
    values = {}
    for row in records(run, "train"):
        for name in ("loss", "decode_loss", "auxiliary_loss", "learning_rate"):
            values.setdefault(f"train/{name}", []).append((row["iteration"], row[name]))
    for row in records(run, "val"):
        for name in ("mIoU", "mAcc", "aAcc"):
            values.setdefault(f"val/{name}", []).append((row["iteration"], row[name]))
    return values


def assert_equal_values(values, run):
    for tag, pairs in expected_values(run).items():
        assert [step for step, _ in values[tag]] == [step for step, _ in pairs], tag
        np.testing.assert_allclose(
            [value for _, value in values[tag]], [v for _, v in pairs], rtol=1e-6
        )
    assert any(tag.startswith("val_IoU/") for tag in values)


def config_of(tiny_config, name, *overrides):
    return tiny_config("train.iterations=4", f"train.callbacks={name}", *overrides)


def test_all_of_a_run_is_there_and_a_longer_one_goes_on(tracker, tiny_config, tmp_path):
    name, store = tracker
    run = tmp_path / "run"
    config = config_of(tiny_config, name)
    train(config, run)
    run_name, settings, values, pictures, files = store.read()
    assert run_name == "run"
    assert settings["train.batch_size"] == "2"
    assert settings["data.dataset"] == "shapes"
    assert settings["versions.gcnet_tf"]
    assert_equal_values(values, run)
    assert sorted(pictures) == [
        (f"val/image_truth_prediction_{index}", step)
        for index in range(2)
        for step in (2, 4)
    ]
    shown = {
        (item.tag, item.step): np.asarray(Image.open(io.BytesIO(item.value)))
        for item in ShownSoFar(run / "logs").read()
        if isinstance(item.value, bytes)
    }
    for key, picture in pictures.items():
        np.testing.assert_array_equal(picture, shown[key])
    best = (run / "best.weights.h5").read_bytes()
    assert files["run/best.weights.h5"] == best
    assert json.loads(files["run/config.json"])["train"]["batch_size"] == 2
    assert {"run/best.json", "run/versions.json", "run/train.log"} <= files.keys()

    longer = config_of(tiny_config, name, "train.iterations=6")
    train(longer, run, resume=True)
    _, settings, values, pictures, _ = store.read()
    assert_equal_values(values, run)
    assert [step for step, _ in values["train/loss"]] == [1, 2, 3, 4, 5, 6]
    assert len(pictures) == 6


def test_a_tracker_that_comes_later_gets_the_whole_run(tracker, tiny_config, tmp_path):
    name, store = tracker
    train(tiny_config("train.iterations=4"), tmp_path / "run")
    train(
        config_of(tiny_config, name, "train.iterations=6"),
        tmp_path / "run",
        resume=True,
    )
    _, _, values, pictures, _ = store.read()
    assert_equal_values(values, tmp_path / "run")
    assert len(pictures) == 6


def test_a_tracker_that_fails_does_not_end_the_training(
    tracker, tiny_config, tmp_path, monkeypatch
):
    name, store = tracker
    send, calls = TRACKERS[name].send, []

    def fail_twice(self, shown):
        calls.append(len(shown))
        if len(calls) <= 2:
            raise ConnectionError("the server is away")
        send(self, shown)

    monkeypatch.setattr(TRACKERS[name], "send", fail_twice)
    # Not pytest.warns, which would show the warnings that setup.cfg ignores.
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        train(config_of(tiny_config, name), tmp_path / "run")
    texts = [str(warning.message) for warning in caught]
    assert sum("server is away. The training goes on" in text for text in texts) == 1
    assert len(calls) > 2
    assert_equal_values(store.read()[2], tmp_path / "run")


def test_names_that_mlflow_refuses_are_changed():
    assert _name("val_IoU/a & b (c)/路: d-e.f") == "val_IoU/a _ b _c_/路: d-e.f"


def test_a_tracker_that_cannot_be_reached_is_one_sentence(
    tiny_config, tmp_path, monkeypatch
):
    pytest.importorskip("mlflow")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:////proc/none/mlflow.db")
    with pytest.raises(UserError, match="MLflow cannot be reached: ") as error:
        train(config_of(tiny_config, "MLflow"), tmp_path / "run")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["MLflow", "WandB"])
def test_a_missing_package_is_one_sentence(name, tiny_config, tmp_path, monkeypatch):
    monkeypatch.setattr(
        "gcnet_tf.training.trackers.tracker.find_spec", lambda module: None
    )
    with pytest.raises(UserError, match=rf"{name} needs .*gcnet_tf\[{name.lower()}\]"):
        train(config_of(tiny_config, name), tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("tracker", ["MLflow"], indirect=True)
def test_arguments_go_to_the_tracker(tracker, tiny_config, tmp_path):
    named = [{"class_name": "MLflow", "config": {"experiment": "others"}}]
    config = tiny_config("train.iterations=2", f"train.callbacks={json.dumps(named)}")
    assert config_to_dict(config)["train"]["callbacks"] == named
    train(config, tmp_path / "run")
    client = tracker[1].client
    assert client.get_experiment_by_name("others") is not None
    assert client.get_experiment_by_name("gcnet_tf") is None


@pytest.mark.usefixtures("shallow")
def test_exported_files_go_to_the_run(tracker, tiny_config, tmp_path):
    name, store = tracker
    run, out = tmp_path / "run", tmp_path / "out"
    config = config_of(tiny_config, name)
    open_run(run, config)
    save_weights(build_model(config), run / BEST_WEIGHTS)
    arguments = ("--model", run, "--out", out, "--format", "onnx", "--samples", 0)
    with pytest.raises(UserError, match="No tracker has followed the training of"):
        call_script("export", *arguments, "--track")
    assert not out.exists()
    before = TRACKERS[name]()
    before.attach(run)
    before.end()
    call_script("export", *arguments, "--track")
    _, settings, _, _, files = store.read()
    assert settings["model.head.channels"] == "8"
    for file in ("model_fp32.onnx", "model_fp32.onnx.json"):
        assert files[f"export/{file}"] == (out / file).read_bytes()
    page = tmp_path / "page.html"
    call_script("report", "--model", run, "--out", page, "--track")
    *_, files = store.read()
    assert files["report/page.html"] == page.read_bytes()

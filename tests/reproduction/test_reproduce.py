"""The published table again, on miniature data whose truth the reference computed."""

import hashlib
import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
from archives import folder_files, tar_bytes
from drawn_rows import ROWS, settings, true_miou, write_checkpoint, write_data
from file_server import FileServer

from gcnet_tf.commands import cli
from gcnet_tf.config import load_config
from gcnet_tf.data.sources import official
from gcnet_tf.errors import UserError
from reproduction.rows import CHECKPOINT_BYTES

main = cli.load_main("reproduce")
VOC, *OTHERS = ROWS
# In percent: the smallest class of a miniature set has some twenty pixels.
CLOSE = 0.02


@pytest.fixture(scope="module")
def voc(tmp_path_factory):
    """The checkpoint and the images of one row."""
    folder = tmp_path_factory.mktemp("voc")
    return write_checkpoint(VOC, folder), write_data(VOC, folder / "VOC2012")


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GCNET_TF_CACHE", str(tmp_path / "cache"))
    return tmp_path


def table(folder: Path = Path("runs/reproduce")) -> list[dict]:
    return json.loads((folder / "table.json").read_text(encoding="utf-8"))


def published(row: str) -> list[str]:
    return [
        f"published.miou={true_miou(row, 'single'):.2f}",
        f"published.miou_ms_flip={true_miou(row, 'ms_flip'):.2f}",
    ]


@pytest.mark.slow
@pytest.mark.parametrize("row", ROWS)
def test_both_columns_are_those_of_the_reference(row, here, capsys):
    checkpoint = write_checkpoint(row, here)
    root = write_data(row, here / "source")
    changes = settings(row, root, here / "records") + published(row)
    arguments = [f"{row}={checkpoint}", "--no-speed", "--set", *changes]
    assert main(arguments) == 0
    (result,) = table()
    assert result["mIoU"] == pytest.approx(true_miou(row, "single"), abs=CLOSE)
    assert result["mIoU_ms_flip"] == pytest.approx(true_miou(row, "ms_flip"), abs=CLOSE)
    assert result["difference"] == {"miou": 0.0, "miou_ms_flip": 0.0}
    output = capsys.readouterr().out
    assert f"| `{row}` |" in output and "+0.00" in output
    assert "h on" in output


def test_a_row_that_is_off_ends_with_1(here, voc, capsys):
    checkpoint, root = voc
    changes = [*settings(VOC, root, here / "records"), "published.miou=76.42"]
    arguments = [f"{VOC}={checkpoint}", "--no-speed", "--no-ms-flip", "--set", *changes]
    assert main(arguments) == 1
    difference = round(true_miou(VOC, "single"), 2) - 76.42
    assert f"{difference:+.2f}" in capsys.readouterr().out


@pytest.mark.slow
def test_what_is_missing_is_fetched(here, voc, monkeypatch, capsys):
    checkpoint, source = voc
    archive = tar_bytes(folder_files(source, "VOCdevkit/VOC2012"))
    with FileServer(
        {f"/{checkpoint.name}": checkpoint.read_bytes(), "/voc.tar": archive}
    ) as server:
        from_server = replace(
            official.ARCHIVES["voc12aug"][0],
            url=server.url("/voc.tar"),
            num_bytes=len(archive),
            digest=f"sha256:{hashlib.sha256(archive).hexdigest()}",
        )
        sbd = official.ARCHIVES["voc12aug"][1]
        monkeypatch.setitem(official.ARCHIVES, "voc12aug", (from_server, sbd))
        address = server.url(f"/{checkpoint.name}")
        changes = [
            *settings(VOC, here / "data" / "VOC2012", here / "records"),
            *published(VOC),
            f"published.checkpoint_url={address}",
        ]
        arguments = [VOC, "--no-speed", "--no-ms-flip", "--set", *changes]

        assert main([*arguments, "--dry-run"]) == 0
        assert "lacks the checkpoint, 0.2 GB; the images of" in capsys.readouterr().out
        with pytest.raises(UserError, match="No row can be computed yet") as error:
            main(arguments)
        assert address in str(error.value) and "make_tfrecords" in str(error.value)
        assert not server.requests

        assert main([*arguments, "--download"]) == 0
        # The validation set needs no masks of SBD.
        assert {path for path, _ in server.requests} == {
            f"/{checkpoint.name}",
            "/voc.tar",
        }
    assert table()[0]["mIoU"] == pytest.approx(true_miou(VOC, "single"), abs=CLOSE)


def test_a_second_call_goes_on(here, voc, monkeypatch):
    from reproduction import progress

    checkpoint, root = voc
    changes = [*settings(VOC, root, here / "records"), *published(VOC)]
    arguments = [f"{VOC}={checkpoint}", "--no-speed", "--no-ms-flip", "--set", *changes]
    monkeypatch.setattr(progress, "PART", 1)
    original, calls = progress.evaluate, []

    def interrupted(*args, **kwargs):
        if len(calls) == 1:
            raise KeyboardInterrupt
        calls.append(kwargs["group"].share)
        return original(*args, **kwargs)

    monkeypatch.setattr(progress, "evaluate", interrupted)
    with pytest.raises(KeyboardInterrupt):
        main(arguments)

    def counted(*args, **kwargs):
        calls.append(kwargs["group"].share)
        return original(*args, **kwargs)

    monkeypatch.setattr(progress, "evaluate", counted)
    assert main(arguments) == 0
    assert [share.index for share in calls] == [0, 1, 2]
    assert table()[0]["mIoU"] == pytest.approx(true_miou(VOC, "single"), abs=CLOSE)
    # All is known: nothing is computed, but for other settings.
    assert main(arguments) == 0 and len(calls) == 3
    assert main([*arguments, "evaluation.scale=[64,64]"]) == 1 and len(calls) == 6


def test_a_row_that_fails_leaves_the_others(here, voc, capsys):
    checkpoint, root = voc
    (here / "bad.pth").write_bytes(b"no checkpoint")
    changes = [*settings(VOC, root, here / "records"), *published(VOC)]
    rows = ["voc_r50_40k=bad.pth", f"{VOC}={checkpoint}"]
    assert main([*rows, "--no-speed", "--no-ms-flip", "--set", *changes]) == 2
    failed, done = table()
    assert failed["mIoU"] is None and "bad.pth" in failed["lacks"][0]
    assert done["mIoU"] == pytest.approx(true_miou(VOC, "single"), abs=CLOSE)


@pytest.mark.parametrize("depth", CHECKPOINT_BYTES)
def test_the_size_of_a_checkpoint_is_that_of_its_tensors(depth):
    from gcnet_tf.models import build_model
    from gcnet_tf.weights.files import weight_shapes

    shapes = weight_shapes(build_model(load_config(f"voc_r{depth}_20k"))).values()
    num_bytes = 4 * sum(math.prod(shape) for shape in shapes)
    assert CHECKPOINT_BYTES[depth] == pytest.approx(num_bytes, rel=0.01)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["voc_r50"], "voc_r50 is no published row; allowed: ade20k_r50_80k, "),
        ([VOC, VOC], f"{VOC} is named twice"),
        ([f"{VOC}=none.pth"], f"{VOC}=none.pth: there is no such file"),
        ([VOC, "--logs", "x.json"], "Cannot read the log"),
        ([*ROWS, "--logs", "x.json"], "--logs: received with 3 rows"),
    ],
)
def test_mistakes_get_a_sentence(here, arguments, sentence):
    run = here / "runs" / VOC
    run.mkdir(parents=True)
    line = json.dumps({"kind": "train", "iteration": 1, "loss": 1.0})
    (run / "metrics.jsonl").write_text(line)
    with pytest.raises(UserError, match=sentence):
        main(arguments)


def test_memory_and_fps_are_measured_once(here, voc, monkeypatch):
    from benchmarks.table import rows as table_rows
    from reproduction import speed

    measured = []

    def measure_row(config, images):
        measured.append(config.train.iterations)
        return table_rows.Cost(5.9, 12.5, 49_000_000)

    device = table_rows.Device("a GPU", True, 1e12, "")
    monkeypatch.setattr(speed, "device", lambda: device)
    monkeypatch.setattr(table_rows, "device", lambda: device)
    monkeypatch.setitem(main.__globals__, "device", lambda: device)
    monkeypatch.setattr(speed, "measure_row", measure_row)
    checkpoint, root = voc
    changes = [*settings(VOC, root, here / "records"), *published(VOC)]
    # Rows that differ in their schedule alone are one network.
    rows = [f"{VOC}={checkpoint}", f"voc_r50_40k={checkpoint}"]
    for _ in range(2):
        assert main([*rows, "--no-ms-flip", "--set", *changes]) == 0
    assert len(measured) == 1
    assert [(row["memory_gb"], row["fps"]) for row in table()] == [(5.9, 12.5)] * 2
    text = Path("runs/reproduce/table.md").read_text(encoding="utf-8")
    assert "of a GPU" in text and "| 5.9 (5.8) | 12.50 (23.35) |" in text

"""The rows of `benchmark.py table` and their worker; speed itself is not tested."""

import json

import benchmark
import pytest

from benchmarks.table import command, rows, worker
from gcnet_tf.config import config_to_dict
from gcnet_tf.errors import UserError

GPU = rows.Device("a GPU", True, 1e13, "")


def test_by_default_the_16_rows_of_gcnet():
    chosen = rows.published_rows()
    assert len(chosen) == 16 and "voc_r50_20k_nl" not in chosen
    # 40,000 and 80,000 iterations are the same network.
    assert len(set(map(rows.network_and_protocol, chosen.values()))) == 8
    assert {name: rows.batch_of(row) for name, row in chosen.items()} == {
        name: 2 if name.startswith("cityscapes") else 4 for name in chosen
    }


def test_a_wrong_row_is_told_in_a_sentence():
    with pytest.raises(UserError, match="received voc_r18_20k; allowed: .*voc_r50_20k"):
        rows.published_rows(["voc_r50_20k", "voc_r18_20k"])


def test_too_few_images_are_refused():
    with pytest.raises(UserError, match="--images: received 5; it is above 5"):
        benchmark.main(["table", "--images", "5"])


def test_the_estimate_counts_multiply_adds(monkeypatch):
    monkeypatch.setattr(rows, "device", lambda: GPU)
    whole, slide = rows.published_rows(
        ["cityscapes_r50_512x1024_40k", "cityscapes_r50_769x769_40k"]
    ).values()
    for row, image in ((whole, 1580.8e9), (slide, 8 * 453.75e9)):  # parity_spec.md
        more = rows.seconds_of(row, 110) - rows.seconds_of(row, 10)
        assert more == pytest.approx(100 * image / 1e13, rel=0.03)


def test_networks_are_measured_once_and_failures_told(monkeypatch, capsys):
    asked = []

    def ask(kind, *words):
        asked.append((kind, words[-1]))
        if kind == "memory" and words[-1] == 2:
            raise UserError("memory: the memory does not hold a batch of 2")
        return {"memory": {"memory": 3 * 2**30}, "speed": {"fps": 7.0}}[kind] | (
            {"parameters": 49_600_000} if kind == "speed" else {}
        )

    monkeypatch.setattr(rows, "_ask", ask)
    monkeypatch.setattr(rows, "device", lambda: GPU._replace(is_gpu=False))
    names = ["voc_r50_20k", "voc_r50_40k", "cityscapes_r50_512x1024_40k"]
    benchmark.main(["table", "--rows", *names, "--images", "9"])
    assert asked == [("memory", 4), ("speed", 9), ("memory", 2), ("speed", 9)]
    text = capsys.readouterr().out
    cells = {line.split()[0]: line.split()[1:] for line in text.splitlines() if line}
    assert cells["voc_r50_20k"] == ["3.0", "5.8", "7.00", "23.35", "49.6"]
    assert cells["voc_r50_40k"] == ["3.0", "-", "7.00", "-", "49.6"]
    assert cells[names[2]] == ["-", "5.8", "7.00", "3.93", "49.6"]
    assert "about 0:0" in text and "This is not a GPU" in text
    assert f"{names[2]}: memory: the memory does not hold a batch of 2" in text


def test_the_worker_trains_and_predicts(tiny_config, tmp_path, monkeypatch):
    config = tiny_config()
    file = tmp_path / "config.json"
    file.write_text(json.dumps(config_to_dict(config)))
    monkeypatch.setitem(rows.IMAGE_SIZES, config.data.dataset, (24, 40))
    speed = worker.speed(str(file), 8)
    assert speed["fps"] > 0 and speed["parameters"] == 52_165
    assert worker.memory(str(file), 2)["memory"] > 10**8
    assert command._cells("row", config, rows.Cost(None, 1.0, 10**6))[1:] == (
        *("-", "-", "1.00", "-", "1.0"),
    )

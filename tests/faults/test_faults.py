"""A little of each part of `make faults`; odd images have a file of their own."""

import pytest
from corruption import flip_everywhere
from fuzz import fuzz
from kills import Line, compare_runs, logged
from memory import growth_after, measured
from tiny import make_images, tiny_run
from victims import Moment

pytestmark = pytest.mark.slow


def test_a_stopped_and_a_killed_run_ends_as_an_uninterrupted_one(scripts, tmp_path):
    """SIGTERM first, then kill -9 while a checkpoint is written."""
    whole = Line(scripts, tmp_path / "whole", make_images(tmp_path / "images"))
    whole.finish("conversion")
    whole.finish("training")
    other = Line(scripts, tmp_path / "other", whole.images)
    other.records = whole.records

    stopped = other.do("training", kill=Moment("metrics.jsonl", 2), number=15)
    assert stopped.code == 143, stopped.output
    assert "a checkpoint is saved. To go on:" in stopped.output
    assert 0 < len(logged(other.run)) < len(logged(whole.run))

    writing = Moment("checkpoints/partial-00000006/", 3)
    assert other.do("training", kill=writing).code == -9
    assert (other.run / "checkpoints" / "partial-00000006").is_dir()
    other.finish("training")
    assert compare_runs(other.run, whole.run) == ""
    assert not list(other.run.glob("**/partial-*"))


def test_a_flipped_bit_is_noticed_or_harmless(tmp_path):
    found = flip_everywhere(*tiny_run(tmp_path), places=5, seed=0)
    assert len(found) == 5
    for kind, counts in found.items():
        assert counts.total() == 5 and not counts["used"], kind
        assert counts["noticed"], kind


def test_a_changed_configuration_is_valid_or_refused(tmp_path):
    counts = fuzz(tmp_path, number=100, seed=0)
    assert counts["valid"] and counts["refused"]
    assert counts.total() >= 100


def test_another_error_than_a_sentence_is_not_let_through(tmp_path, monkeypatch):
    def broken(path):
        raise KeyError("a traceback")

    monkeypatch.setattr("fuzz.load_config", broken)
    with pytest.raises(KeyError):
        fuzz(tmp_path, number=5, seed=0)


def test_memory_stays_flat():
    """With an evaluation and a checkpoint every 20 iterations."""
    memory = {int(k): v for k, v in measured("training", 200, 40).items()}
    assert len(memory) == 10
    assert growth_after(memory, 40) < 10


def test_a_leak_would_be_seen():
    leaking = {iteration: 700 + 0.2 * iteration for iteration in range(20, 220, 20)}
    assert growth_after(leaking, 40) > 10

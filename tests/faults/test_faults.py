"""Short versions of the parts of `make faults`; odd images have their own file."""

import pytest
from corruption import flip_everywhere
from fuzz import fuzz
from kills import Line, compare_runs, logged
from memory import growth_after, measured
from tiny import make_images, tiny_run
from victims import Moment

pytestmark = pytest.mark.slow


def test_a_stopped_and_a_killed_run_ends_as_an_uninterrupted_one(scripts, tmp_path):
    """Sends SIGTERM first, and kill -9 later, while a checkpoint is written."""
    whole = Line(scripts, tmp_path / "whole", make_images(tmp_path / "images"))
    whole.finish("conversion")
    whole.finish("training")
    other = Line(scripts, tmp_path / "other", whole.images)
    other.records = whole.records

    stopped = other.do("training", kill=Moment("metrics.jsonl", 2), signal_number=15)
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
    counts_by_kind = flip_everywhere(*tiny_run(tmp_path), num_flips=5, seed=0)
    assert len(counts_by_kind) == 5
    for kind, counts in counts_by_kind.items():
        assert counts.total() == 5 and not counts["used"], kind
        assert counts["noticed"], kind


def test_a_changed_configuration_is_valid_or_refused(tmp_path):
    counts = fuzz(tmp_path, num_configurations=100, seed=0)
    assert counts["valid"] and counts["refused"]
    assert counts.total() >= 100


def test_fuzzing_raises_errors_that_are_no_sentence(tmp_path, monkeypatch):
    def broken(path):
        raise KeyError("a traceback")

    monkeypatch.setattr("fuzz.load_config", broken)
    with pytest.raises(KeyError):
        fuzz(tmp_path, num_configurations=5, seed=0)


def test_memory_stays_flat():
    """Trains with an evaluation and a checkpoint every 20 iterations."""
    memory = {int(k): v for k, v in measured("training", 200, 40).items()}
    assert len(memory) == 10
    assert growth_after(memory, 40) < 10


def test_a_leak_counts_as_growth():
    leaking = {iteration: 700 + 0.2 * iteration for iteration in range(20, 220, 20)}
    assert growth_after(leaking, 40) > 10

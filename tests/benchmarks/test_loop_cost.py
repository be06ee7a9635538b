"""The turns of `benchmark.py loop`; the speed itself is not tested."""

import pytest

from benchmarks.loop import windows


@pytest.mark.slow
@pytest.mark.usefixtures("shallow")
def test_bare_steps_are_taken_between_windows_of_the_loop(tmp_path, monkeypatch):
    taken = []

    def bare_steps(config):
        run = make(config)
        return lambda iterations: taken.append((iterations, run(iterations)))

    make = windows.bare_steps
    monkeypatch.setattr(windows, "bare_steps", bare_steps)
    measured = windows.measure(2, 3, tmp_path)
    assert len(measured) == 2
    assert all(window.bare > 0 and window.loop > 0 for window in measured)
    assert [iterations for iterations, _ in taken] == [3] * 4
    assert taken[-1][1] != taken[0][1]

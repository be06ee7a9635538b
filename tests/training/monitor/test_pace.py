"""The time left: future steps and evaluations, without the step that compiles."""

import pytest

from gcnet_tf.training.monitor.pace import Pace


def test_the_first_step_does_not_count():
    pace = Pace(100, 0, 50)
    assert pace.seconds_left(0) is None
    assert not pace.step(30.0)
    assert pace.seconds_left(1) is None
    assert pace.step(2.0)
    assert pace.seconds_left(2) == pytest.approx(98 * 2.0)


def test_future_evaluations_take_as_long_as_the_last_one():
    pace = Pace(100, 0, 30)  # at 30, 60, 90 and at the end
    pace.step(9.0)
    for _ in range(29):
        pace.step(1.0)
    pace.evaluation(10.0)
    assert pace.seconds_left(30) == pytest.approx(70 + 3 * 10)
    for _ in range(3):
        pace.evaluation(5.0)
    assert pace.seconds_left(100) == 0


def test_a_resumed_run_has_fewer_evaluations_left():
    pace = Pace(100, 50, 50)
    pace.step(9.0)
    pace.step(1.0)
    pace.evaluation(7.0)
    assert pace.seconds_left(52) == pytest.approx(48)


def test_the_pace_follows_a_machine_that_becomes_slower():
    pace = Pace(1000, 0, 1000)
    for _ in range(200):
        pace.step(1.0)
    for _ in range(50):
        pace.step(3.0)
    assert pace.seconds_left(250) == pytest.approx(750 * 3)


def test_one_slow_step_changes_nothing():
    pace = Pace(100, 0, 100)
    for seconds in (9.0, 1.0, 1.0, 60.0):
        pace.step(seconds)
    assert pace.seconds_left(4) == pytest.approx(96)

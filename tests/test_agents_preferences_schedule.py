"""Label schedules against the closed forms of the paper."""

import pytest

from agents.preferences.schedule import LabelSchedule


def test_mujoco_rates_of_the_paper() -> None:
    schedule = LabelSchedule(700, 10_000_000, "paper")
    assert schedule.due(0) == 175
    for step, share in ((1_000_000, 0.23), (2_000_000, 0.39), (5_000_000, 0.70)):
        assert (schedule.due(step) - 175) / 525 == pytest.approx(share, abs=0.006)
    assert schedule.due(10_000_000) == 700


def test_atari_rates_of_the_paper() -> None:
    schedule = LabelSchedule(5500, 50_000_000, "paper", initial_share=500 / 5500, half_life=5e6)
    due = [schedule.due(step) for step in (0, 1_000_000, 5_000_000, 10_000_000, 25_000_000, 50_000_000)]
    assert due == pytest.approx([500, 880, 1945, 2791, 4236, 5500], abs=1)


def test_scaled_is_the_papers_shape_at_any_length() -> None:
    paper = LabelSchedule(700, 10_000_000, "paper")
    short = LabelSchedule(700, 100_000)
    for part in range(0, 101, 5):
        assert short.due(part * 1_000) == paper.due(part * 100_000)


@pytest.mark.parametrize("kind", ["scaled", "paper", "linear", "offline"])
def test_labels_never_fall_and_end_at_the_budget(kind: str) -> None:
    schedule = LabelSchedule(53, 1000, kind)
    due = [schedule.due(step) for step in range(0, 1201)]
    assert due == sorted(due)
    assert due[1000] == due[1200] == 53


def test_linear_and_offline() -> None:
    linear = LabelSchedule(100, 1000, "linear", initial_share=0.2)
    assert [linear.due(step) for step in (0, 500, 999)] == [20, 60, 99]
    assert LabelSchedule(100, 1000, "offline").due(0) == 100


def test_bad_settings_are_named() -> None:
    with pytest.raises(ValueError, match="kind must be one of"):
        LabelSchedule(1, 1, "steep")
    with pytest.raises(ValueError, match="initial_share"):
        LabelSchedule(1, 1, initial_share=1.5)
    with pytest.raises(ValueError, match="labels and steps"):
        LabelSchedule(10, 0)

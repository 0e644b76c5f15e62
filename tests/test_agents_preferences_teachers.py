"""Scripted, recorded and asynchronous teachers."""

import math
import time
from collections import Counter

import numpy as np
import pytest

from agents.preferences.comparison import Comparison, Query
from agents.preferences.teachers import AsyncTeacher, RecordedTeacher, ScriptedTeacher, TeacherConfig
from envs.episode import Clip, Episode


def clip(*true_rewards: float) -> Episode:
    count = len(true_rewards)
    return Episode(
        {"observation": np.zeros((count + 1, 1))},
        np.zeros(count),
        np.full(count, 99.0),  # what the learner saw must not matter
        np.arange(count + 1.0),
        info={"true_reward": np.array(true_rewards)},
    )


def question(index: int) -> Query:
    return Query(index, Clip("a", 0, 2), Clip("b", 0, 2))


def answers(teacher: ScriptedTeacher, left: Episode, right: Episode, count: int = 2000) -> Counter:
    return Counter(teacher.answer(question(i), left, right).answer for i in range(count))


def test_the_perfect_teacher_follows_the_true_reward() -> None:
    teacher = ScriptedTeacher()
    assert answers(teacher, clip(1, 2), clip(0, 2), 20) == {"left": 20}
    assert answers(teacher, clip(0, 0), clip(1, 0), 20) == {"right": 20}
    assert answers(teacher, clip(1, 0), clip(0, 1), 20) == {"tie": 20}


def test_a_rational_teacher_is_as_sure_as_the_difference() -> None:
    share = answers(ScriptedTeacher(TeacherConfig("rational")), clip(1.0, 0), clip(0, 0))["left"] / 2000
    assert share == pytest.approx(1 / (1 + math.exp(-1)), abs=0.03)
    surer = ScriptedTeacher(TeacherConfig("rational", beta=3.0))
    assert answers(surer, clip(1.0, 0), clip(0, 0))["left"] / 2000 == pytest.approx(0.953, abs=0.02)


def test_a_tenth_of_the_answers_is_mistaken() -> None:
    share = answers(ScriptedTeacher(TeacherConfig("mistake")), clip(5, 5), clip(0, 0))["right"] / 2000
    assert share == pytest.approx(0.1, abs=0.02)
    noisy = answers(ScriptedTeacher(TeacherConfig("noisy")), clip(1.0, 0), clip(0, 0))["left"] / 2000
    assert noisy == pytest.approx(0.9 * 0.731 + 0.1 * 0.269, abs=0.03)


def test_equal_and_skip_thresholds_are_shares_of_a_clips_mean_return() -> None:
    equal = ScriptedTeacher(TeacherConfig("equal"), clip_return=10.0)
    assert equal.answer(question(0), clip(5, 0), clip(4.1, 0)).answer == "tie"
    assert equal.answer(question(0), clip(5, 0), clip(3.9, 0)).answer == "left"
    skip = ScriptedTeacher(TeacherConfig("skip"), clip_return=10.0)
    assert skip.answer(question(0), clip(0.9, 0), clip(0.1, 0)).answer == "skip"
    assert skip.answer(question(0), clip(1.1, 0), clip(0.1, 0)).answer == "left"
    # The same share again at the next session: the threshold does not shrink.
    skip.clip_return = 10.0
    assert skip.skip_below == pytest.approx(1.0)
    skip.clip_return = -10.0
    assert skip.skip_below == pytest.approx(-19.0)
    other = ScriptedTeacher(TeacherConfig("skip"))
    other.load_state_dict(skip.state_dict())
    assert other.skip_below == skip.skip_below


def test_a_myopic_teacher_weighs_the_end() -> None:
    teacher = ScriptedTeacher(TeacherConfig("myopic"))
    early, late = clip(*[1.0] + [0.0] * 9), clip(*[0.0] * 9 + [0.5])
    assert teacher.answer(question(0), early, late).answer == "right"  # 0.9^9 = 0.39 against 0.5
    assert ScriptedTeacher().answer(question(0), early, late).answer == "left"


def test_answers_depend_on_seed_and_query_alone() -> None:
    left, right = clip(1, 0), clip(0.5, 0)
    forth = [ScriptedTeacher(TeacherConfig("noisy"), 3).answer(question(i), left, right) for i in range(50)]
    teacher = ScriptedTeacher(TeacherConfig("noisy"), 3)
    back = [teacher.answer(question(i), left, right) for i in reversed(range(50))]
    assert forth == back[::-1]
    other = [ScriptedTeacher(TeacherConfig("noisy"), 4).answer(question(i), left, right) for i in range(50)]
    assert forth != other


def test_settings_replace_those_of_the_kind() -> None:
    config = TeacherConfig("noisy", error_rate=0.0)
    assert (config.setting("error_rate"), config.setting("beta"), config.setting("gamma")) == (0.0, 1.0, 1.0)
    with pytest.raises(ValueError, match="kind must be one of perfect"):
        TeacherConfig("wise")
    with pytest.raises(ValueError, match="gamma"):
        TeacherConfig(gamma=0.0)


def test_a_clip_without_its_true_reward_is_refused() -> None:
    blind = Episode({"observation": np.zeros((3, 1))}, np.zeros(2), np.ones(2), np.arange(3.0))
    with pytest.raises(ValueError, match="no info\\['true_reward'\\]"):
        ScriptedTeacher().answer(question(0), blind, clip(1, 1))


def test_recorded_answers_come_back() -> None:
    recorded = RecordedTeacher([Comparison(question(1), "tie", "anna", 2.5)])
    answer = recorded.answer(question(1), clip(1), clip(0))
    assert answer is not None
    assert (answer.answer, answer.labeller) == ("tie", "anna")
    assert recorded.answer(question(2), clip(1), clip(0)) is None


def collect(teacher: AsyncTeacher, count: int) -> list[Comparison]:
    found: list[Comparison] = []
    deadline = time.monotonic() + 60
    while len(found) < count and time.monotonic() < deadline:
        found += teacher.poll()
        time.sleep(0.005)
    return found


def test_answers_arrive_while_others_work() -> None:
    teacher = AsyncTeacher(ScriptedTeacher(), seconds_per_label=0.05)
    try:
        started = time.monotonic()
        for i in range(3):
            teacher.submit(question(i), clip(1, 1), clip(0, 0))
        assert time.monotonic() - started < 0.05
        assert teacher.open == 3
        found = collect(teacher, 3)
        assert [comparison.query.index for comparison in found] == [0, 1, 2]
        assert time.monotonic() - started >= 0.15
        assert teacher.open == 0
    finally:
        teacher.close()
    with pytest.raises(RuntimeError, match="closed"):
        teacher.submit(question(9), clip(1), clip(0))


def test_a_slow_teacher_can_be_closed_at_once() -> None:
    teacher = AsyncTeacher(ScriptedTeacher(), seconds_per_label=60.0)
    teacher.submit(question(0), clip(1), clip(0))
    started = time.monotonic()
    teacher.close()
    assert time.monotonic() - started < 2


def test_an_error_of_the_teacher_is_raised_where_answers_are_awaited() -> None:
    teacher = AsyncTeacher(ScriptedTeacher())
    blind = Episode({"observation": np.zeros((3, 1))}, np.zeros(2), np.ones(2), np.arange(3.0))
    teacher.submit(question(0), blind, blind)
    with pytest.raises(ValueError, match="true_reward"):
        collect(teacher, 1)
    teacher.submit(question(1), clip(1), clip(0))  # and it goes on
    assert len(collect(teacher, 1)) == 1
    teacher.close()

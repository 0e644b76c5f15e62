import numpy as np
import pytest

from agents.preferences.clips import ClipRecorder
from agents.preferences.comparison import Comparison
from agents.preferences.data import ComparisonSet
from agents.preferences.session import AnswersAtOnce, LabelSession
from envs.catalog import make_vec


class PrefersLeft:
    def __init__(self):
        self.asked = 0

    def answer(self, query, left, right):
        self.asked += 1
        return Comparison(query, "left")


def clips_of(name, count, length=5):
    env = make_vec(name, 2, 0, preferences=True)
    recorder = ClipRecorder(2, length, 100, dt=env.dt)
    observations = env.reset(0)
    while len(recorder) < count:
        actions = np.stack([env.action_space.sample() for _ in range(2)])
        step = env.step(actions)
        recorder.on_step(observations, actions, step, None)
        observations = step.observations
    env.close()
    return recorder.clips()


@pytest.mark.parametrize("name", ["classic:Pendulum", "pixel:MovingDot"])
def test_a_clip_comes_back_as_it_was_asked_about(tmp_path, name):
    left, right = clips_of(name, 2)[:2]
    session = LabelSession(tmp_path, AnswersAtOnce(PrefersLeft()), ComparisonSet())
    session.ask((left, right), "random", 0.0, 0, 0)
    assert session.collect() == 1
    comparison = next(iter(session.log))
    for clip, reference in ((left, comparison.left), (right, comparison.right)):
        assert session.clip(reference).digest() == clip.digest()
        assert session.was_asked_about(clip)
    session.close()


def test_stacked_frames_are_stored_once(tmp_path):
    left, right = clips_of("pixel:MovingDot", 2, length=25)[:2]
    session = LabelSession(tmp_path, AnswersAtOnce(PrefersLeft()), ComparisonSet())
    session.ask((left, right), "random", 0.0, 0, 0)
    session.close()
    stacked = left.observations["observation"].nbytes + right.observations["observation"].nbytes
    assert (tmp_path / "clips" / "data.bin").stat().st_size < 0.3 * stacked


def test_answers_in_the_log_are_not_asked_for_again(tmp_path):
    clips = clips_of("classic:Pendulum", 6)
    pairs = [(clips[0], clips[1]), (clips[2], clips[3]), (clips[4], clips[5])]
    teacher = PrefersLeft()
    session = LabelSession(tmp_path, AnswersAtOnce(teacher), ComparisonSet())
    session.ask(pairs[0], "random", 0.0, 0, 0)
    session.collect()
    checkpoint = session.state_dict()
    session.ask(pairs[1], "random", 0.0, 0, 0)
    session.collect()
    session.close()

    later = LabelSession(tmp_path, AnswersAtOnce(teacher), ComparisonSet())
    later.load_state_dict(checkpoint)
    assert (later.asked, len(later.data)) == (1, 1)
    later.ask(pairs[1], "random", 0.0, 0, 0)
    later.ask(pairs[2], "random", 0.0, 0, 0)
    assert later.collect() == 2
    assert teacher.asked == 3, "the second pair was answered before"
    assert len(later.log) == 3
    later.close()


def test_answers_that_came_after_the_checkpoint_are_used_in_asynchronous_mode(tmp_path):
    clips = clips_of("classic:Pendulum", 4)
    session = LabelSession(tmp_path, AnswersAtOnce(PrefersLeft()), ComparisonSet())
    checkpoint = session.state_dict()
    session.ask((clips[0], clips[1]), "random", 0.0, 0, 0)
    session.collect()
    session.close()
    later = LabelSession(tmp_path, AnswersAtOnce(PrefersLeft()), ComparisonSet(), late_answers=True)
    later.load_state_dict(checkpoint)
    assert len(later.data) == 1
    later.ask((clips[2], clips[3]), "random", 0.0, 0, 0)
    assert later.collect() == 1
    assert [comparison.query.index for comparison in later.log] == [0, 1]
    later.close()


def test_a_label_file_that_lost_answers_is_refused(tmp_path):
    left, right = clips_of("classic:Pendulum", 2)[:2]
    session = LabelSession(tmp_path, AnswersAtOnce(PrefersLeft()), ComparisonSet())
    session.ask((left, right), "random", 0.0, 0, 0)
    session.collect()
    checkpoint = session.state_dict()
    session.close()
    (tmp_path / "labels.jsonl").write_text("")
    later = LabelSession(tmp_path, AnswersAtOnce(PrefersLeft()), ComparisonSet())
    with pytest.raises(ValueError, match=r"labels\.jsonl no longer holds"):
        later.load_state_dict(checkpoint)
    later.close()

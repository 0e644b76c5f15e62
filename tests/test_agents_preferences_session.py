import numpy as np
import pytest

from agents.preferences.clips import ClipRecorder
from agents.preferences.comparison import Comparison, Query, Retraction
from agents.preferences.data import ComparisonSet
from agents.preferences.session import AnswersAtOnce, LabelSession
from envs.catalog import make_vec
from envs.episode import Clip


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


class People:
    """Answers that come, several a query, and are taken back, when the test says so."""

    def __init__(self, still_open=()):
        self.still_open, self.known, self.submitted, self.news = list(still_open), None, [], []

    def begin(self, known):
        self.known = list(known)
        return self.still_open

    def submit(self, query, left, right):
        self.submitted.append(query)

    def poll(self):
        news, self.news = self.news, []
        return news

    def close(self):
        pass


def test_several_answers_to_a_query_and_one_taken_back(tmp_path):
    clips = clips_of("classic:Pendulum", 4)
    people = People()
    session = LabelSession(tmp_path, people, ComparisonSet(), late_answers=True)
    session.ask((clips[0], clips[1]), "random", 0.0, 0, 0)
    session.ask((clips[2], clips[3]), "random", 0.0, 0, 0)
    first, second = people.submitted
    people.news = [
        Comparison(first, "left", "anna", 1.0, "a"),
        Comparison(first, "right", "ben", 1.0, "b"),
        Comparison(second, "tie", "anna", 1.0, "c"),
    ]
    assert (session.collect(), session.open, session.changes) == (3, 0, 3)
    assert session.data.targets.tolist() == [1.0, 0.0, 0.5]
    assert [session.data.labellers[index] for index in session.data.labeller] == ["anna", "ben", "anna"]
    before = session.state_dict()

    people.news = [Retraction("a"), Retraction("c")]
    assert (session.collect(), session.open, session.changes) == (0, 1, 5)
    assert session.data.targets.tolist() == [0.0]
    assert session.data.labellers == ["ben"]
    session.close()

    again = People([first, second])
    later = LabelSession(tmp_path, again, ComparisonSet(), late_answers=True)
    later.load_state_dict(before)
    assert again.known == ["b"]
    assert (later.used, later.changes) == (["b"], 5), "the checkpoint was made before the undo"
    assert later.open == 1, "the second query waits for an answer again, the first has one"
    later.ask((clips[0], clips[2]), "random", 0.0, 0, 0)
    assert again.submitted[0].index == 2
    later.close()


def test_an_open_query_whose_clips_are_gone_is_left_to_itself(tmp_path, caplog):
    lost = Query(0, Clip("0" * 16, 0, 5), Clip("1" * 16, 0, 5))
    session = LabelSession(tmp_path, People(), ComparisonSet(), late_answers=True)
    empty = session.state_dict()
    session.close()
    later = LabelSession(tmp_path, People([lost]), ComparisonSet(), late_answers=True)
    later.load_state_dict(empty)
    assert later.open == 0
    assert "its clips are gone" in caplog.text
    later.close()

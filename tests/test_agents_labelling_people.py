"""The trainer and people: what is asked reaches them, what they answer and take back reaches the reward."""

import dataclasses
import json
import os
import signal
import subprocess
import sys
import threading
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from agents.interrupts import RunStopped, StopSignal
from agents.preferences.comparison import Comparison, Query, Retraction
from agents.preferences.config import PreferenceConfig
from agents.preferences.label_sets import read_label_set
from agents.preferences.labelling.config import PeopleConfig
from agents.preferences.labelling.people import PeopleAnswers
from agents.preferences.labelling.relabel import session_about
from agents.preferences.labelling.session_file import create_session, open_session, read_session_file
from agents.preferences.labelling.sprites import draw
from agents.preferences.labelling.types import LabellingError, NewLabel, UnavailableError
from agents.preferences.presets import preference_config
from agents.preferences.reward_config import RewardConfig
from agents.preferences.session import stored_clip
from agents.preferences.teachers import TeacherConfig
from agents.preferences.train import PreferenceTrainer
from agents.runs import start_run
from envs.dataset import EpisodeDataset
from envs.episode import Clip, Episode

ROOT = Path(__file__).resolve().parent.parent
PLAIN = PeopleConfig(serve=False, lead=6, patience_seconds=0.1, overlap_share=0.0, repeat_share=0.0)


def small(labels: int = 16, **changes) -> PreferenceConfig:
    config = preference_config("classic:Pendulum", labels=labels, steps=2048, seed=3)
    return dataclasses.replace(
        config,
        learner=dataclasses.replace(config.learner, n_steps=32, batch_size=64, n_epochs=1),
        reward=RewardConfig(hidden=(16,), initial_minibatches=10, update_minibatches=5),
        teacher=TeacherConfig("people"),
        people=PLAIN,
        label_batch=4,
        clip_steps=5,
        evaluations=0,
        final_episodes=1,
        **changes,
    )


def clip(number: int) -> Episode:
    return Episode(
        {"observation": np.full((6, 3), number, np.float32)},
        np.full((5, 1), number, np.float32),
        np.zeros(5, np.float32),
        np.arange(6.0),
        info={"physics": np.full((6, 2), 0.1 * number), "true_reward": np.full(5, float(number))},
    )


def query(index: int) -> Query:
    left, right = (Clip(clip(2 * index + side).digest(), 0, 5) for side in (0, 1))
    return Query(index, left, right, "variance", 0.25, 1, 100)


@pytest.fixture
def people(tmp_path: Path) -> PeopleAnswers:
    return PeopleAnswers.of_run(tmp_path, "classic:Pendulum", 10, PLAIN, lambda clip: np.arange(5.0))


class Person:
    """Answers what is offered, as somebody at the page would, without the page."""

    def __init__(self, run: Path, name: str = "anna") -> None:
        self.session = open_session(run)
        self.store = self.session.store
        self.id = self.store.add_annotator(self.session.study.id, name)[0].id

    def draw(self) -> None:
        for job in self.store.segments_to_render(self.session.study.id, 100):
            self.store.set_sprite(job.segment, draw(self.session.storage, job.source, job.env, 16)[1])

    def answer(self, choose, most: int = 100) -> list[str]:
        self.draw()
        given = []
        while len(given) < most:
            offers = self.store.offer(self.id, 1)
            if not offers:
                break
            label = NewLabel(str(uuid.uuid4()), offers[0].query, choose(offers[0]), shown_ms=1500)
            self.store.answer(self.id, label)
            given.append(label.uuid)
        return given


def put(people: PeopleAnswers, *indices: int) -> None:
    for index in indices:
        people.submit(query(index), clip(2 * index), clip(2 * index + 1))
    assert people.poll() == []


def test_an_answer_given_on_the_screen_comes_back_by_the_querys_sides(
    people: PeopleAnswers, tmp_path: Path
) -> None:
    people.begin([])
    put(people, 0, 1, 2, 3, 4, 5)
    anna = Person(tmp_path)
    sources = {row["key"]: row for row in anna.store.train_queries(anna.session.study.id)}
    swapped = {}

    def left_of_the_query(offer):
        swapped[offer.query] = offer.swapped
        assert offer.left_reward == (0.0, 1.0, 2.0, 3.0, 4.0)
        return "right" if offer.swapped else "left"

    given = anna.answer(left_of_the_query)
    assert len(given) == len(sources) == 6
    answers = people.poll()
    assert [answer.query for answer in answers] == [query(answer.query.index) for answer in answers]
    assert {answer.query.index for answer in answers} == set(range(6))
    assert {answer.answer for answer in answers} == {"left"}
    assert {answer.labeller for answer in answers} == {anna.id}
    assert [answer.label for answer in answers] == given
    assert answers[0].seconds == 1.5
    assert people.poll() == []


def test_choices_that_teach_nothing(people: PeopleAnswers, tmp_path: Path) -> None:
    people.begin([])
    put(people, 0, 1, 2)
    choices = iter(["cannot_tell", "broken", "tie"])
    Person(tmp_path).answer(lambda offer: next(choices), most=3)
    assert [answer.answer for answer in people.poll()] == ["skip", "skip", "tie"]


def test_a_query_that_was_skipped_for_later_stays_open(people: PeopleAnswers, tmp_path: Path) -> None:
    people.begin([])
    put(people, 0)
    Person(tmp_path).answer(lambda offer: "skip", most=1)
    assert people.poll() == []
    assert PeopleAnswers(open_session(tmp_path), lambda clip: None).begin([]) == [query(0)]


def test_what_is_taken_back_comes_as_a_retraction(people: PeopleAnswers, tmp_path: Path) -> None:
    people.begin([])
    put(people, 0, 1)
    anna = Person(tmp_path)
    first, second = anna.answer(lambda offer: "tie")
    assert len(people.poll()) == 2
    anna.store.retract(anna.id, first, str(uuid.uuid4()))
    assert people.poll() == [Retraction(first)]
    assert people.poll() == []
    later = PeopleAnswers(open_session(tmp_path), lambda clip: None)
    assert len(later.begin([first, second])) == 1, "the query waits for an answer again"
    assert later.poll() == [Retraction(first)], "taken back while no training was under way"


def test_another_process_knows_what_is_known_and_what_is_open(people: PeopleAnswers, tmp_path: Path) -> None:
    people.begin([])
    put(people, 0, 1, 2)
    given = Person(tmp_path).answer(lambda offer: "tie", most=2)
    later = PeopleAnswers(open_session(tmp_path), lambda clip: None)
    assert len(later.begin([given[0]])) == 1
    assert [answer.label for answer in later.poll()] == [given[1]]


class Away:
    """A store whose database is down."""

    def __getattr__(self, name):
        raise UnavailableError("the database is away")


def test_a_database_that_is_away_stops_nothing(
    people: PeopleAnswers, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    people.begin([])
    there, people._store = people._store, Away()
    people.submit(query(0), clip(0), clip(1))
    assert people.poll() == []
    assert people.poll() == []
    people.say_training("training", "goes on", 1, 2, 3)
    assert people.error_rates() is None
    assert caplog.text.count("labelling is interrupted") == 1
    people._store = there
    assert people.poll() == []
    assert "labelling goes on" in caplog.text
    assert len(Person(tmp_path).answer(lambda offer: "tie")) == 1, "the query was kept meanwhile"


def test_the_sessions_file_is_for_its_owner_only(people: PeopleAnswers, tmp_path: Path) -> None:
    assert (tmp_path / "label.json").stat().st_mode & 0o777 == 0o600
    owner = people.session.store.annotator_by_token(read_session_file(tmp_path).owner_token)
    assert owner.role == "owner"
    again = PeopleAnswers.of_run(tmp_path, "classic:Pendulum", 12, PLAIN, lambda clip: None)
    assert again.session.file == people.session.file
    assert again.session.store.study(again.session.study.id).target == 12
    with pytest.raises(LabellingError, match="is about classic:Pendulum, the run about mujoco:Hopper"):
        PeopleAnswers.of_run(tmp_path, "mujoco:Hopper", 12, PLAIN, lambda clip: None)


def test_a_kill_between_the_file_and_its_study_is_mended(people: PeopleAnswers, tmp_path: Path) -> None:
    for file in tmp_path.glob("labels.db*"):
        file.unlink()
    study = dataclasses.replace(people.session.study, id="another")
    session = create_session(tmp_path, study, PLAIN)
    assert session.study.id == people.session.file.study
    assert session.store.annotator_by_token(session.file.owner_token).role == "owner"


def test_a_run_without_a_session_says_how_to_get_one(tmp_path: Path) -> None:
    with pytest.raises(LabellingError, match="has no labelling session: start one with `surefoot label"):
        open_session(tmp_path)
    (tmp_path / "label.json").write_text("{")
    with pytest.raises(LabellingError, match=r"label\.json is damaged"):
        open_session(tmp_path)


# -- a whole run ----------------------------------------------------------------------------------


def oracle(run: Path, person: Person):
    """Answers by the hidden true reward, which the test reads from the run's own clips."""
    clips = {}

    def choose(offer):
        if offer.query not in clips:
            clips.update(
                {row["id"]: row["clips"] for row in person.store.train_queries(person.session.study.id)}
            )
        with EpisodeDataset(run / "clips", read_only=True) as dataset:
            left, right = (
                float(stored_clip(dataset, Clip(*clips[offer.query][side])).info["true_reward"].sum())
                for side in ("left", "right")
            )
        better = "left" if left > right else "right"
        return {"left": "right", "right": "left"}[better] if offer.swapped else better

    return choose


def train(config: PreferenceConfig, run: Path, stop: StopSignal | None = None) -> dict:
    with start_run(run, config, config.seed, tensorboard=False) as record:
        trainer = PreferenceTrainer(config, record, quiet=True)
        try:
            return trainer.run(stop)
        finally:
            trainer.close()


def teach(run: Path, stop: StopSignal, done: threading.Event) -> None:
    """A person for a training in another thread; ends that training if there is an error here."""
    try:
        person = _when(lambda: _person_if_there(run))
        while not done.is_set():
            person.answer(oracle(run, person), most=3)
            time.sleep(0.05)
    except BaseException:
        stop.asked = True
        raise


def _person_if_there(run: Path) -> Person | None:
    try:
        return Person(run)
    except LabellingError:
        return None  # the session is not made yet


@pytest.mark.slow
def test_a_policy_is_trained_by_a_person(tmp_path: Path) -> None:
    run, stop, done = tmp_path / "run", StopSignal(), threading.Event()
    with ThreadPoolExecutor() as pool:
        teaching = pool.submit(teach, run, stop, done)
        try:
            summary = train(small(), run, stop)
        finally:
            done.set()
    teaching.result()
    assert summary["labels"] == 16
    session = open_session(run)
    study = session.study.id
    assert session.store.study(study).state == "finished"
    states = [data["state"] for _, _, kind, data in session.store.events(study) if kind == "training"]
    assert states[0] == "waiting"
    assert states[-1] == "finished"
    assert session.store.latest(study, "reward")["labels"] == 16
    assert session.store.latest(study, "video") is not None
    assert len(session.store.reward_versions(study)) >= 3
    assert len(read_label_set(run, "classic:Pendulum")) == 16


SCRIPT = """
import sys
from pathlib import Path
sys.path.insert(0, {tests!r})
from test_agents_labelling_people import small, train
from agents.preferences.job import resume
run = Path(sys.argv[1])
resume(run, quiet=True) if run.exists() else train(small(checkpoints=8), run)
"""


@pytest.mark.slow
def test_answers_given_while_training_is_dead_are_used_and_open_queries_are_not_put_twice(
    tmp_path: Path,
) -> None:
    run = tmp_path / "run"
    command = [sys.executable, "-c", SCRIPT.format(tests=str(ROOT / "tests")), str(run)]
    first = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL)
    try:
        person = _when(lambda: _person_if_there(run))
        _when(lambda: person.answer(oracle(run, person), most=4))
        _when(lambda: list((run / "checkpoints").glob("*")))
    finally:
        os.kill(first.pid, signal.SIGKILL)
        first.wait()
    given = len(person.store.labels(person.session.study.id))
    person.answer(oracle(run, person), most=2)  # the page works on
    second = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL)
    try:
        end = time.monotonic() + 120
        while second.poll() is None and time.monotonic() < end:
            person.answer(oracle(run, person), most=1)
            time.sleep(0.05)
    finally:
        second.kill()
        second.wait()
    assert second.returncode == 0
    summary = json.loads((run / "summary.json").read_text())
    labels = person.store.labels(person.session.study.id)
    assert given >= 4
    assert summary["labels"] == len(labels) == 16
    indices = [row["index"] for row in person.store.train_queries(person.session.study.id)]
    assert len(indices) == len(set(indices)) == 16
    logged = [json.loads(line)["label"] for line in (run / "labels.jsonl").read_text().splitlines()]
    assert sorted(logged) == sorted(label.uuid for label in labels)


def _when(look, seconds: float = 60.0):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := look():
            return found
        time.sleep(0.05)
    raise AssertionError("it did not come")


def test_a_stop_before_the_first_answers_says_how_to_go_on(tmp_path: Path) -> None:
    stop = StopSignal()
    threading.Timer(1.0, lambda: setattr(stop, "asked", True)).start()
    with pytest.raises(RunStopped, match=r"stopped before training, the 0 answers so far are saved"):
        train(small(), tmp_path / "run", stop)


def test_pairs_that_nobody_can_judge_are_followed_by_others(tmp_path: Path) -> None:
    run, stop = tmp_path / "run", StopSignal()

    def cannot_tell() -> int:
        try:
            person, given = _when(lambda: _person_if_there(run)), 0
            while given <= 4:
                given += len(_when(lambda: person.answer(lambda offer: "cannot_tell")))
            return given
        finally:
            stop.asked = True

    with ThreadPoolExecutor() as pool:
        answering = pool.submit(cannot_tell)
        with pytest.raises(RunStopped):
            train(small(), run, stop)
    assert answering.result() > 4, "the first quarter of 16 labels is 4"


def test_people_answer_what_a_simulated_teacher_was_asked(tmp_path: Path) -> None:
    run = tmp_path / "run"
    config = dataclasses.replace(small(labels=6), teacher=TeacherConfig("perfect"))
    train(config, run)
    session = session_about(run, PLAIN)
    assert session.store.study(session.study.id).target == 6
    session_about(run, PLAIN)
    person = Person(run)
    assert len(person.answer(lambda offer: "tie")) == 6, "each pair once, though the session was made twice"
    assert {answer.answer for answer in read_label_set(run, "classic:Pendulum")} == {"tie"}


def test_a_lead_below_a_batch_would_wait_for_ever() -> None:
    with pytest.raises(ValueError, match=r"people.lead \(3\) must be at least label_batch \(4\)"):
        dataclasses.replace(small(), people=PeopleConfig(lead=3))
    with pytest.raises(ValueError, match="people follow no script"):
        TeacherConfig("people").setting("beta")
    assert isinstance(Comparison(query(0), "left").id, str)

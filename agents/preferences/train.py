"""The whole loop: a policy acts, a teacher compares its clips, a reward is fitted, the policy follows it.

Christiano et al. 2017, 2.2, on one clock: nothing waits for a person. In synchronous mode answers
come at once and a run is repeatable bit for bit, also after a kill and a resume.
"""

from __future__ import annotations

import logging
import math
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from agents.checkpoint import latest_checkpoint, load_checkpoint, save_checkpoint
from agents.evaluate import Scores, evaluate
from agents.interrupts import RunStopped, StopSignal
from agents.preferences.clips import ClipRecorder
from agents.preferences.config import PreferenceConfig, Selector
from agents.preferences.data import ComparisonSet
from agents.preferences.fit import fit
from agents.preferences.pebble import StateEntropy
from agents.preferences.queries import choose_queries
from agents.preferences.ranking import ranking
from agents.preferences.reward import RewardEnsemble
from agents.preferences.schedule import LabelSchedule
from agents.preferences.session import Answers, AnswersAtOnce, LabelSession
from agents.preferences.teachers import AsyncTeacher, ScriptedTeacher, Teacher
from agents.progress import Progress
from agents.rl import EVALUATION_SEED, RunningMeans, crossed
from agents.runs import Run, write_json
from agents.sb3 import Learner, learner_env
from envs.batch import Array, BatchEnv, BatchStep
from envs.catalog import make_vec
from envs.episode import Episode
from envs.tasks import task_info

if TYPE_CHECKING:
    from agents.preferences.labelling.people import PeopleAnswers, TrainingState

logger = logging.getLogger(__name__)


class PreferenceTrainer:
    """One run of preference-based training; `run` starts it or goes on from its newest checkpoint."""

    def __init__(
        self,
        config: PreferenceConfig,
        record: Run,
        teacher: Teacher | None = None,
        quiet: bool = False,
        env: BatchEnv | None = None,
    ) -> None:
        """teacher: who answers; without one, a scripted teacher that sees the hidden true reward.

        env: environments of your own, in place of copies of the preference variant of `config.env`.
        """
        self.config, self.record, self.quiet = config, record, quiet
        learner = config.learner
        self.env = env or make_vec(
            config.env, learner.n_envs, config.seed, preferences=True, threads=learner.env_threads
        )
        view = learner_env(learner, self.env, on_step=self._on_step)
        spaces = self.env.observation_space, self.env.action_space
        self.ensemble = RewardEnsemble(*spaces, config.reward, seed=config.seed, preprocess=view.normalizer)
        view.reward = self.ensemble.reward
        self.learner = Learner(learner, view, config.seed, config.steps)
        self.people: PeopleAnswers | None = None
        self.teacher = teacher
        if teacher is None and config.teacher.kind != "people":
            self.teacher = ScriptedTeacher(config.teacher, seed=config.seed)
        self.clip_steps = config.clip_steps or task_info(config.env).segment_steps
        self.clips = ClipRecorder(self.env.num_envs, self.clip_steps, config.clip_capacity, dt=self.env.dt)
        self.schedule = LabelSchedule(config.labels, config.steps, config.schedule, config.initial_share)
        self.session = LabelSession(
            record.path,
            self._answers(),
            ComparisonSet(config.keep_last or None),
            late_answers=config.answers_later,
        )
        self.rng = np.random.default_rng([config.seed, 0x5EED])
        self.means = RunningMeans()
        self.initial_steps = 0
        self._fitted = 0
        self._fitted_at = time.monotonic()
        self._stop: StopSignal | None = None
        self._physics: Array | None = None
        self._cpu, self._wall = -time.process_time(), -time.monotonic()

    def _answers(self) -> Answers:
        config = self.config
        if self.teacher is None:
            # Imported here: without people, none of the session's libraries is needed.
            from agents.preferences.labelling.people import PeopleAnswers

            target = max(1, config.labels - config.recorded_labels)
            self.people = PeopleAnswers.of_run(
                self.record.path, config.env, target, config.people, self._opinion
            )
            return self.people
        if config.asynchronous:
            return AsyncTeacher(self.teacher, config.seconds_per_label)
        return AnswersAtOnce(self.teacher)

    def _opinion(self, clip: Episode) -> Array | None:
        """The learnt reward of each step of a clip, (T,); None while nothing was learnt."""
        if not self.ensemble.version:
            return None
        return self.ensemble.reward(clip.observations["observation"][: len(clip)], clip.actions)

    # -- the loop -------------------------------------------------------------------------------

    def run(self, stop: StopSignal | None = None) -> dict[str, Any]:
        """Trains to the end; returns the summary that is also written to summary.json.

        Raises RunStopped when `stop` was asked for, after everything was saved.
        """
        self._stop = stop
        if not self._resume():
            self._begin()
        title, steps = self.config.env, self.config.steps
        with Progress(title, steps, done=self.learner.steps, quiet=self.quiet) as progress:
            while self.learner.steps < steps:
                self._iterate(progress)
                self._keep_pace(progress)
                if self._stopping and self.learner.steps < steps:
                    self._checkpoint()
                    self._say("stopped", "Training is stopped; answers are kept for when it goes on.")
                    raise RunStopped(
                        f"stopped at step {self.learner.steps:,} of {steps:,}, all is saved; "
                        f"go on with: surefoot resume {self.record.path}"
                    )
        return self._finish()

    @property
    def _stopping(self) -> bool:
        return self._stop is not None and self._stop.asked

    def close(self) -> None:
        self.session.close()
        self.env.close()

    def _begin(self) -> None:
        """Behaviour without a goal gives the first clips, the first labels, the first reward (2.2.4, A)."""
        self.record.rewind(0)
        if self.config.unsupervised_steps:
            self._explore_new_states()
        else:
            self._explore_at_random()
            self.learner.start()
        self.session.use_recorded(self.config.recorded_labels)
        missing = self.schedule.due(0) - self.session.asked
        if missing > 0:
            self._ask(missing, "random")
        self._wait_for_first_answers()
        self._fit(self.config.reward.initial_minibatches)
        if self.config.unsupervised_steps:
            self.learner.reset_critic()
            self.learner.update(self.config.critic_updates)
        self._physics = self.env.physics()
        self._evaluate(self.config.evaluation_episodes)
        self._checkpoint()

    def _iterate(self, progress: Progress) -> None:
        config, before = self.config, self.learner.steps
        self.means.add(self.learner.iterate())
        self._label()
        step, used = self.learner.steps, len(self.session.used)
        if crossed(before, step, config.steps, config.log_rows):
            self.record.log(step, {**self.means.take(), "labels": float(used)})
        if crossed(before, step, config.steps, config.evaluations) and step < config.steps:
            scores = self._evaluate(config.evaluation_episodes)
            progress.say(f"step {step:,}: true return {np.median(scores.returns):.1f}, {used} labels")
        if crossed(before, step, config.steps, config.checkpoints) and step < config.steps:
            self._checkpoint()
        progress.update(step, labels=used)

    def _label(self) -> None:
        """Asks what the schedule allows, takes in what was answered, fits when enough came."""
        due = self.schedule.due(self.learner.steps)
        last = due >= self.config.labels
        missing = due - self.session.asked
        if missing >= self.config.label_batch or (missing > 0 and last):
            self._ask(missing, self.config.selector)
        self.session.collect()
        fresh = self.session.changes - self._fitted
        waited = self.people and time.monotonic() - self._fitted_at >= self.config.people.patience_seconds
        done = last and not self.session.open
        enough = fresh >= self.config.label_batch or (fresh and (done or waited))
        if enough and len(self.session.data):
            self._fit(self.config.reward.update_minibatches)

    def _keep_pace(self, progress: Progress) -> None:
        """People are slower than a policy: it waits for them rather than learn what nobody has corrected.

        The lead it may have shrinks to nothing over the last fifth of the steps, so that all that is
        asked is also used.
        """
        if self.people is None:
            return
        config = self.config
        left = 1 - self.learner.steps / config.steps
        # Never less than a batch: what the schedule allows is asked for in batches.
        lead = min(config.people.lead, max(config.label_batch, config.labels // 10)) * min(1.0, 5 * left)
        said = -np.inf
        while self.session.open > lead and not self._stopping:
            if time.monotonic() - said > 30:
                said = time.monotonic()
                progress.say(f"the policy waits for people: {self.session.open} queries are open")
            self._say("waiting", f"The policy waits for your answers: {self.session.open} pairs are open.")
            time.sleep(0.2)
            self._label()
        self._say("training", "The policy is training on your answers.")

    def _say(self, state: TrainingState, text: str) -> None:
        if self.people is not None:
            steps = self.config.steps
            self.people.say_training(state, text, self.learner.steps, steps, len(self.session.used))

    # -- its parts ------------------------------------------------------------------------------

    def _on_step(self, observations: Array, actions: Array, step: BatchStep) -> None:
        self.clips.on_step(observations, actions, step, self._physics)
        self._physics = self.env.physics()

    def _explore_at_random(self) -> None:
        """Steps with random actions until there are clips enough for the first pairs."""
        view, space = self.learner.env, self.env.action_space
        space.seed(self.config.seed)
        view.restart(self.config.seed)
        self._physics = self.env.physics()
        wanted = min(self.config.clip_capacity, max(self.schedule.due(0), 2))
        while len(self.clips) < wanted:
            view.advance(np.stack([space.sample() for _ in range(self.env.num_envs)]))
            self.initial_steps += self.env.num_envs
        view.update_normalizer()
        view.take_episodes()
        self.clips.restart()

    def _explore_new_states(self) -> None:
        """Trains on the novelty of states, without labels (PEBBLE, 4.1)."""
        view = self.learner.env
        learnt, view.reward = view.reward, StateEntropy()
        self.learner.start()
        self._physics = self.env.physics()
        while self.learner.steps < self.config.unsupervised_steps:
            self.learner.iterate()
        view.reward = learnt

    def _ask(self, count: int, selector: Selector) -> None:
        pool, config = self.clips.clips(), self.config
        if isinstance(self.teacher, ScriptedTeacher):
            # What the present behaviour is worth: thresholds of ties and skips are shares of it.
            self.teacher.clip_return = float(np.mean([clip.info["true_reward"].sum() for clip in pool]))
        pairs = choose_queries(
            selector,
            pool,
            self.ensemble,
            count=count,
            rng=self.rng,
            factor=config.candidate_factor,
            candidates=config.candidates,
        )
        for left, right, score in pairs:
            self.session.ask(
                (pool[left], pool[right]), selector, score, self.ensemble.version, self.learner.steps
            )

    def _wait_for_first_answers(self) -> None:
        """Without a reward there is nothing to follow: the only time the policy waits, and it says why.

        Three in four of the first answers are enough: one broken clip must not stop everything.
        """
        said = -np.inf
        while True:
            self.session.collect()
            answered, asked = len(self.session.used), self.session.asked
            if len(self.session.data) and answered >= 0.75 * asked:
                return
            if not self.session.open and self.people is not None:
                self._ask(self.config.label_batch, "random")  # nobody could tell: others are tried
            elif not self.session.open:
                raise RuntimeError(
                    f"all of the {asked} first answers were skips, so no reward can be learnt: "
                    "ask for more labels, or lower the teacher's skip threshold"
                )
            if self._stopping:
                raise RunStopped(
                    f"stopped before training, the {answered} answers so far are saved; "
                    f"go on with: surefoot resume {self.record.path}"
                )
            self._say("waiting", f"Training starts after {math.ceil(0.75 * asked)} answers.")
            if time.monotonic() - said > 10 and not self.quiet:
                said = time.monotonic()
                logger.warning("waiting for the first answers: %d of %d are there", answered, asked)
            time.sleep(0.02 if self.people is None else 0.2)

    def _fit(self, minibatches: int) -> None:
        """Fits the reward to all answers, and gives it to the policy on a scale of mean 0."""
        report = fit(
            self.ensemble,
            self.session.data,
            self.rng,
            max_epochs=self.config.reward.max_epochs,
            max_minibatches=minibatches,
            error_rates=self.people.error_rates() if self.people else None,
        )
        self.ensemble.set_reference(*self.clips.recent_steps(self.config.reference_steps))
        if not self.learner.is_on_policy and self.learner.steps:
            self.learner.relabel(self.ensemble.reward)
        self._fitted, self._fitted_at = self.session.changes, time.monotonic()
        accuracy, correlation = self._ranking()
        numbers = report.metrics()
        numbers["time/fit_seconds"] = numbers.pop("reward/fit_seconds")
        numbers |= {"reward/held_out_accuracy": accuracy, "reward/true_correlation": correlation}
        self.record.log(self.learner.steps, {"labels": float(len(self.session.used)), **numbers})
        if self.people is not None:
            held_out = numbers["reward/validation_accuracy"]
            self.people.say_fitted(
                self.ensemble.version, self.learner.steps, len(self.session.used), held_out
            )

    def _ranking(self) -> tuple[float, float]:
        """On clips that were never asked about, by a draw of its own: looking changes nothing."""
        rng = np.random.default_rng([self.config.seed, self.learner.steps])
        some = (self.clips.clip(index) for index in rng.permutation(len(self.clips))[:600])
        fresh = [clip for clip in some if not self.session.was_asked_about(clip)]
        return ranking(self.ensemble, fresh, rng)

    def _evaluate(self, episodes: int) -> Scores:
        cpu, wall = time.process_time(), time.monotonic()
        scores = evaluate(self.config.env, self.learner.predict, episodes, EVALUATION_SEED + self.config.seed)
        self.record.log(self.learner.steps, {**scores.metrics(), "labels": float(len(self.session.used))})
        # What people want to know is what training costs: looking at it is not counted.
        if self.people is not None and not self._stopping:
            self.people.show_policy(self.learner.predict, self.learner.steps)
        self._cpu -= time.process_time() - cpu
        self._wall -= time.monotonic() - wall
        return scores

    def _finish(self) -> dict[str, Any]:
        """The checkpoint comes first: a finished run that is resumed evaluates again and adds nothing."""
        self._checkpoint()
        scores = self._evaluate(self.config.final_episodes)
        accuracy, correlation = self._ranking()
        summary = {
            "kind": "preferences",
            "env": self.config.env,
            "seed": self.config.seed,
            "labels": len(self.session.used),
            "steps": self.learner.steps,
            "initial_steps": self.initial_steps,
            "algorithm": self.config.learner.algorithm,
            "teacher": self.config.teacher.kind,
            "final_return": scores.mean,
            "final_return_median": float(np.median(scores.returns)),
            "final_episodes": len(scores.returns),
            "success_rate": scores.success_rate,
            "held_out_accuracy": accuracy,
            "true_correlation": correlation,
            "cpu_seconds": self._cpu + time.process_time(),
            "wall_seconds": self._wall + time.monotonic(),
        }
        write_json(self.record.path / "summary.json", summary)
        if self.people is not None:
            self._say("finished", "Training has ended. Thank you!")
            self.people.finish()
        return summary

    # -- going on after a stop ------------------------------------------------------------------

    def _checkpoint(self) -> Path:
        if self.learner.prepare_checkpoint():
            self.clips.restart()
            self._physics = self.env.physics()
        state = {
            "metrics_position": self.record.metrics_position(),
            "learner": self.learner.state_dict(),
            "ensemble": self.ensemble.state_dict(),
            "clips": self.clips.state_dict(),
            "session": self.session.state_dict(),
            "means": self.means.state_dict(),
            "fitted": self._fitted,
            "initial_steps": self.initial_steps,
            "rng": self.rng.bit_generator.state,
            "cpu_seconds": self._cpu + time.process_time(),
            "wall_seconds": self._wall + time.monotonic(),
        }
        return save_checkpoint(self.record.checkpoints, self.learner.steps, state)

    def _resume(self) -> bool:
        """Loads the newest checkpoint; False where there is none yet."""
        newest = latest_checkpoint(self.record.checkpoints)
        if newest is None:
            return False
        state = load_checkpoint(newest)
        self.session.load_state_dict(state["session"])
        self.ensemble.load_state_dict(state["ensemble"])
        self.clips.load_state_dict(state["clips"])
        self.learner.load_state_dict(state["learner"], source=f"checkpoint {newest}")
        self.means.load_state_dict(state["means"])
        self.rng.bit_generator.state = state["rng"]
        self._fitted, self.initial_steps = int(state["fitted"]), int(state["initial_steps"])
        self._physics = self.env.physics()
        self.record.rewind(state["metrics_position"], step=self.learner.steps + 1)
        self._cpu += state["cpu_seconds"]
        self._wall += state["wall_seconds"]
        return True

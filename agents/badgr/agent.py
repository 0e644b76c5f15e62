"""The robot drives to a goal by what it expects of its own actions (Kahn et al. 2020, algorithm 2).

Runs on the robot: no torch, no simulator. What it does in trouble, each with its words in `halt`:

- a stream is missing, of another size or not finite, the prediction is broken: it stands until that is over;
- it expects every candidate to collide or to get stuck within `escape_steps`: it turns on the spot towards
  the side where that comes latest, until some candidates are free; after a whole turn it backs up the way
  that it came, and turns again;
- the goal is reached, or no progress is made (see `trip`): it stands for good.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from agents.badgr.planner import PlannerConfig, SamplingPlanner
from agents.badgr.prediction import Plan, Prediction
from agents.badgr.recovery import Recovery
from agents.badgr.reward import Preferences, plan_cost
from agents.badgr.spec import ModelSpec, SpecError
from agents.badgr.trip import STAND, Halt, Leg, Trip, TripConfig

Array = NDArray[Any]


class Foresight(Protocol):
    """What predicts; `predictor.Predictor` is one."""

    spec: ModelSpec

    def look(self, image: Array) -> None:
        """The image that `predict` is about."""
        ...

    def predict(self, actions: Array) -> Prediction:
        """Of actions (N, H, A) in SI units."""
        ...


@dataclass(frozen=True)
class DriveConfig:
    """Settings of driving; what matters to the user is in `Preferences`."""

    planner: PlannerConfig = field(default_factory=lambda: PlannerConfig(candidates=1024))
    trip: TripConfig = field(default_factory=TripConfig)
    patience: float = 10.0
    """s without coming closer to the goal; after each so many more, what is merely unpleasant counts half as
    much: smooth ground that leads nowhere would else be circled on for ever"""
    escape_from: tuple[str, ...] = ("collision", "stuck")
    """events that no candidate may be driven into"""
    escape_probability: float = 0.5
    """from which on one counts as going to happen"""
    escape_steps: int = 4
    """of the horizon: further ahead there is still room to steer"""
    free_share: float = 0.05
    """of the candidates, that must be free to end the turning"""
    turn_rate: float = 0.8
    """rad/s"""
    back_speed: float = 0.3
    back_way: float = 0.6
    """m/s and m"""


class BadgrAgent:
    """An Agent. Actions: (2,) float32 rad/s to the left, m/s forward.

    `preferences` and `goal` may be set between two acts. After each `act`: `plan`, all that was looked at,
    None where nothing was planned; `halt`, why it stands, else None; `escape`, the manoeuvre it is in.
    recovery: gets the robot free when something holds it; None: it only plans.
    """

    def __init__(
        self,
        foresight: Foresight,
        preferences: Preferences | None = None,
        config: DriveConfig | None = None,
        *,
        goal: Array | None = None,
        seed: int = 0,
        recovery: Recovery | None = None,
    ) -> None:
        self.foresight, self.config = foresight, config or DriveConfig()
        self.preferences = preferences or Preferences()
        self._planner = SamplingPlanner(foresight.spec, self.config.planner, seed)
        self._trip = Trip(self.config.trip, {"image": foresight.spec.image}, goal)
        self._recovery = recovery
        self.reset()

    def reset(self) -> None:
        """A new trip, from where the robot stands."""
        self._trip.reset()
        self._planner.reset()
        if self._recovery is not None:
            self._recovery.reset()
        self.plan: Plan | None = None
        self.leg: Leg | None = None
        self.halt: Halt | None = None
        self.escape: Literal["turn", "back"] | None = None
        self._side, self._turned, self._backed = 1.0, 0.0, 0.0

    @property
    def goal(self) -> Array | None:
        """(2,) m east and north; None: what the observations say."""
        return self._trip.goal

    @goal.setter
    def goal(self, goal: Array | None) -> None:
        self._trip.goal = goal
        self._trip.reset()

    def act(self, observation: Mapping[str, Any]) -> Array:
        """observation: image, and the streams of `bearing.STREAMS`; "goal" unless one was given."""
        self.plan = None
        self.leg = leg = self._trip.look(observation)
        self.halt = self._trip.halt
        if leg is None:
            return self._told(STAND)
        manoeuvre = self._recovery.step(observation) if self._recovery is not None else None
        if self._recovery is not None and self._recovery.rescue is not None:
            words = f"{self._recovery.rescue}, and no manoeuvre helped: put the robot elsewhere"
            self.halt = Halt("refused", words)
            return STAND.copy()
        if manoeuvre is not None:
            self._planner.reset()
            return np.asarray(manoeuvre, np.float32)
        try:
            self.plan = self._looked(np.asarray(observation["image"]), leg)
        except (SpecError, ValueError) as error:
            self.halt = Halt("blind", str(error))
            return self._told(STAND)
        return self._told(self._drive(self.plan, leg))

    def _looked(self, image: Array, leg: Leg) -> Plan:
        self.foresight.look(image)
        preferences = self._for_now()
        return self._planner.plan(
            self.foresight.predict,
            lambda prediction, steering: _cost(prediction, steering, preferences, leg.goal),
        )

    def _for_now(self) -> Preferences:
        """The user's preferences, or with less weight on what may be borne when nothing else helps."""
        waited = self._trip.seconds_without_progress
        if waited <= self.config.patience:
            return self.preferences
        share = 0.5 ** (waited / self.config.patience - 1)
        events = {
            name: weight if name in self.config.escape_from else share * weight
            for name, weight in self.preferences.events.items()
        }
        return replace(self.preferences, events=events)

    def _drive(self, plan: Plan, leg: Leg) -> Array:
        """The plan's action, or that of an escape."""
        c, dt = self.config, self.config.trip.bearing.dt
        last = self._happens(plan.prediction)  # (N,) step at which each candidate ends
        share = float((last >= c.escape_steps).mean())
        if self.escape is None and share > 0:
            return plan.action.astype(np.float32)
        if self.escape is not None and share >= c.free_share and self.escape != "back":
            self.escape = None
            self._planner.reset()
            return plan.action.astype(np.float32)
        if self.escape is None:
            self.escape, self._turned = "turn", 0.0
            self._side = self._freer_side(plan, last, leg)
        if self.escape == "turn":
            if self._turned < 2 * np.pi:
                self._turned += c.turn_rate * dt
                return np.array([self._side * c.turn_rate, 0.0], np.float32)
            self.escape, self._backed = "back", 0.0
        self._backed += c.back_speed * dt
        if self._backed >= c.back_way:
            self.escape, self._turned = "turn", 0.0
        return np.array([0.0, -c.back_speed], np.float32)

    def _happens(self, prediction: Prediction) -> Array:
        """(N,) the first step in which a candidate does what no candidate may; H where it never does."""
        c = self.config
        names = [name for name in c.escape_from if name in prediction.events]
        bad = np.any([prediction.events[name] > c.escape_probability for name in names], axis=0)
        if not names:
            return np.full(len(prediction.position), prediction.position.shape[1])
        first: Array = np.where(bad.any(1), bad.argmax(1), bad.shape[1])
        return first

    @staticmethod
    def _freer_side(plan: Plan, last: Array, leg: Leg) -> float:
        """1 to the left, -1 to the right; the goal's side where both are alike."""
        left = plan.candidates[..., 0].mean(1) > 0
        if left.any() and not left.all():
            later = float(last[left].mean() - last[~left].mean())
            if abs(later) > 0.1:
                return float(np.sign(later))
        return 1.0 if leg.goal[1] >= 0 else -1.0

    def _told(self, action: Array) -> Array:
        if self._recovery is not None:
            self._recovery.remember(action)
        return action.copy()


def _cost(prediction: Prediction, steering: Array, preferences: Preferences, goal: Array) -> Array:
    """That of `plan_cost`; NaN where the prediction is not finite, so that it is never followed."""
    cost = plan_cost(prediction, steering, preferences, goal)
    return np.where(np.isfinite(prediction.position).all((1, 2)), cost, np.nan)

"""A toy place for drivers: discs on a plain, a robot that does as it is told, and its streams."""

from typing import Any

import numpy as np

from agents.badgr.prediction import Prediction
from agents.badgr.spec import ModelSpec

STEP, BEAMS, FAR = 0.25, 360, 12.0
SPEC = ModelSpec(image=(24, 32, 3))


class Plain:
    """discs: (n, 3) x m, y m, radius m. gps, compass: deviations of the noise m and rad, wander: of the slow
    error of GPS. hits: how often the robot would have come within 0.3 m of a disc, where it stops."""

    def __init__(
        self, discs: Any = (), start: tuple[float, float, float] = (0.0, 0.0, 0.0),
        goal: tuple[float, float] = (12.0, 0.0), *, gps: float = 0.0, wander: float = 0.0,
        compass: float = 0.0, seed: int = 0,
    ) -> None:  # fmt: skip
        self.discs = np.array(discs, float).reshape(-1, 3)
        self.pose, self.goal = np.array(start, float), np.array(goal, float)
        self.rng, self.noise = np.random.default_rng(seed), (gps, wander, compass)
        self.error, self.age, self.fix = wander * self.rng.standard_normal(2), 1.0, np.zeros(2)
        self.track, self.hits, self.spoken = [self.pose.copy()], 0, np.zeros(2)
        self.moved = np.zeros(2)

    def observe(self) -> dict[str, np.ndarray]:
        gps, wander, compass = self.noise
        self.age += STEP
        keep = np.exp(-STEP / 60)
        self.error = keep * self.error + wander * np.sqrt(1 - keep**2) * self.rng.standard_normal(2)
        if self.age >= 1.0:
            self.fix, self.age = self.pose[:2] + self.error + gps * self.rng.standard_normal(2), 0.0
        heading = self.pose[2] + compass * self.rng.standard_normal()
        return {
            "image": np.full(SPEC.image, 90, np.uint8),
            "lidar": self.ranges(),
            "gps": self.fix.copy(),
            "gps_age": np.array([self.age]),
            "gps_velocity": self.moved / STEP,
            "compass": np.array([(heading + np.pi) % (2 * np.pi) - np.pi]),
            "odometry_velocity": self.spoken[::-1].copy(),
            "imu_angular_velocity": np.tile([0.0, 0.0, self.spoken[0]], (25, 1)),
            "imu_linear_acceleration": np.tile([0.0, 0.0, 9.81], (25, 1)),
            "goal": self.goal.copy(),
        }

    def drive(self, action: np.ndarray) -> None:
        before = self.pose[:2].copy()
        self.spoken = np.asarray(action, float)
        turn, speed = self.spoken
        middle = self.pose[2] + turn * STEP / 2
        after = self.pose + STEP * np.array([speed * np.cos(middle), speed * np.sin(middle), turn])
        hit = bool(self.gap(after[:2]) < 0.3)
        if hit:  # it may turn, but not go on
            after[:2] = before
        self.hits += hit
        self.pose, self.moved = after, after[:2] - before
        self.track.append(self.pose.copy())

    def gap(self, places: np.ndarray) -> np.ndarray:
        """(...,) m to the nearest disc."""
        if not len(self.discs):
            return np.full(np.shape(places)[:-1], np.inf)
        away = np.linalg.norm(np.asarray(places)[..., None, :] - self.discs[:, :2], axis=-1)
        return (away - self.discs[:, 2]).min(-1)

    def ranges(self) -> np.ndarray:
        """(BEAMS,) m from 0.1 m ahead of the robot's middle."""
        angles = self.pose[2] + np.arange(BEAMS) * 2 * np.pi / BEAMS
        rays = np.stack([np.cos(angles), np.sin(angles)], -1)
        eye = self.pose[:2] + 0.1 * np.array([np.cos(self.pose[2]), np.sin(self.pose[2])])
        found = np.full(BEAMS, FAR)
        for x, y, radius in self.discs:
            to = np.array([x, y]) - eye
            along = rays @ to
            under = radius**2 - (to @ to - along**2)
            hit = (under > 0) & (along > 0)
            found = np.where(hit, np.minimum(found, along - np.sqrt(np.maximum(under, 0))), found)
        return found.clip(0.1, FAR).astype(np.float32)


class Foresight:
    """Knows the plain: predicts a collision within 0.35 m of a disc."""

    spec = SPEC

    def __init__(self, plain: Plain, margin: float = 0.35) -> None:
        self.plain, self.margin = plain, margin

    def look(self, image: np.ndarray) -> None:
        self.spec.expect_image(image.shape)

    def predict(self, actions: np.ndarray) -> Prediction:
        turned = np.cumsum(actions[..., 0], 1) * STEP
        middle = turned - actions[..., 0] * STEP / 2
        way = actions[..., 1] * STEP
        ahead = np.stack([np.cumsum(way * np.cos(middle), 1), np.cumsum(way * np.sin(middle), 1)], -1)
        c, s = np.cos(self.plain.pose[2]), np.sin(self.plain.pose[2])
        places = self.plain.pose[:2] + ahead @ np.array([[c, s], [-s, c]])
        hit = np.maximum.accumulate(self.plain.gap(places) < self.margin, axis=1).astype(float)
        return Prediction({"collision": hit, "bumpy": self.bumpy(places), "stuck": 0 * hit}, ahead)

    def bumpy(self, places: np.ndarray) -> np.ndarray:
        """Nowhere; tests put their own ground here."""
        return np.zeros(places.shape[:-1])


def drive(agent: Any, plain: Plain, steps: int = 400) -> list[np.ndarray]:
    """Until the agent halts for good; its actions."""
    agent.reset()
    actions: list[np.ndarray] = []
    for _ in range(steps):
        action = agent.act(plain.observe())
        assert action.shape == (2,)
        assert action.dtype == np.float32
        assert np.isfinite(action).all()
        actions.append(action)
        if agent.halt is not None and agent.halt.is_final:
            break
        plain.drive(action)
    return actions

"""The environments we know, and what people and clips need to know about each."""

from __future__ import annotations

import difflib
from dataclasses import dataclass


class UnknownEnvironmentError(ValueError):
    """There is no environment of this name; the message names the nearest ones."""


@dataclass(frozen=True)
class TaskInfo:
    """One environment as a task for preferences.

    `segment_steps` and `display_fps` are separate settings: a clip lasts about 1.5 s of a viewer's
    time, whatever the simulator's clock says (Christiano et al. 2017, appendix A).
    """

    name: str
    """"family:Task", as `envs.make` takes it"""
    segment_steps: int
    """steps of a clip that is shown for comparison"""
    display_fps: int
    """frames per second at which people see a clip; one frame a step"""
    episode_steps: int
    """length of every episode of the preference variant"""
    guide: str
    """one or two sentences that tell a person what to prefer"""

    @property
    def family(self) -> str:
        """ "mujoco", "classic", "pixel", "atari" or "rover"."""
        return self.name.partition(":")[0]

    @property
    def clip_seconds(self) -> float:
        """Viewing time of one clip."""
        return self.segment_steps / self.display_fps


# Atari: 25 agent steps at 15 fps = 1.7 s. Episodes are cut at 3000 steps because Enduro's weather
# changes soon after, and a change of background confuses a reward learnt from few labels.
_ATARI = (25, 15, 3000)

# The rover decides four times a second: 12 decisions are 3 s of driving, shown at twice the speed.
_ROVER = (12, 8, 120)

_TASKS = (
    TaskInfo(
        "mujoco:Hopper",
        60,
        40,
        1000,
        "Prefer the clip in which the one-legged robot stays upright and gets further to the right. "
        "Lying on the ground or falling is worse than standing still.",
    ),
    TaskInfo(
        "mujoco:Walker2d",
        45,
        30,
        1000,
        "Prefer the clip in which the two-legged robot walks or runs further to the right with its body "
        "held high. A fall is worse than standing still.",
    ),
    TaskInfo(
        "mujoco:HalfCheetah",
        30,
        20,
        1000,
        "Prefer the clip in which the cheetah runs faster to the right. How it runs does not matter.",
    ),
    TaskInfo(
        "mujoco:Swimmer",
        60,
        40,
        1000,
        "Prefer the clip in which the snake swims further to the right.",
    ),
    TaskInfo(
        "mujoco:Ant",
        30,
        20,
        1000,
        "Prefer the clip in which the four-legged robot moves further to the right while standing on its "
        "feet. Lying on its back is bad even if it slides along.",
    ),
    TaskInfo(
        "mujoco:Humanoid",
        60,
        40,
        1000,
        "Prefer the clip in which the figure stands upright and walks forward. "
        "Staying on its feet counts for more than speed.",
    ),
    TaskInfo(
        "mujoco:Reacher",
        15,
        10,
        50,
        "Prefer the clip in which the tip of the arm is closer to the red dot, over the whole clip.",
    ),
    TaskInfo(
        "mujoco:InvertedPendulum",
        15,
        10,
        25,
        "Prefer the clip in which the pole on the cart stays closer to upright.",
    ),
    TaskInfo(
        "mujoco:InvertedDoublePendulum",
        15,
        10,
        50,
        "Prefer the clip in which the tip of the two-part pole stays higher and steadier above the cart.",
    ),
    TaskInfo(
        "mujoco:HopperBackflip",
        60,
        40,
        1000,
        "Prefer the clip in which the one-legged robot turns further backwards (head over heels, against "
        "its usual direction) in the air. A landing on the foot is better than one on the body.",
    ),
    TaskInfo(
        "classic:Pendulum",
        30,
        20,
        200,
        "Prefer the clip in which the pole points up for longer. "
        "While it hangs, more swing is better than less.",
    ),
    TaskInfo(
        "pixel:MovingDot",
        20,
        10,
        200,
        "Prefer the clip in which the dot is closer to the centre of the picture, over the whole clip.",
    ),
    TaskInfo(
        "atari:BeamRider",
        *_ATARI,
        "Prefer the clip in which the ship hits more enemies and is hit less. Losing the ship is bad.",
    ),
    TaskInfo(
        "atari:Breakout",
        *_ATARI,
        "Prefer the clip in which more bricks are knocked out and the ball is kept in play. "
        "Losing the ball is bad.",
    ),
    TaskInfo(
        "atari:Enduro",
        *_ATARI,
        "Prefer the clip in which the car passes more others. Crashes and being passed are bad.",
    ),
    TaskInfo(
        "atari:Pong",
        *_ATARI,
        "You are the paddle on the right. Prefer the clip in which it scores more and loses fewer "
        "points; if nobody scores, the one that returns the ball more.",
    ),
    TaskInfo(
        "atari:Qbert",
        *_ATARI,
        "Prefer the clip in which the figure changes the colour of more cubes. "
        "Jumping off the pyramid or being caught is bad.",
    ),
    TaskInfo(
        "atari:Seaquest",
        *_ATARI,
        "Prefer the clip in which the submarine shoots more enemies and picks up more divers. "
        "Being hit or running out of air is bad.",
    ),
    TaskInfo(
        "atari:SpaceInvaders",
        *_ATARI,
        "Prefer the clip in which more invaders are shot. Being hit is bad.",
    ),
    TaskInfo(
        "rover:Urban",
        *_ROVER,
        "Prefer the clip in which the rover gets further along smooth, paved or firm ground. Shaking over "
        "lawn or cobble is worse, running into something is worst.",
    ),
    TaskInfo(
        "rover:OffRoad",
        *_ROVER,
        "Prefer the clip in which the rover gets further over open ground and through thin grass. "
        "Standing still in thick grass or against a tree is worst.",
    ),
    TaskInfo(
        "rover:Indoor",
        *_ROVER,
        "Prefer the clip in which the rover gets further through rooms and doors without touching anything.",
    ),
)

ENVIRONMENTS: tuple[str, ...] = tuple(task.name for task in _TASKS)
"""Every environment's name, ordered by family."""

_BY_NAME = {task.name: task for task in _TASKS}


def task_info(name: str) -> TaskInfo:
    """What is known of an environment. Raises UnknownEnvironmentError with the nearest names."""
    if name not in _BY_NAME:
        near = difflib.get_close_matches(name, ENVIRONMENTS, n=3, cutoff=0.5)
        hint = f"did you mean {' or '.join(near)}?" if near else f"known: {', '.join(ENVIRONMENTS)}"
        raise UnknownEnvironmentError(f"there is no environment {name!r}; {hint}")
    return _BY_NAME[name]

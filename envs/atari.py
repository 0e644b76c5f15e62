"""The seven Atari games of the paper, with its preprocessing (Christiano et al. 2017, appendix A.2).

One step is four frames of one action; a frame is the maximum of the last two, grey, 84x84; four are
stacked. A game starts with 0 to 30 no-ops. No sticky actions.
`atari_batch.AtariBatch` gives the same trajectories, many copies at once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray

from envs.tasks import task_info

FRAME_SKIP = 4
STACK = 4
SIZE = 84
NOOP_MAX = 30
STEP_SECONDS = FRAME_SKIP / 60
STANDARD_STEPS = 27_000
"""steps after which a game of the standard variant is cut: 108 000 frames, half an hour of play"""
FIRE = 1
"""index of FIRE in the action set of each of these games"""
SCREEN = (210, 160)


@dataclass(frozen=True)
class Game:
    """What the emulator's screen does not say by itself."""

    rom: str
    hidden: tuple[tuple[int, int, int, int], ...]
    """(top, bottom, left, right) of the 84x84 frame, blacked out for preference work"""
    end_penalty: float
    """points taken from the true reward at the end of a game: about one scoring event, as -1 is for
    clipped rewards. The paper names the penalty, and Pong as the exception, but not its size."""
    fire_serves: bool = False
    """the game stands still after the start and after each lost life until FIRE is pressed"""


# The score is hidden because a reward model would read it instead of judging the play; BeamRider's
# count of enemies and Enduro's panel (distance, day, cars to pass) would tell the same.
# In SpaceInvaders the mothership flies through the rows of the score and is hidden with it.
GAMES: Mapping[str, Game] = {
    "BeamRider": Game("beam_rider", ((0, 12, 0, 84), (12, 16, 0, 30)), 44.0),
    "Breakout": Game("breakout", ((0, 6, 0, 84),), 1.0, fire_serves=True),
    "Enduro": Game("enduro", ((62, 84, 0, 84),), 1.0),
    "Pong": Game("pong", ((0, 9, 0, 84),), 0.0),
    "Qbert": Game("qbert", ((0, 6, 0, 39),), 25.0),
    "Seaquest": Game("seaquest", ((0, 8, 0, 84),), 20.0),
    "SpaceInvaders": Game("space_invaders", ((0, 8, 0, 84),), 15.0),
}


def make_atari(
    game: str,
    *,
    preferences: bool = False,
    render_mode: str | None = None,
    life_loss_terminates: bool = False,
    episode_steps: int | None = None,
) -> AtariEnv:
    """One game as a gymnasium environment; the arguments are AtariEnv's."""
    return AtariEnv(
        game,
        preferences=preferences,
        render_mode=render_mode,
        life_loss_terminates=life_loss_terminates,
        episode_steps=episode_steps,
    )


def observation_space() -> gymnasium.spaces.Box:
    """Four frames, oldest first; black before the game's first."""
    return gymnasium.spaces.Box(0, 255, (STACK, SIZE, SIZE), np.uint8)


def default_steps(game: str, preferences: bool) -> int:
    """Steps after which an episode is truncated unless the caller says otherwise."""
    return task_info(f"atari:{game}").episode_steps if preferences else STANDARD_STEPS


def hide_score(frames: NDArray[np.uint8], game: Game) -> None:
    """Blacks out, in place, what tells the score. frames: (..., 84, 84)."""
    for top, bottom, left, right in game.hidden:
        frames[..., top:bottom, left:right] = 0


class AtariEnv(gymnasium.Env[NDArray[np.uint8], np.int64]):
    """One game of Atari; observation (4, 84, 84) uint8, the game's minimal set of actions.

    Standard variant: the reward is the sign of the score's change, `info["true_reward"]` the change
    itself, an episode is one game. With `life_loss_terminates` a lost life terminates too and the
    next `reset` goes on with the same game (unless it brings a seed), as stable-baselines3 trains.

    Preference variant (`preferences`): the score is blacked out, the reward is 0 and nothing tells of
    lost lives or of the end of a game: the emulator starts the next one by itself, within the same
    step and without a break in the stack of frames. `info["true_reward"]` is the change of score minus
    the game's penalty when a game ends. Episodes have constant length; the paper's are endless.

    In both, `info["score"]` is the change of score alone; an episode is truncated after
    `episode_steps`; where the game waits for FIRE, the first action of each life is FIRE whatever the
    agent says (stable-baselines3 plays hidden steps for it, which a batch cannot do).
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 15}  # noqa: RUF012

    def __init__(
        self,
        game: str,
        *,
        preferences: bool = False,
        render_mode: str | None = None,
        life_loss_terminates: bool = False,
        episode_steps: int | None = None,
    ) -> None:
        import ale_py

        if render_mode not in (None, "rgb_array"):
            raise ValueError(f"Atari renders as 'rgb_array' or not at all, got render_mode={render_mode!r}")
        self.dt = STEP_SECONDS
        self.observation_space = observation_space()
        self.render_mode = render_mode
        self._game = GAMES[game]
        self._preferences = preferences
        self._life_loss_terminates = life_loss_terminates
        self._episode_steps = episode_steps or default_steps(game, preferences)
        ale_py.ALEInterface.setLoggerMode(ale_py.LoggerMode.Error)
        self._ale = ale_py.ALEInterface()
        self._ale.setFloat("repeat_action_probability", 0.0)
        self._noops = NoopDraw(0)
        self._load_rom()
        self._actions = self._ale.getMinimalActionSet()
        self.action_space = gymnasium.spaces.Discrete(len(self._actions))
        self._screens = np.zeros((2, *SCREEN), np.uint8)
        self._stack = np.zeros((STACK, SIZE, SIZE), np.uint8)
        self._lives = self._steps = 0
        self._serve = self._game_goes_on = False
        self._fresh = True

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.uint8], dict[str, Any]]:
        """Starts a game; after a mere loss of a life goes on with the one that is under way."""
        super().reset(seed=seed)
        if seed is not None or self._fresh:
            self._seed(int(self.np_random.integers(2**31)) if seed is None else seed % 2**31)
        elif self._game_goes_on:
            self._game_goes_on = False
            return self._stack.copy(), {}
        self._stack[:] = 0
        self._steps = 0
        self._start_game()
        return self._stack.copy(), {}

    def step(self, action: Any) -> tuple[NDArray[np.uint8], float, bool, bool, dict[str, Any]]:
        if not self.action_space.contains(action):
            raise ValueError(f"expected an action below {self.action_space.n}, got {action!r}")
        score, over = self._play(FIRE if self._serve else int(action))
        lives = self._ale.lives()
        # Qbert stays at zero lives for some frames before its game is over: only count above zero.
        life_lost = 0 < lives < self._lives and not over
        self._lives = lives
        self._serve = self._game.fire_serves and life_lost
        self._steps += 1
        if self._preferences:
            return self._preference_outcome(score, over)
        self._push_frame()
        limit = self._steps >= self._episode_steps and not over
        terminated = over or (life_lost and self._life_loss_terminates)
        self._game_goes_on = terminated and not over and not limit
        info = {"true_reward": float(score), "score": float(score)}
        return self._stack.copy(), float(np.sign(score)), terminated, limit, info

    def render(self) -> NDArray[np.uint8] | None:
        """The game's own screen in colour, score and all: (210, 160, 3)."""
        return self._ale.getScreenRGB() if self.render_mode == "rgb_array" else None

    def get_state(self) -> dict[str, Any]:
        """Everything needed to go on, bit for bit."""
        return {
            "emulator": np.frombuffer(self._ale.cloneState(include_rng=True).serialize(), np.uint8),
            "screens": self._screens.copy(),
            "stack": self._stack.copy(),
            "noops": self._noops.get_state(),
            "numbers": np.array([self._lives, self._steps, self._serve, self._game_goes_on]),
        }

    def set_state(self, state: Mapping[str, Any]) -> NDArray[np.uint8]:
        """Goes back to a state of `get_state`; returns its observation."""
        import ale_py

        self._ale.restoreState(ale_py.ALEState(np.asarray(state["emulator"], np.uint8).tobytes()))
        self._screens = np.array(state["screens"], np.uint8)
        self._stack = np.array(state["stack"], np.uint8)
        self._noops.set_state(state["noops"])
        self._lives, self._steps = (int(number) for number in state["numbers"][:2])
        self._serve, self._game_goes_on = (bool(number) for number in state["numbers"][2:])
        self._fresh = False
        return self._stack.copy()

    def _preference_outcome(
        self, score: int, over: bool
    ) -> tuple[NDArray[np.uint8], float, bool, bool, dict[str, Any]]:
        true_reward = score - self._game.end_penalty * over
        if over:
            self._start_game()
        else:
            self._push_frame()
        info = {"true_reward": float(true_reward), "score": float(score)}
        return self._stack.copy(), 0.0, False, self._steps >= self._episode_steps, info

    def _load_rom(self) -> None:
        from ale_py import roms

        self._ale.loadROM(roms.get_rom_path(self._game.rom))

    def _seed(self, seed: int) -> None:
        # The emulator itself draws nothing without sticky actions, but what was played leaves traces
        # in it that a new game does not wipe out. Loading takes 0.1 s.
        if not self._fresh:
            self._load_rom()
        self._fresh = False
        self._noops = NoopDraw(seed)

    def _start_game(self) -> None:
        self._ale.reset_game()
        for _ in range(self._noops.draw()):
            self._ale.act(0)
            if self._ale.game_over():
                self._ale.reset_game()
        self._lives = self._ale.lives()
        self._serve = self._game.fire_serves
        self._game_goes_on = False
        self._ale.getScreenGrayscale(self._screens[0])
        self._screens[1] = 0
        self._push_frame()

    def _play(self, action: int) -> tuple[int, bool]:
        """Four frames of one action; returns the change of score and whether the game is over."""
        score = 0
        for frame in range(FRAME_SKIP):
            score += self._ale.act(self._actions[action])
            # A game that ends within the four frames leaves the screens as they are: so do
            # gymnasium's AtariPreprocessing and the native batch.
            if self._ale.game_over():
                return score, True
            if frame >= FRAME_SKIP - 2:
                self._ale.getScreenGrayscale(self._screens[FRAME_SKIP - 1 - frame])
        return score, False

    def _push_frame(self) -> None:
        import cv2

        np.maximum(self._screens[0], self._screens[1], out=self._screens[0])
        self._stack[:-1] = self._stack[1:].copy()
        self._stack[-1] = cv2.resize(self._screens[0], (SIZE, SIZE), interpolation=cv2.INTER_AREA)
        if self._preferences:
            hide_score(self._stack[-1], self._game)


class NoopDraw:
    """Draws 0 to 30 no-ops from the generator of ale_py's native batch, so that games start alike.

    That is std::mt19937 behind libstdc++'s std::uniform_int_distribution, which multiplies a 32-bit
    draw by the range and keeps the high word (Lemire 2019, "Fast random integer generation").
    """

    def __init__(self, seed: int) -> None:
        self._bits = np.random.MT19937()
        self._bits._legacy_seeding(seed)

    def draw(self) -> int:
        bound = NOOP_MAX + 1
        while True:
            product = int(self._bits.random_raw()) * bound
            if product % 2**32 >= 2**32 % bound:
                return product >> 32

    def get_state(self) -> dict[str, Any]:
        state = self._bits.state["state"]
        return {"key": np.array(state["key"]), "position": int(state["pos"])}

    def set_state(self, state: Mapping[str, Any]) -> None:
        key = np.asarray(state["key"], np.uint32)
        self._bits.state = {"bit_generator": "MT19937", "state": {"key": key, "pos": int(state["position"])}}

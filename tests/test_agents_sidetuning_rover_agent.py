"""A side-tuned navigator on the rover: its steps as speeds, what it sees, and when it stands."""

import os
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch", reason="needs the extra 'train'")

from agents.sidetuning.config import SideError
from agents.sidetuning.policy_agent import SideTunedAgent
from agents.sidetuning.rover_agent import NavigatorAgent, NavigatorConfig
from envs.pointnav import FORWARD, LEFT, RIGHT, STOP
from envs.recording import Agent
from envs.rover.camera import Lens
from envs.rover.robot import SimulatedRover
from envs.rover.rovers import RoverConfig

ROOT = Path(__file__).parent.parent
write_navigators = runpy.run_path(str(Path(__file__).with_name("sidetuning_navigators.py")))[
    "write_navigators"
]
EACH = {"stop": STOP, "ahead": FORWARD, "left": LEFT, "right": RIGHT}


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found: Path = write_navigators(tmp_path_factory.mktemp("policies") / "navigator.side", EACH)
    return found


@pytest.fixture
def rover() -> SimulatedRover:
    return SimulatedRover(RoverConfig(layout="indoor", lens=Lens(width=32, height=24), indices=(0,)), 0)


def agent(file: Path, active: str, **options: Any) -> NavigatorAgent:
    policy = SideTunedAgent(file, active, providers=("CPUExecutionProvider",))
    return NavigatorAgent(policy, NavigatorConfig(0.25), **options)


def test_steps_and_turns_become_speeds_and_adapters_change_between_two_of_them(
    file: Path, rover: SimulatedRover
) -> None:
    one: Agent = agent(file, "ahead")
    assert isinstance(one, NavigatorAgent)
    seen = rover.observe()
    assert one.act(seen) == pytest.approx((0.0, 1.0))  # a quarter metre in a quarter of a second
    one.policy.set_adapter("left")
    assert one.act(seen) == pytest.approx((np.deg2rad(40), 0.0))
    with pytest.raises(SideError, match="no adapter 'up': this policy has stop, ahead, left, right"):
        one.policy.set_adapter("up")
    assert one.act(seen) == pytest.approx((np.deg2rad(40), 0.0))
    one.policy.set_adapter("right")
    assert one.act(seen) == pytest.approx((-np.deg2rad(40), 0.0))
    assert one.halt is None


def test_who_says_that_it_is_there_stands_until_the_next_trip(file: Path, rover: SimulatedRover) -> None:
    one = agent(file, "stop")
    assert not one.act(rover.observe()).any()
    assert one.halt is not None
    assert one.halt.is_final
    assert one.halt.words.startswith("the navigator says that it is there")
    one.policy.set_adapter("ahead")
    assert not one.act(rover.observe()).any()
    one.reset()
    assert one.act(rover.observe())[1] > 0


def test_it_sees_the_goal_and_its_trail_as_in_training(
    file: Path, rover: SimulatedRover, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = agent(file, "ahead")
    given: list[dict[str, Any]] = []
    act = one.policy.act
    monkeypatch.setattr(one.policy, "act", lambda seen: (given.append(seen), act(seen))[1])
    for _ in range(6):
        rover.act(one.act(rover.observe()))
    assert given[0]["rgb"].shape == (3, 24, 32)
    assert not given[0]["trail"].any()  # nowhere yet
    assert given[-1]["trail"].sum() > 0
    assert one.leg is not None
    cosine, sine, far, near = given[-1]["goal"]
    assert (cosine * far, sine * far) == pytest.approx(one.leg.goal, rel=1e-4)
    assert near == pytest.approx(np.exp(-far), abs=1e-5)
    # The picture is the camera's own, channels first.
    image = np.asarray(rover.observe()["image"])
    one.act({**rover.observe(), "image": image})
    assert np.array_equal(given[-1]["rgb"], image.transpose(2, 0, 1))


def test_without_a_sensor_it_stands_and_says_why(file: Path, rover: SimulatedRover) -> None:
    one = agent(file, "ahead")
    seen = dict(rover.observe())
    small = {**seen, "image": np.zeros((8, 8, 3), np.uint8)}
    assert not one.act(small).any()
    assert one.halt is not None
    assert "'image' has the size (8, 8, 3), expected (24, 32, 3)" in one.halt.words
    assert not one.act({**seen, "gps_age": np.array([99.0])}).any()
    assert "no GPS fix for 99 s" in one.halt.words
    assert one.act(seen)[1] > 0


def test_policies_of_another_kind_and_of_another_base_are_refused(file: Path, tmp_path: Path) -> None:
    from robot.navigate import load_policies

    other = write_navigators(tmp_path / "other.side", {"garden": FORWARD}, seed=1)
    with pytest.raises(SideError, match=r"other\.side does not go with .*navigator\.side: .*base_sha256"):
        load_policies((file, other))
    also = write_navigators(tmp_path / "also.side", {"office": LEFT})
    assert load_policies((file, also)).adapters == (*EACH, "office")
    policy = SideTunedAgent(file)
    object.__setattr__(policy.policy, "sensors", {"goal": policy.policy.sensors["goal"]})
    with pytest.raises(SideError, match=r"reads goal and gives .*: expected an indoor navigator"):
        NavigatorAgent(policy)
    with pytest.raises(ValueError, match=r"0\.05 to 5 s, got 0"):
        NavigatorConfig(0.0)


def test_it_drives_without_torch_and_simulator(file: Path) -> None:
    code = f"""
import sys
for name in ("torch", "stable_baselines3", "mujoco", "numba"):
    sys.modules[name] = None
from agents.sidetuning.policy_agent import SideTunedAgent
from agents.sidetuning.rover_agent import NavigatorAgent
agent = NavigatorAgent(SideTunedAgent({str(file)!r}, "ahead"))
agent.act({{}})
print(agent.halt.words)
"""
    words = [sys.executable, "-c", code]
    done = subprocess.run(words, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)})
    assert done.returncode == 0, done.stderr
    assert "is missing, there are: none" in done.stdout

"""Our rooms as a simulator of Habitat-Lab: real tasks, measures and data sets, without habitat-sim.

Runs in Habitat's process, on its NumPy. Rooms, camera and moves are `envs.pointnav`'s own.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np

from envs.batch import Array
from envs.habitat_episodes import from_habitat, heading_of, parse_scene, quaternion_of, to_habitat
from envs.habitat_process import EpisodeFileError
from envs.pointnav import FORWARD, LEFT, RADIUS, RIGHT, STRIDE, TURN, PointNav, PointNavConfig
from envs.pointnav_rooms import UNREACHED, distance_at, distances_to, gap_at
from envs.rover.feasible import SIDE

NAME = "SurefootRooms-v0"
_ACTIONS = {1: FORWARD, 2: LEFT, 3: RIGHT}


class Walker(PointNav):
    """One agent that may be put anywhere and sent anywhere."""

    def __init__(self, config: PointNavConfig) -> None:
        super().__init__(config, 1, 0, threads=1)
        self.goal = (0.0, 0.0)
        """m, what the expert goes to"""

    def put(self, index: int, x: float, y: float, heading: float) -> None:
        world = self.room(index).world
        # A rotation in a file is rounded: a trip's own start is meant, bit for bit, where it is this one.
        for start in world.starts:
            if np.allclose(start, (x, y, heading), rtol=0, atol=1e-9):
                x, y, heading = start
        self.trips[0], self.poses[0] = (index, 0), (x, y, heading)

    def seed(self, seed: int) -> None:
        self._generators = self._seeded(seed)

    def move(self, action: int) -> bool:
        """Whether something was in the way."""
        return self._move(0, action)

    def distance_to(self, place: tuple[float, float], goal: tuple[float, float]) -> float:
        """m of the shortest way; infinite where there is none."""
        if math.dist(place, goal) < 1e-3:  # the grid knows no way shorter than to a cell's middle
            return 0.0
        away = float(distance_at(self._field_to(goal), *np.array(place)))
        return away if away < UNREACHED else math.inf

    def stands(self, x: float, y: float) -> bool:
        """Whether the agent has room there."""
        place = self.room(int(self.trips[0, 0])).place
        rows, columns = place.gap.shape
        inside = 0 <= x < columns * SIDE and 0 <= y < rows * SIDE
        return bool(inside and gap_at(place, np.array(x), np.array(y)) >= RADIUS)

    def _field(self, i: int) -> Array:
        return self._field_to(self.goal)

    def _field_to(self, goal: tuple[float, float]) -> Array:
        return distances_to(self.config.split, int(self.trips[0, 0]), goal, self.config.shift)


def register(nav: PointNavConfig) -> None:
    """Makes `habitat.simulator.type=SurefootRooms-v0` known.

    nav: light and success radius; size, field of view and height of the camera are Habitat's configuration's.
    """
    import quaternion
    from gym import spaces
    from habitat.core.registry import registry
    from habitat.core.simulator import AgentState, DepthSensor, RGBSensor, SensorSuite, Simulator

    class Rgb(RGBSensor):
        def _get_observation_space(self, *args: Any, **kwargs: Any) -> Any:
            return spaces.Box(0, 255, (self.config.height, self.config.width, 3), np.uint8)

        def get_observation(self, image: Array, depth: Array) -> Array:
            return np.ascontiguousarray(image.transpose(1, 2, 0))

    class Depth(DepthSensor):
        def __init__(self, config: Any) -> None:
            # Once: at every picture, reading the configuration takes as long as taking the picture.
            self._least, self._most, self._normal = config.min_depth, config.max_depth, config.normalize_depth
            super().__init__(config=config)

        def _get_observation_space(self, *args: Any, **kwargs: Any) -> Any:
            low, high = (0.0, 1.0) if self._normal else (self._least, self._most)
            return spaces.Box(low, high, (self.config.height, self.config.width, 1), np.float32)

        def get_observation(self, image: Array, depth: Array) -> Array:
            seen = np.clip(depth, self._least, self._most)[..., None]
            if self._normal:
                seen = (seen - self._least) / (self._most - self._least)
            return np.asarray(seen, np.float32)

    @registry.register_simulator(name=NAME)
    class Rooms(Simulator):
        def __init__(self, config: Any) -> None:
            self.habitat_config = config
            if not np.allclose((config.forward_step_size, config.turn_angle), (STRIDE, np.rad2deg(TURN))):
                raise ValueError(
                    f"our rooms have steps of {STRIDE} m and turns of {np.rad2deg(TURN):g} degrees, "
                    f"got {config.forward_step_size} and {config.turn_angle}"
                )
            sensors = next(iter(config.agents.values())).sim_sensors
            rgb, depth = sensors.rgb_sensor, sensors.depth_sensor
            if (rgb.width, rgb.height, rgb.hfov) != (depth.width, depth.height, depth.hfov):
                raise ValueError("one camera sees both: rgb and depth need the same width, height and hfov")
            shift = replace(nav.shift, field_of_view=float(rgb.hfov), camera_height=float(rgb.position[1]))
            self.walker = Walker(replace(nav, width=rgb.width, height=rgb.height, shift=shift))
            self._sensor_suite = SensorSuite([Rgb(config=rgb), Depth(config=depth)])
            self.previous_step_collided = False  # a value here: Habitat's measure reads it so

        @property
        def sensor_suite(self) -> Any:
            return self._sensor_suite

        @property
        def action_space(self) -> Any:
            return spaces.Discrete(1 + len(_ACTIONS))

        def reconfigure(self, config: Any, episode: Any = None) -> None:
            self.habitat_config = config
            split, index = parse_scene(config.scene)
            self.walker.config = replace(self.walker.config, split=split)
            agent = next(iter(config.agents.values()))
            start = from_habitat(agent.start_position)
            self.walker.put(index, *start, heading_of(agent.start_rotation))
            if episode is not None:
                self.walker.goal = from_habitat(episode.goals[0].position)
                for what, place in (("start", start), ("goal", self.walker.goal)):
                    if not self.walker.stands(*place):
                        raise EpisodeFileError(
                            f"episode {episode.episode_id}: there is no room at its {what} ({place[0]:.2f}, "
                            f"{place[1]:.2f}) m in {config.scene}: is the file of another surefoot?"
                        )
            self.previous_step_collided = False

        def reset(self) -> Any:
            return self._observe()

        def step(self, action: Any, *args: Any, **kwargs: Any) -> Any:
            # None after "stop": only looks.
            self.previous_step_collided = action is not None and self.walker.move(_ACTIONS[int(action)])
            return self._observe()

        def step_physics(self, seconds: float) -> None:
            """Nothing moves by itself."""

        def seed(self, seed: int) -> None:
            self.walker.seed(seed)

        def close(self, destroy: bool = True) -> None:
            self.walker.close()

        def render(self, mode: str = "rgb") -> Array:
            image: Array = self._observe()[mode]
            return image

        def get_agent_state(self, agent_id: int = 0) -> Any:
            x, y, heading = self.walker.poses[0]
            qx, qy, qz, qw = quaternion_of(heading)
            return AgentState(np.array(to_habitat(x, y), np.float32), quaternion.quaternion(qw, qx, qy, qz))

        def set_agent_state(self, position: Any, rotation: Any, agent_id: int = 0) -> bool:
            index = int(self.walker.trips[0, 0])
            self.walker.put(index, *from_habitat(position), heading_of(rotation))
            return True

        def geodesic_distance(self, position_a: Any, position_b: Any, episode: Any = None) -> float:
            goals = [position_b] if np.ndim(position_b[0]) == 0 else position_b
            return min(self.walker.distance_to(from_habitat(position_a), from_habitat(g)) for g in goals)

        def is_navigable(self, point: Any) -> bool:
            return self.walker.stands(*from_habitat(point))

        def _observe(self) -> Any:
            image, depth = self.walker.look(0)
            return self._sensor_suite.get_observations(image, depth)

"""Building a Habitat-Lab environment; runs in Habitat's process, on Habitat's NumPy.

habitat-lab 0.3.3 from PyPI imports habitat-sim in four places without asking whether it is there. Where it is
not, the four names are put in before: none of them is used by PointNav over another simulator.
"""

from __future__ import annotations

import importlib.util
import json
import math
import sys
import zlib
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from envs.habitat_process import FIX, EpisodeFileError, HabitatMissingError

LAB = "0.3.320260507"
"""the first that runs on Python 3.11 and newer, and the last that its makers announce"""
OLDEST_NUMPY, FIRST_WRONG_NUMPY = (1, 26), (2, 4)
_MEASURES = ("soft_spl", "collisions")


def check_installation() -> dict[str, str]:
    """Versions by name. Raises HabitatMissingError with the command that puts it right."""
    try:
        found = {name: version(name) for name in ("habitat-lab", "numpy")}
    except PackageNotFoundError as error:
        raise HabitatMissingError(f"{sys.executable} has no {error.name}: {FIX}") from None
    numbers = tuple(int(part) for part in np.__version__.split(".")[:2])
    if not OLDEST_NUMPY <= numbers < FIRST_WRONG_NUMPY:
        raise HabitatMissingError(
            f"{sys.executable} has NumPy {np.__version__}; Habitat needs 1.26 to 2.3: {FIX}"
        )
    if found["habitat-lab"] != LAB:
        raise HabitatMissingError(
            f"{sys.executable} has habitat-lab {found['habitat-lab']}, expected {LAB}: {FIX}"
        )
    return found


def import_habitat() -> Any:
    """The package. Raises HabitatMissingError where something in its environment does not fit."""
    check_installation()
    if importlib.util.find_spec("habitat_sim") is None:
        _stand_in("habitat.sims.habitat_simulator.object_state_machine", ObjectStateMachine=object)
        _stand_in("habitat.tasks.rearrange", _try_register_rearrange_task=lambda: None)
        _stand_in("habitat.tasks.rearrange.rearrange_sim", add_perf_timing_func=lambda *_: lambda work: work)
        _stand_in("habitat.core.batch_rendering.env_batch_renderer", EnvBatchRenderer=object)
    try:
        import habitat
        import habitat.datasets
    except (ImportError, AttributeError, ValueError) as error:  # binaries of another NumPy raise any of them
        raise HabitatMissingError(
            f"{sys.executable} cannot import habitat ({type(error).__name__}: {error}); NumPy is "
            f"{np.__version__}: {FIX}"
        ) from error
    return habitat


def build(settings: dict[str, Any]) -> tuple[Any, list[Any]]:
    """A habitat.Env, and its episodes in the order of the file.

    settings: `HabitatConfig.settings()`. Raises EpisodeFileError, HabitatMissingError.
    """
    habitat = import_habitat()
    if settings["scenes"]:
        _needs_simulator()
        no_precomputed_light(Path.cwd())
    else:
        from envs.habitat_rooms import register

        register(rooms(settings))
    config = configuration(settings)
    data = load_episodes(config.habitat.dataset, settings["episodes"])
    episodes = list(data.episodes)  # the environment's own iterator shuffles the other list
    return habitat.Env(config, data), episodes


def configuration(settings: dict[str, Any]) -> Any:
    """Habitat-Lab's own PointNav configuration with ours laid over it."""
    from habitat.config.default import get_config

    nav = settings["nav"]
    camera = f"[0.0,{nav['shift']['camera_height']},0.0]"
    # The move that arrives and the STOP that follows by itself are two steps of Habitat's.
    steps = nav["steps"] + (not nav["stop"])
    overrides = [
        "habitat.environment.iterator_options.shuffle=False",
        f"habitat.environment.max_episode_steps={steps}",
        f"habitat.task.measurements.success.success_distance={nav['success_radius']}",
        f"habitat.dataset.data_path='{settings['episodes']}'",
        f"habitat.dataset.scenes_dir='{settings['scenes']}'",
    ]
    if not settings["scenes"]:
        overrides.append("habitat.simulator.type=SurefootRooms-v0")
    overrides += [
        f"habitat.simulator.agents.main_agent.sim_sensors.{sensor}_sensor.{name}={value}"
        for sensor in ("rgb", "depth")
        for name, value in (
            ("width", nav["width"]),
            ("height", nav["height"]),
            ("hfov", round(nav["shift"]["field_of_view"])),
            ("position", camera),
        )
    ]
    for name in _MEASURES:
        overrides.append(f"+habitat/task/measurements@habitat.task.measurements.{name}={name}")
    for name in settings["sensors"]:
        overrides.append(f"+habitat/task/lab_sensors@habitat.task.lab_sensors.{name}_sensor={name}_sensor")
    return get_config("benchmark/nav/pointnav/pointnav_habitat_test.yaml", overrides=overrides)


def rooms(settings: dict[str, Any]) -> Any:
    """The PointNavConfig in them."""
    from envs.pointnav import PointNavConfig
    from envs.pointnav_rooms import Shift

    nav = settings["nav"]
    return PointNavConfig(**{**nav, "indices": tuple(nav["indices"]), "shift": Shift(**nav["shift"])})


def load_episodes(config: Any, path: str) -> Any:
    """Habitat-Lab's data set of a file. Raises EpisodeFileError, which names the file and what is wrong."""
    from habitat.datasets import make_dataset

    try:
        data = make_dataset("PointNav-v1", config=config)
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise EpisodeFileError(f"{path} is no whole gzip file ({error}): fetch or write it again") from error
    except json.JSONDecodeError as error:
        raise EpisodeFileError(f"{path} holds no JSON ({error}): fetch or write it again") from error
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise EpisodeFileError(
            f"{path} is no PointNav-v1 data set ({type(error).__name__}: {error}): expected "
            '{"episodes": [{"episode_id", "scene_id", "start_position", "start_rotation", "goals"}, ...]}'
        ) from error
    if not data.episodes:
        raise EpisodeFileError(f"{path} has no episodes")
    for k, episode in enumerate(data.episodes):
        if wrong := _wrong(episode):
            raise EpisodeFileError(f"{path}: episode {k} ({episode.episode_id}): {wrong}")
    return data


def _wrong(episode: Any) -> str:
    if not _numbers(episode.start_position, 3):
        return f"expected a start_position of 3 numbers, got {episode.start_position}"
    turned = episode.start_rotation
    if not _numbers(turned, 4) or not math.isclose(sum(x * x for x in turned), 1.0, abs_tol=1e-3):
        return f"expected a start_rotation (x, y, z, w) of length 1, got {turned}"
    if not episode.goals:
        return "it has no goals"
    if not all(_numbers(goal.position, 3) for goal in episode.goals):
        return f"expected goals with a position of 3 numbers, got {[goal.position for goal in episode.goals]}"
    if "surefoot/indoor" in episode.scene_id:
        from envs.habitat_episodes import parse_scene

        try:
            parse_scene(episode.scene_id)
        except ValueError as error:
            return str(error)
    return ""


def _numbers(values: Any, count: int) -> bool:
    return (
        isinstance(values, (list, tuple))
        and len(values) == count
        and all(isinstance(x, (int, float)) and math.isfinite(x) for x in values)
    )


def _needs_simulator() -> None:
    if importlib.util.find_spec("habitat_sim") is None:
        raise HabitatMissingError(
            f"{sys.executable} has no habitat_sim, which draws Habitat's own scenes. PyPI has none: build it "
            "as its README says, and name that Python in SUREFOOT_HABITAT_PYTHON. Our rooms need none"
        )


def no_precomputed_light(folder: Path) -> None:
    """Half a minute less at every start: habitat-sim reads this from its working folder."""
    (folder / "data").mkdir(exist_ok=True)
    light = {"enable_ibl": False, "ibl_envmap_filename": "none"}
    (folder / "data" / "default.pbr_config.json").write_text(json.dumps(light))


def _stand_in(name: str, **content: Any) -> None:
    module = ModuleType(name)
    module.__dict__.update(content)
    sys.modules[name] = module

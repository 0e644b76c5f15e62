"""Datasets to and from Minari, the exchange format of offline reinforcement learning.

Every stream goes over without loss: observations and actions where Minari wants them, `Episode.info`
into its infos with the lengths it has here, (T, ...) or (T+1, ...), and the times in seconds as
infos["time"].
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from types import ModuleType
from typing import Any

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from envs.dataset import EpisodeDataset
from envs.episode import Episode
from envs.spaces import PLAIN, Space, flatten_names, flatten_observation, nest_names

Array = NDArray[Any]

TIME = "time"


def export_minari(
    dataset: EpisodeDataset,
    minari_id: str,
    env_name: str = "",
    *,
    observation_space: Space | None = None,
    action_space: Space | None = None,
    description: str = "",
) -> Any:
    """Writes all episodes as a new Minari dataset and returns it.

    minari_id: "namespace/name-v0". env_name: such as "mujoco:Hopper", kept in the description.
    Spaces not given are those saved in the dataset, else they are read off the first episode.
    Raises ValueError for an empty dataset, an episode without steps, or an id that exists.
    """
    minari = _import_minari()
    if not len(dataset):
        raise ValueError(f"{dataset.path} holds no episode: there is nothing to export")
    if minari_id in minari.list_local_datasets():
        raise ValueError(f"the Minari dataset {minari_id!r} exists already: give another id or version")
    first = dataset[dataset.ids[0]]
    source = f"Recorded in {env_name} by surefoot." if env_name else "Recorded by surefoot."
    buffers = [_to_buffer(minari, index, dataset[id]) for index, id in enumerate(dataset.ids)]
    with warnings.catch_warnings():
        # Minari asks for authors, links and a registered gymnasium environment: ours are not registered.
        warnings.filterwarnings("ignore", ".*is set to None|env_spec is None", UserWarning)
        return minari.create_dataset_from_buffers(
            dataset_id=minari_id,
            buffer=buffers,
            observation_space=observation_space
            or dataset.spec.observation_space
            or _guess_observation_space(first),
            action_space=action_space or dataset.spec.action_space or _guess_action_space(dataset),
            description=f"{description} {source}".strip(),
            # Minari's default is JPEG, which changes the pixels.
            jpeg_encoding=False,
        )


def import_minari(minari_dataset: Any, dataset: EpisodeDataset, step_seconds: float = 1.0) -> list[str]:
    """Appends all episodes of a Minari dataset (or of the local one with this id); returns their ids here.

    step_seconds: time of a step where the dataset has no infos["time"].
    Infos that are not numbers, or not as long as the episode, are left out.
    Raises TypeError for tuple observations or actions that are dicts.
    """
    if isinstance(minari_dataset, str):
        minari_dataset = _import_minari().load_dataset(minari_dataset)
    return [
        dataset.append(_from_minari(episode, step_seconds)) for episode in minari_dataset.iterate_episodes()
    ]


def _to_buffer(minari: ModuleType, index: int, episode: Episode) -> Any:
    if not len(episode):
        raise ValueError(f"episode {index} has no steps: Minari cannot hold it")
    if TIME in episode.info:
        raise ValueError(f"episode {index} has an info stream {TIME!r}: that name is taken by Episode.times")
    last = np.arange(len(episode)) == len(episode) - 1
    plain = list(episode.observations) == [PLAIN]
    return minari.data_collector.EpisodeBuffer(
        id=index,
        observations=episode.observations[PLAIN] if plain else nest_names(episode.observations),
        actions=episode.actions,
        rewards=episode.rewards,
        terminations=last & episode.terminated,
        truncations=last & episode.truncated,
        infos=nest_names({**episode.info, TIME: episode.times}),
    )


def _from_minari(episode: Any, step_seconds: float) -> Episode:
    steps = len(episode.rewards)
    infos = {name: np.asarray(stream) for name, stream in flatten_names(episode.infos or {}).items()}
    times = infos.pop(TIME, None)
    if times is None or times.shape != (steps + 1,):
        times = np.arange(steps + 1) * step_seconds
    if isinstance(episode.actions, Mapping | tuple):
        raise TypeError(
            "actions that are dicts or tuples have no place in an Episode: flatten the action space"
        )
    return Episode(
        observations=flatten_observation(episode.observations),
        actions=np.asarray(episode.actions),
        rewards=np.asarray(episode.rewards),
        times=times,
        terminated=bool(episode.terminations[-1]),
        truncated=bool(episode.truncations[-1]),
        info={name: stream for name, stream in infos.items() if _fits(stream, steps)},
    )


def _fits(stream: Array, steps: int) -> bool:
    return stream.dtype.kind in "biufc" and stream.ndim > 0 and len(stream) in (steps, steps + 1)


def _guess_observation_space(episode: Episode) -> Space:
    if list(episode.observations) == [PLAIN]:
        return _box(episode.observations[PLAIN])

    def nested(tree: Mapping[str, Any]) -> Space:
        return spaces.Dict(
            {name: nested(part) if isinstance(part, Mapping) else _box(part) for name, part in tree.items()}
        )

    return nested(nest_names(episode.observations))


def _guess_action_space(dataset: EpisodeDataset) -> Space:
    actions = dataset[dataset.ids[0]].actions
    if actions.ndim == 1 and actions.dtype.kind in "iu":
        return spaces.Discrete(max(int(dataset[id].actions.max()) for id in dataset) + 1)
    return _box(actions)


def _box(stream: Array) -> Space:
    """As wide as the dtype allows."""
    shape, dtype = stream.shape[1:], stream.dtype
    if dtype.kind == "f":
        return spaces.Box(-np.inf, np.inf, shape, dtype.type)
    if dtype.kind == "b":
        return spaces.MultiBinary(list(shape))
    limits = np.iinfo(dtype)
    return spaces.Box(limits.min, limits.max, shape, dtype.type)


def _import_minari() -> ModuleType:
    try:
        import h5py  # noqa: F401  # without it minari only fails later
        import minari
    except ImportError as error:
        raise ImportError(
            'Minari is not installed: pip install "surefoot[minari]", on Python 3.11 or newer '
            "(the last Minari for 3.10 changes images)"
        ) from error
    return minari

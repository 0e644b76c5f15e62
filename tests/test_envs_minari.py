"""Minari and back: nothing changes on the way."""

import subprocess
import sys
from pathlib import Path

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces

from envs.dataset import EpisodeDataset
from envs.episode import Episode
from envs.minari import export_minari, import_minari
from envs.recording import RandomAgent, RecordEpisodes, rollout

if sys.version_info < (3, 11):
    pytest.skip("the last Minari for Python 3.10 changes images", allow_module_level=True)
import minari


@pytest.fixture(autouse=True)
def minari_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "minari"))


def dict_episode(number: int, steps: int, terminated: bool) -> Episode:
    rng = np.random.default_rng(number)
    return Episode(
        observations={
            "camera": rng.integers(
                0, 256, (steps + 1, 8, 8, 3), dtype=np.uint8
            ),  # an image: JPEG would change it
            "body/pose": rng.normal(size=(steps + 1, 3)),
            "body/wheel/speed": rng.normal(size=(steps + 1, 2)).astype(np.float32),
        },
        actions=rng.normal(size=(steps, 2)).astype(np.float32),
        rewards=rng.normal(size=steps).astype(np.float32),
        times=np.cumsum(rng.uniform(0.01, 0.1, steps + 1)),
        terminated=terminated,
        truncated=not terminated,
        info={
            "true_reward": rng.normal(size=steps),
            "physics": rng.normal(size=(steps + 1, 4)),
            "a/b": np.arange(steps),
        },
    )


def round_trip(tmp_path: Path, dataset: EpisodeDataset, name: str, spaces_saved: bool) -> None:
    exported = export_minari(dataset, name, "mujoco:Hopper")
    assert exported.total_episodes == len(dataset)
    assert exported.total_steps == sum(dataset.steps(id) for id in dataset)
    spec = dataset.spec if spaces_saved else None
    with EpisodeDataset(
        tmp_path / "back",
        observation_space=spec and exported.observation_space,
        action_space=spec and exported.action_space,
    ) as back:
        # The id is a digest of every value, dtype, shape, name and flag: equal ids are equal episodes.
        assert import_minari(name, back) == dataset.ids
        assert back.verify() == []
        if spec:
            assert back.spec == dataset.spec


def test_dict_observations_info_times_and_endings_survive(tmp_path):
    with EpisodeDataset(tmp_path / "a") as dataset:
        for number in range(4):
            dataset.append(dict_episode(number, steps=3 + number, terminated=number % 2 == 0))
        round_trip(tmp_path, dataset, "test/dicts-v0", spaces_saved=False)


def test_a_recording_of_a_real_environment_survives(tmp_path):
    env = gymnasium.make("Pendulum-v1", max_episode_steps=20)
    with EpisodeDataset(
        tmp_path / "a", observation_space=env.observation_space, action_space=env.action_space
    ) as dataset:
        rollout(
            RecordEpisodes(env, dataset), RandomAgent(env.action_space, np.random.default_rng(0)), 3, seed=0
        )
        round_trip(tmp_path, dataset, "pendulum/random-v0", spaces_saved=True)
    loaded = minari.load_dataset("pendulum/random-v0")
    assert loaded.observation_space == env.observation_space
    assert "Recorded in mujoco:Hopper by surefoot." in loaded.storage.metadata["description"]
    assert loaded[0].infos["time"][1] == 0.05


def test_discrete_actions_and_flat_observations_survive(tmp_path):
    episodes = [
        Episode(
            {"observation": np.arange(n + 1.0)[:, None]}, np.arange(n) % 4, np.zeros(n), np.arange(n + 1.0)
        )
        for n in (5, 7)
    ]
    with EpisodeDataset(tmp_path / "a") as dataset:
        for episode in episodes:
            dataset.append(episode)
        round_trip(tmp_path, dataset, "discrete-v0", spaces_saved=False)
    assert minari.load_dataset("discrete-v0").action_space == spaces.Discrete(4)


def test_a_dataset_that_minari_itself_made_is_taken(tmp_path):
    buffer = minari.data_collector.EpisodeBuffer(
        observations=np.zeros((4, 2), np.float32),
        actions=np.array([0, 1, 0]),
        rewards=[1.0, 2.0, 3.0],
        terminations=[False, False, True],
        truncations=[False] * 3,
        infos={"speed": np.arange(4.0), "name": ["a", "b", "c", "d"], "too_long": np.arange(9)},
    )
    with pytest.warns(UserWarning, match="is set to None|env_spec is None"):
        made = minari.create_dataset_from_buffers(
            "other/made-v0",
            [buffer],
            observation_space=spaces.Box(-1, 1, (2,)),
            action_space=spaces.Discrete(2),
        )
    with EpisodeDataset(tmp_path / "a") as dataset:
        episode = dataset[import_minari(made, dataset, step_seconds=0.5)[0]]
    np.testing.assert_array_equal(episode.times, [0, 0.5, 1, 1.5])
    np.testing.assert_array_equal(episode.rewards, [1, 2, 3])
    assert list(episode.info) == ["speed"]
    assert (episode.terminated, episode.truncated) == (True, False)


def test_what_minari_cannot_hold_is_refused(tmp_path):
    with EpisodeDataset(tmp_path / "a") as dataset:
        with pytest.raises(ValueError, match="holds no episode"):
            export_minari(dataset, "x-v0")
        dataset.append(dict_episode(0, 3, True))
        export_minari(dataset, "x-v0")
        with pytest.raises(ValueError, match="'x-v0' exists already"):
            export_minari(dataset, "x-v0")
        dataset.append(Episode({"observation": np.zeros((1, 2))}, np.zeros((0, 1)), np.zeros(0), np.zeros(1)))
        with pytest.raises(ValueError, match="episode 1 has no steps"):
            export_minari(dataset, "y-v0")


def test_without_minari_the_error_says_what_to_install(tmp_path):
    code = """
import sys
sys.modules["minari"] = None  # Python's own way of saying: not installed
from envs.dataset import EpisodeDataset
from envs.minari import export_minari
export_minari(EpisodeDataset(sys.argv[1]), "x-v0")
"""
    root = Path(__file__).parent.parent
    process = subprocess.run([sys.executable, "-c", code, tmp_path], cwd=root, capture_output=True, text=True)
    assert 'pip install "surefoot[minari]"' in process.stderr.splitlines()[-1]

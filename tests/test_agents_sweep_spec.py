"""What a sweep varies, from a file and from options; its trials and their names."""

from pathlib import Path

import pytest

from agents.configs import ConfigError
from agents.sweep.command import assignments, default_folder, sweep_config
from agents.sweep.spec import read_sweep, sweep_from_json
from agents.sweep.trials import Trial, trials

LOG = {"x": {"low": 0, "high": 1, "log": True}}
YAML = """
commands:
  - train rl
  - train preferences --labels 300
envs: [mujoco:Hopper, classic:Pendulum]
seeds: 3
grid:
  --algorithm: ppo
  learner.hidden: [[64, 64], [32]]
"""


def test_a_file_makes_every_combination_once(tmp_path: Path) -> None:
    file = tmp_path / "hopper.yaml"
    file.write_text(YAML)
    found = trials(read_sweep(file))
    assert len(found) == 2 * 2 * 3 * 2 == len({trial.key for trial in found})
    assert [trial.seed for trial in found] == [0] * 8 + [1] * 8 + [2] * 8  # every point has a seed early
    assert found[0].words == [
        "train", "rl", "--env", "mujoco:Hopper", "--algorithm", "ppo", "--set", "learner.hidden=[64, 64]",
        "--seed", "0",
    ]  # fmt: skip
    assert default_folder(file, read_sweep(file)) == Path("runs/sweeps/hopper")


def test_the_name_of_a_trial_is_its_content() -> None:
    one = Trial("train rl  --steps 10", "a:B", 1, {"x": 1, "y": 2})
    assert one.key == Trial("train rl --steps 10", "a:B", 1, {"y": 2, "x": 1}).key
    others = [
        Trial("train rl --steps 11", "a:B", 1, {"x": 1, "y": 2}),
        Trial("train rl --steps 10", "a:C", 1, {"x": 1, "y": 2}),
        Trial("train rl --steps 10", "a:B", 2, {"x": 1, "y": 2}),
        Trial("train rl --steps 10", "a:B", 1, {"x": 1, "y": 3}),
    ]
    assert len({one.key, *(other.key for other in others)}) == 5


def test_options_make_the_same_sweep_as_a_file(tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    file.write_text(
        "commands: [train rl --env a:B]\nseeds: [3, 7]\ngrid: {x.y: [0.001, 0.0003], --algorithm: [ppo]}\n"
        "search: {parameters: {rate: {low: 1e-5, high: 1e-2, log: true}, n: {low: 2, high: 12}, "
        "kind: {choices: [a, b]}}, trials: 7, metric: score}\n"
    )
    options = sweep_config(
        None,
        commands=["train rl --env a:B"],
        seeds="3,7",
        grid=["x.y=1e-3,3e-4", "--algorithm=ppo"],
        search=["rate=1e-5..1e-2:log", "n=2..12", "kind=a,b"],
        options={"trials": 7, "metric": "score", "watch": None},
    )
    assert options == read_sweep(file)
    assert default_folder(None, options) == Path("runs/sweeps/train-rl-B")
    more = sweep_config(file, seeds="2", grid=["x.y=5"])
    assert (more.seeds, more.grid["x.y"], more.search) == ((0, 1), (5,), options.search)
    assert assignments(["mem_gb=8", "slurm_partition=gpu"]) == {"mem_gb": 8, "slurm_partition": "gpu"}


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"comands": ["train rl"]}, "unknown key 'comands', did you mean 'commands'"),
        ({"commands": ["demo"]}, "a sweep runs train, collect, evaluate, got 'demo'"),
        ({"commands": ["train rl --seed 3"]}, "--seed of 'train rl --seed 3' are for the sweep to give"),
        ({"commands": ["train rl"], "seeds": [1, 1]}, "hold one twice"),
        ({"commands": ["train rl"], "grid": {"x": []}}, "the grid has no value for x"),
        ({"commands": ["train rl"], "search": {"parameters": {"x": {"low": 2, "high": 1}}}}, "below high"),
        ({"commands": ["train rl"], "search": {"parameters": LOG}}, "a logarithmic range begins above 0"),
        ({"commands": ["train rl"], "search": {"parameters": {}}}, "a search needs parameters"),
    ],
)  # fmt: skip
def test_what_makes_no_sweep_is_said(content: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        sweep_from_json(content, "sweep.yaml")


def test_options_that_make_no_sweep_are_said(tmp_path: Path) -> None:
    for options, words in (
        ({}, "a sweep needs a file, or --command"),
        ({"commands": ["train rl"], "seeds": "x"}, "seeds are a number"),
        ({"commands": ["train rl"], "grid": ["x"]}, "written KEY=VALUES, got 'x'"),
        ({"commands": ["train rl"], "search": ["x=1..2:exp"]}, "LOW..HIGH or LOW..HIGH:log"),
        ({"commands": ["train rl"], "options": {"trials": 3}}, "trials are of a search"),
    ):
        with pytest.raises(ConfigError, match=words):
            sweep_config(None, **options)  # type: ignore[arg-type]
    (tmp_path / "list.yaml").write_text("- a\n")
    with pytest.raises(ConfigError, match="expected keys such as commands and seeds"):
        read_sweep(tmp_path / "list.yaml")
    with pytest.raises(ConfigError, match="cannot be read"):
        read_sweep(tmp_path / "absent.yaml")

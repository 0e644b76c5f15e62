from dataclasses import FrozenInstanceError, fields
from pathlib import Path

import pytest
import yaml

from robot.config import Camera, ConfigError, Limits, Rates, RobotConfig, Safety, Timeouts

SHIPPED = Path(__file__).parent.parent / "launch" / "config" / "robot.yaml"


def test_the_shipped_file_names_every_parameter_with_its_default() -> None:
    written = yaml.safe_load(SHIPPED.read_text())["/**"]["ros__parameters"]
    flat = {"name": written.pop("name")}
    for section, values in written.items():
        flat.update({f"{section}.{key}": value for key, value in values.items()})
    defaults = dict(RobotConfig().parameters())
    assert flat == defaults
    # ROS refuses `speed: 2` for a double, so the types must agree, not only the values.
    assert {name: type(value) for name, value in flat.items()} == {
        name: type(value) for name, value in defaults.items()
    }
    assert RobotConfig.from_yaml(SHIPPED) == RobotConfig()


def test_every_number_has_a_unit_and_a_range_around_its_default() -> None:
    for section in (Rates, Limits, Timeouts, Camera, Safety):
        for entry in fields(section):
            if not isinstance(entry.default, bool | str):
                assert entry.metadata["unit"]
                assert entry.metadata["low"] <= entry.default <= entry.metadata["high"]


@pytest.mark.parametrize("values", [{"limits": {"speed": 1}}, {"limits.speed": 1}])
def test_nested_and_dotted_names_mean_the_same(values: dict[str, object]) -> None:
    config = RobotConfig.from_mapping(values)
    assert config.limits == Limits(speed=1.0)
    assert isinstance(config.limits.speed, float)
    assert config.timeouts == Timeouts()


def test_parameters_round_trip() -> None:
    config = RobotConfig.from_mapping(
        {"name": "jackal-2", "safety": {"use_lidar": False}, "limits.speed": 0.8}
    )
    assert RobotConfig.from_mapping(dict(config.parameters())) == config


@pytest.mark.parametrize(
    ("values", "nearest"),
    [
        ({"limits": {"spead": 1.0}}, "limits.speed"),
        ({"limit": {"speed": 1.0}}, "unknown key limit"),
        ({"speed": 1.0}, "limits.speed"),
        ({"rates": {"camera_width": 1}}, "unknown key rates.camera_width"),
        ({"timeouts.tilt": 0.5}, "safety.tilt"),
        ({7: 1}, "unknown key 7"),
    ],
)
def test_unknown_keys_name_the_nearest(values: dict[str, object], nearest: str) -> None:
    with pytest.raises(ConfigError, match=nearest):
        RobotConfig.from_mapping(values)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"limits": {"speed": "fast"}}, r"limits\.speed must be a number \(m/s\), got 'fast'"),
        ({"limits": {"speed": True}}, r"limits\.speed must be a number"),
        ({"limits": {"speed": float("nan")}}, r"limits\.speed must lie between 0\.05 and 5 m/s, got nan"),
        ({"limits": {"speed": 20}}, r"limits\.speed must lie between 0\.05 and 5 m/s, got 20"),
        ({"limits": {"braking": 0.0}}, r"limits\.braking must lie between .* m/s\^2"),
        ({"safety": {"tilt": 35}}, r"safety\.tilt must lie between 0\.1 and 1\.4 rad, got 35"),
        ({"timeouts": {"camera": -1.0}}, r"timeouts\.camera must lie between"),
        ({"camera": {"width": 640.0}}, r"camera\.width must be a whole number \(pixels\), got 640\.0"),
        ({"safety": {"use_lidar": 1}}, r"safety\.use_lidar must be true or false, got 1"),
        ({"topics": {"camera": ""}}, r"topics\.camera must be text"),
        ({"name": 3}, "name must be text"),
        ({"limits": 3}, "limits must be a table"),
        ({"limits": {"speed": 1.0}, "limits.speed": 1.0}, "given twice"),
        ({"timeouts": {"planner": 0.1}, "rates": {"guard": 10.0}}, "less than two periods of rates.guard"),
        ({"timeouts": {"camera": 0.3}, "rates": {"camera": 5.0}}, "less than two periods of rates.camera"),
    ],
)
def test_wrong_types_and_ranges_are_refused(values: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        RobotConfig.from_mapping(values)


def test_a_section_of_the_wrong_kind_is_refused() -> None:
    with pytest.raises(ConfigError, match="limits must be a Limits"):
        RobotConfig(limits=Timeouts())  # type: ignore[arg-type]  # that is the point


def test_it_cannot_be_changed_by_accident() -> None:
    with pytest.raises(FrozenInstanceError):
        RobotConfig().limits.speed = 5.0  # type: ignore[misc]  # that is the point


@pytest.mark.parametrize("text", ["", "limits:\n", "/**:\n  ros__parameters:\n"])
def test_an_empty_file_gives_the_defaults(tmp_path: Path, text: str) -> None:
    path = tmp_path / "robot.yaml"
    path.write_text(text)
    assert RobotConfig.from_yaml(path) == RobotConfig()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("limits:\n  spead: 1.0\n", "did you mean limits.speed"),
        ("- speed\n", "expected a table"),
        ("limits: {speed: 1.0\n", "expected ',' or '}'"),
        ("a:\n  ros__parameters: {}\nb:\n  ros__parameters: {}\n", "expected one node"),
        ("!!python/object/apply:os.getcwd []\n", "could not determine a constructor"),
        ("\x00", "special characters"),
    ],
)
def test_errors_in_a_file_begin_with_its_name(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "robot.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=message) as caught:
        RobotConfig.from_yaml(path)
    assert str(caught.value).startswith(str(path))


def test_a_missing_file_says_so(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        RobotConfig.from_yaml(tmp_path / "absent.yaml")

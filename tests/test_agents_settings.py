from dataclasses import dataclass, field

import pytest

from agents.configs import ConfigError
from agents.settings import with_settings


@dataclass(frozen=True)
class Inner:
    rate: float = 0.5
    hidden: tuple[int, ...] = (64, 64)


@dataclass(frozen=True)
class Outer:
    name: str = "a"
    inner: Inner = field(default_factory=Inner)


def test_settings_reach_nested_values_and_keep_their_types():
    changed = with_settings(Outer(), ["inner.rate=0.25", "inner.hidden=[8, 4]", "name=b"])
    assert changed == Outer("b", Inner(0.25, (8, 4)))


def test_an_unknown_setting_names_the_nearest():
    with pytest.raises(ConfigError, match=r"inner\.rtae.*nearest: rate"):
        with_settings(Outer(), ["inner.rtae=1"])


@pytest.mark.parametrize("setting", ["inner.rate=fast", "inner.hidden=3", "name"])
def test_a_value_of_the_wrong_type_is_refused(setting):
    with pytest.raises(ConfigError):
        with_settings(Outer(), [setting])

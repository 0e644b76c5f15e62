"""Spaces through JSON, and observations as flat names."""

import json

import numpy as np
import pytest
from gymnasium import spaces

from envs.spaces import (
    flatten_names,
    flatten_observation,
    leaf_spaces,
    nest_names,
    space_difference,
    space_from_json,
    space_to_json,
)

SPACES = [
    spaces.Box(-np.inf, np.inf, (3,), np.float64),
    spaces.Box(np.array([-1, 0.5], np.float32), np.array([1, np.inf], np.float32)),
    spaces.Box(0, 255, (4, 8, 8), np.uint8),
    spaces.Box(-(2**62), 2**62 + 1, (2,), np.int64),
    spaces.Discrete(6, start=-2),
    spaces.MultiDiscrete([[2, 3], [4, 5]]),
    spaces.MultiBinary([2, 3]),
    spaces.Dict(
        {"camera": spaces.Box(0, 255, (2, 2), np.uint8), "body": spaces.Dict({"pose": spaces.Box(-1, 1)})}
    ),
]


@pytest.mark.parametrize("space", SPACES, ids=str)
def test_a_space_survives_strict_json(space):
    text = json.dumps(space_to_json(space), allow_nan=False)
    assert space_from_json(json.loads(text)) == space


def test_a_space_without_a_form_is_refused():
    with pytest.raises(TypeError, match="a Text space cannot be saved"):
        space_to_json(spaces.Text(3))


def test_the_difference_is_named():
    box = spaces.Box(-1, 1, (3,))
    assert space_difference(box, spaces.Box(-1, 1, (3,))) is None
    assert "(4,)" in str(space_difference(box, spaces.Box(-1, 1, (4,))))
    assert "['camera']" in str(space_difference(box, spaces.Dict({"camera": box})))


def test_observations_and_spaces_get_the_same_flat_names():
    space = SPACES[-1]
    assert list(leaf_spaces(space)) == list(flatten_observation(space.sample())) == ["body/pose", "camera"]
    assert list(flatten_observation(np.zeros(3))) == list(leaf_spaces(SPACES[0])) == ["observation"]


def test_nesting_undoes_flattening():
    tree = {"a": 1, "b": {"c": 2, "d": {"e": 3}}}
    assert flatten_names(tree) == {"a": 1, "b/c": 2, "b/d/e": 3}
    assert nest_names(flatten_names(tree)) == tree


def test_tuples_have_no_names():
    with pytest.raises(TypeError, match="use a Dict"):
        flatten_observation((np.zeros(1), np.zeros(2)))
    with pytest.raises(TypeError, match="use a Dict"):
        leaf_spaces(spaces.Tuple([spaces.Discrete(2)]))

"""A window in a mirror: left is right, in the picture, the steering and the way."""

import numpy as np
import pytest

from agents.badgr.config import BadgrConfig
from agents.badgr.mirror import mirrored, steering_column
from agents.badgr.spec import ActionLimit, ModelSpec
from agents.badgr.windows import Batch


def batch(count: int = 4, images: slice = slice(None)) -> Batch:
    rng = np.random.default_rng(0)
    known = np.ones((count, 3, 2), np.bool_)
    return Batch(
        rng.integers(0, 256, (count, 4, 6, 3), np.uint8)[images],
        rng.uniform(-1, 1, (count, 3, 2)).astype(np.float32),
        known,
        known,
        rng.uniform(-1, 1, (count, 3, 2)).astype(np.float32),
        known[..., 0],
        np.zeros(count, np.int64),
    )


def test_all_of_a_window_is_mirrored_together() -> None:
    plain = batch()
    seen = mirrored(plain, 0, 1.0, np.random.default_rng(0))
    np.testing.assert_array_equal(seen.images, plain.images[:, :, ::-1])
    np.testing.assert_array_equal(seen.actions, plain.actions * np.float32([-1, 1]))
    np.testing.assert_array_equal(seen.position, plain.position * np.float32([1, -1]))
    np.testing.assert_array_equal(seen.labels, plain.labels)


def test_a_share_of_the_windows_is_and_the_rest_stays() -> None:
    plain = batch(400)
    seen = mirrored(plain, 0, 0.3, np.random.default_rng(1))
    turned = (seen.actions[:, 0, 0] != plain.actions[:, 0, 0]).astype(bool)
    assert 0.2 < turned.mean() < 0.4
    np.testing.assert_array_equal(seen.images[~turned], plain.images[~turned])
    np.testing.assert_array_equal(seen.images[turned], plain.images[turned][:, :, ::-1])
    np.testing.assert_array_equal(seen.position[~turned], plain.position[~turned])


def test_processes_that_hold_a_part_of_the_images_mirror_the_same_windows() -> None:
    whole = mirrored(batch(8), 0, 0.5, np.random.default_rng(2))
    for rows in (slice(0, 4), slice(4, 8)):
        part = mirrored(batch(8, rows), 0, 0.5, np.random.default_rng(2), rows)
        np.testing.assert_array_equal(part.images, whole.images[rows])
        np.testing.assert_array_equal(part.actions, whole.actions)


def test_the_batch_itself_is_left_alone() -> None:
    plain = batch()
    mirrored(plain, 0, 1.0, np.random.default_rng(0))
    np.testing.assert_array_equal(plain.images, batch().images)
    np.testing.assert_array_equal(plain.actions, batch().actions)


def test_the_steering_is_found_by_name() -> None:
    limits = (ActionLimit("linear_velocity", 0.5, 1.0), ActionLimit("angular_velocity", -0.8, 0.8))
    assert steering_column(ModelSpec(actions=limits), "angular_velocity") == 1


@pytest.mark.parametrize(
    ("limit", "message"),
    [
        (ActionLimit("angular_velocity", -1.0, 0.5), "reaches from -1.0 to 0.5, .* set mirror=0"),
        (ActionLimit("turn", -1.0, 1.0), "there is no action angular_velocity, there is turn; set mirror=0"),
    ],
)
def test_actions_that_cannot_be_mirrored_are_refused_before_training(
    limit: ActionLimit, message: str
) -> None:
    spec = ModelSpec(actions=(limit,))
    with pytest.raises(ValueError, match=message):
        BadgrConfig(data=("drives",), spec=spec)
    BadgrConfig(data=("drives",), spec=spec, mirror=0.0)


def test_a_share_above_one_is_refused() -> None:
    with pytest.raises(ValueError, match=r"mirror must be a share between 0 and 1, got 1\.5"):
        BadgrConfig(data=("drives",), mirror=1.5)

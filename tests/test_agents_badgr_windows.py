"""Windows against what their drives say, step by step; masks after the end; balance on both sides."""

import runpy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agents.badgr.events import EventLabels
from agents.badgr.spec import ActionLimit, ModelSpec, SpecError
from agents.badgr.windows import Batch, WindowConfig, WindowError, Windows
from envs.dataset import EpisodeDataset
from envs.episode import Episode

toy = runpy.run_path(str(Path(__file__).with_name("badgr_drives.py")))
changed, quiet_drive, plain_labels, IMAGE = (
    toy[name] for name in ("changed", "quiet_drive", "plain_labels", "IMAGE")
)

LIMITS = (ActionLimit("angular_velocity", -1.0, 1.0), ActionLimit("linear_velocity", 0.5, 1.25))
SPEC = ModelSpec(image=IMAGE, horizon=4, actions=LIMITS)
PLAIN = WindowConfig(natural=1.0)


def numbered(steps: int = 20, first: int = 0) -> Episode:
    """Frame t shows t + first; step t turns by t / 100 rad/s, up to 1."""
    drive = quiet_drive(steps)
    image = np.zeros((steps + 1, *IMAGE), np.uint8)
    image += (np.arange(steps + 1) + first).astype(np.uint8)[:, None, None, None]
    actions = np.array(drive.actions)
    actions[:, 0] = (np.arange(steps) + first) % 100 / 100
    return replace(changed(drive, image=image), actions=actions)


def every_window(windows: Windows) -> Batch:
    return windows.batch(np.arange(len(windows)), np.random.default_rng(0))


def starts(batch: Batch) -> list[int]:
    return [int(number) for number in batch.images[:, 0, 0, 0]]


def cut(
    events: dict[str, list[int]] | None = None,
    *,
    spec: ModelSpec = SPEC,
    config: WindowConfig = PLAIN,
    steps: int = 20,
    **labels: Any,
) -> Batch:
    known = replace(plain_labels(steps, events), **labels)
    return every_window(Windows([(numbered(steps), known)], spec, config))


def row(batch: Batch, start: int) -> int:
    return starts(batch).index(start)


def test_a_window_is_an_image_the_actions_after_it_and_the_places_they_lead_to() -> None:
    batch = cut()
    assert starts(batch) == list(range(20))
    w = row(batch, 7)
    assert (batch.images[w] == 7).all()
    np.testing.assert_allclose(batch.actions[w, :, 0], [0.07, 0.08, 0.09, 0.10], rtol=1e-5)
    np.testing.assert_allclose(batch.actions[w, :, 1], (0.8 - 0.875) / 0.375, rtol=1e-5)
    np.testing.assert_allclose(batch.position[w], [[0.2, 0], [0.4, 0], [0.6, 0], [0.8, 0]], atol=1e-6)
    assert batch.mask[w].all()
    assert batch.position_mask[w].all()
    assert batch.images.dtype == np.uint8
    assert batch.actions.dtype == batch.position.dtype == np.float32


def test_places_are_in_the_robots_own_frame() -> None:
    """Half-way round a circle to the left, each window's places are the same arc."""
    angle = np.linspace(0, 2, 21)
    pose = np.stack([np.sin(angle), 1 - np.cos(angle), angle], 1)
    batch = cut(pose=pose)
    turned = angle[1:5]
    for start in (0, 7, 16):
        expected = np.stack([np.sin(turned), 1 - np.cos(turned)], 1)
        np.testing.assert_allclose(batch.position[row(batch, start)], expected, atol=1e-6)


def test_horizon_and_step_are_free() -> None:
    spec = replace(SPEC, horizon=3, step_seconds=0.75)
    batch = cut({"bumpy": [11]}, spec=spec)
    w = row(batch, 6)
    np.testing.assert_allclose(batch.actions[w, :, 0], [0.07, 0.10, 0.13], rtol=1e-5)  # means of three
    np.testing.assert_allclose(batch.position[w, :, 0], [0.6, 1.2, 1.8], rtol=1e-5)
    assert batch.labels[w, :, 1].tolist() == [False, True, False]  # steps 6-8, 9-11, 12-14
    assert batch.mask.shape == (len(batch.images), 3, 3)


def test_the_stride_leaves_starts_out() -> None:
    assert starts(cut(config=replace(PLAIN, stride=6))) == [0, 6, 12, 18]


def test_after_a_collision_it_alone_is_known_and_actions_are_any() -> None:
    batch = cut({"collision": [9], "bumpy": [8, 11]})
    w = row(batch, 7)  # steps 7, 8, 9 (collision), 10
    assert batch.labels[w, :, 0].tolist() == [False, False, True, True]
    assert batch.mask[w, :, 0].all()
    assert batch.labels[w, :, 1].tolist() == [False, True, False, False]
    assert batch.mask[w, :, 1].tolist() == [True, True, True, False]
    assert batch.mask[w, :, 2].tolist() == [True, True, True, False]
    assert batch.position_mask[w].tolist() == [True, True, True, False]
    np.testing.assert_allclose(batch.actions[w, :3, 0], [0.07, 0.08, 0.09], rtol=1e-5)


def test_actions_after_the_end_do_not_tell_of_it() -> None:
    drives = [
        (numbered(), plain_labels(20, {"collision": [9]})),
        (numbered(20, first=5), plain_labels(20)),
    ]
    windows = Windows(drives, SPEC, PLAIN)
    start = row(every_window(windows), 8)
    drawn = windows.batch(np.full(500, start), np.random.default_rng(1)).actions
    np.testing.assert_allclose(drawn[:, :2, 0], np.broadcast_to([0.08, 0.09], (500, 2)), rtol=1e-5)
    # Every drive steers 0.01 more in each step: so does what is put after the end, from about where it was.
    np.testing.assert_allclose(np.diff(drawn[..., 0], axis=1), 0.01, atol=0.03)
    assert np.ptp(drawn[..., 1]) == 0.0


def test_where_no_drive_is_long_enough_the_last_action_lasts() -> None:
    windows = Windows([(numbered(3), plain_labels(3, {"collision": [2]}))], SPEC, PLAIN)
    batch = every_window(windows)
    np.testing.assert_allclose(batch.actions[row(batch, 1), :, 0], [0.01, 0.02, 0.02, 0.02], rtol=1e-5)


def test_no_window_begins_in_what_ends_windows() -> None:
    windows = Windows([(numbered(), plain_labels(20, {"collision": [9, 10]}))], SPEC, PLAIN)
    batch = every_window(windows)
    assert starts(batch) == [*range(10), *range(12, 20)]  # frames 10 and 11 show the wall it stands against
    assert windows.dropped["begins in what ends a window"] == 2
    w = row(batch, 9)
    assert batch.labels[w, :, 0].all()
    assert batch.mask[w, :, 0].all()
    assert batch.position_mask[w].tolist() == [True, False, False, False]


def test_a_window_may_begin_on_bumpy_ground() -> None:
    assert starts(cut({"bumpy": [9, 10]})) == list(range(20))


def test_the_end_of_a_drive_ends_its_windows() -> None:
    batch = cut({"collision": [19]})
    w = row(batch, 18)
    assert batch.labels[w, :, 0].tolist() == [False, True, True, True]
    assert batch.mask[w, :, 0].all()
    assert batch.mask[w, :, 1].tolist() == [True, True, False, False]
    quiet = cut()
    assert quiet.mask[row(quiet, 18), :, 0].tolist() == [True, True, False, False]
    assert not quiet.labels.any()


def test_two_drives_do_not_run_into_each_other() -> None:
    drives = [
        (numbered(10), plain_labels(10)),
        (numbered(10, first=100), plain_labels(10, {"collision": [0]})),
    ]
    batch = every_window(Windows(drives, SPEC, PLAIN))
    assert starts(batch) == [*range(10), 100, *range(102, 110)]
    w = row(batch, 8)
    assert batch.mask[w, :, 0].tolist() == [True, True, False, False]
    assert not batch.labels[:10].any()
    np.testing.assert_allclose(batch.actions[w, :2, 0], [0.08, 0.09], rtol=1e-5)


def test_an_unknown_label_is_masked_and_what_lasts_is_unknown_from_then_on() -> None:
    known = {name: np.ones(20, bool) for name in ("collision", "bumpy", "stuck")}
    known["collision"] = known["collision"].copy()
    known["collision"][8] = known["bumpy"][8] = False
    known["bumpy"] = known["collision"].copy()
    batch = cut({"collision": [10]}, known=known)
    w = row(batch, 7)
    assert batch.mask[w, :, 1].tolist() == [True, False, True, True]
    # It may have collided in step 8, so whether it had by step 9 is not known; in step 10 it did.
    assert batch.mask[w, :, 0].tolist() == [True, False, False, True]
    assert batch.labels[w, :, 0].tolist() == [False, False, False, True]


def test_places_are_unknown_after_a_step_whose_way_is() -> None:
    moved = np.ones(20, bool)
    moved[8] = False
    batch = cut(moved=moved)
    assert batch.position_mask[row(batch, 7)].tolist() == [True, False, False, False]
    assert batch.mask[row(batch, 7)].all()
    assert batch.position_mask[row(batch, 9)].all()


def test_gaps_end_windows_and_begin_none() -> None:
    whole = np.ones(20, bool)
    whole[8] = False
    windows = Windows([(numbered(), replace(plain_labels(20), whole=whole))], SPEC, PLAIN)
    batch = every_window(windows)
    assert 8 not in starts(batch)
    assert windows.dropped["gap, or an action that is not finite"] == 1
    w = row(batch, 6)
    assert batch.mask[w, :, 0].tolist() == [True, True, False, False]
    assert batch.mask[row(batch, 9)].all()


def test_resets_and_actions_outside_the_limits_are_no_experience() -> None:
    drive = numbered()
    actions = np.array(drive.actions)
    actions[5, 1] = -0.5
    resetting = np.zeros(20, bool)
    resetting[12:15] = True
    drive = replace(drive, actions=actions, info={"resetting": resetting})
    windows = Windows([(drive, plain_labels(20))], SPEC, PLAIN)
    batch = every_window(windows)
    assert starts(batch) == [0, 1, 2, 3, 4, *range(6, 12), *range(15, 20)]
    assert windows.dropped == {
        "gap, or an action that is not finite": 0,
        "reset": 3,
        "action outside limits": 1,
        "begins in what ends a window": 0,
    }
    assert batch.mask[row(batch, 3), :, 0].tolist() == [True, True, False, False]


def test_nan_in_an_action_never_reaches_the_network() -> None:
    drive, whole = numbered(), np.ones(20, bool)
    actions = np.array(drive.actions)
    actions[8], whole[8] = np.nan, False
    windows = Windows(
        [(replace(drive, actions=actions), replace(plain_labels(20), whole=whole))], SPEC, PLAIN
    )
    assert np.isfinite(every_window(windows).actions).all()


def test_columns_are_found_by_name() -> None:
    drive = numbered()
    swapped = replace(drive, actions=np.array(drive.actions)[:, ::-1])
    config = replace(PLAIN, actions=("linear_velocity", "angular_velocity"))
    ours = every_window(Windows([(swapped, plain_labels(20))], SPEC, config))
    valid = ours.position_mask
    plain = every_window(Windows([(drive, plain_labels(20))], SPEC, PLAIN))
    np.testing.assert_array_equal(ours.actions[valid], plain.actions[valid])


# -- drawing ----------------------------------------------------------------------------------------


def mixed(config: WindowConfig, spec: ModelSpec = SPEC) -> Windows:
    """Collisions are rare, bumpy steps are the rule, stuck is in between."""
    bumpy = [step for step in range(400) if step % 50 > 5]
    events = {"collision": [99, 299], "bumpy": bumpy, "stuck": list(range(150, 200))}
    return Windows([(numbered(400), plain_labels(400, events))], spec, config)


@pytest.mark.parametrize("event", ["collision", "bumpy", "stuck"])
@pytest.mark.parametrize("share", [0.2, 0.5, 0.8])
def test_an_event_is_drawn_as_often_as_wanted(event: str, share: float) -> None:
    windows = mixed(WindowConfig(balance={event: share}, natural=0.0))
    batch = windows.batch(windows.draw(np.random.default_rng(0), 4000), np.random.default_rng(1))
    k = SPEC.event(event)
    assert (batch.labels & batch.mask)[..., k].any(1).mean() == pytest.approx(share, abs=0.03)
    assert abs(windows.share(event) - share) > 0.05 or event == "stuck"


def test_an_event_that_is_the_rule_can_be_balanced_by_the_windows_that_it_fills() -> None:
    """The released code's bumpy: windows that are bumpy throughout against all others."""
    windows = mixed(WindowConfig(balance={"bumpy": 0.5}, balance_all=("bumpy",), natural=0.0))
    batch = windows.batch(windows.draw(np.random.default_rng(0), 4000), np.random.default_rng(1))
    labels, mask = batch.labels[..., 1], batch.mask[..., 1]
    fills = (labels | ~mask).all(1) & mask.any(1)
    assert fills.mean() == pytest.approx(0.5, abs=0.03)


def test_several_events_take_turns_and_some_draws_are_as_they_come() -> None:
    windows = mixed(WindowConfig(natural=0.25))
    batch = windows.batch(windows.draw(np.random.default_rng(0), 8000), np.random.default_rng(1))
    happened = (batch.labels & batch.mask)[..., 0].any(1).mean()
    assert windows.share("collision") < 0.03
    assert 0.12 < happened < 0.25  # a quarter of the draws balance collisions, half of these have one
    natural = mixed(PLAIN)
    drawn = natural.draw(np.random.default_rng(0), 40_000)
    assert (abs(np.bincount(drawn, minlength=len(natural)) - 40_000 / len(natural)) < 60).all()


def test_the_same_generator_draws_the_same() -> None:
    windows = mixed(WindowConfig())
    first, second = (windows.draw(np.random.default_rng(5), 100) for _ in range(2))
    np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize(
    ("events", "message"),
    [({}, "collision happens in none of the 20 windows: gather more"),
     ({"collision": [9], "bumpy": list(range(20)), "stuck": [15]}, "bumpy happens in every step of the")],
)  # fmt: skip
def test_an_event_that_never_or_always_happens_is_named(events: dict[str, list[int]], message: str) -> None:
    windows = Windows([(numbered(), plain_labels(20, events))], SPEC, PLAIN)
    with pytest.raises(WindowError, match=message):
        windows.expect_events()


def test_an_event_without_data_cannot_be_balanced() -> None:
    windows = Windows([(numbered(), plain_labels(20))], SPEC, WindowConfig())
    with pytest.raises(WindowError, match="no window of 20 has collision, nothing can be balanced"):
        windows.draw(np.random.default_rng(0), 50)


# -- the disk, and what does not fit ----------------------------------------------------------------


def test_images_stay_on_the_disk(tmp_path: Path) -> None:
    with EpisodeDataset(tmp_path, durable=False) as dataset:
        id = dataset.append(numbered())
        episode = dataset[id]
    windows = Windows([(episode, plain_labels(20))], SPEC, PLAIN)
    assert not windows._images[0].flags.owndata
    assert not windows._images[0].flags.writeable
    assert starts(every_window(windows)) == list(range(20))


def drives(**changes: Any) -> list[tuple[Episode, EventLabels]]:
    return [(replace(numbered(), **changes), plain_labels(20))]


def test_a_camera_of_another_size_is_refused() -> None:
    with pytest.raises(SpecError, match=r"expects images \(96, 128, 3\), got \(24, 32, 3\)"):
        Windows(drives(), ModelSpec())


def test_images_of_another_kind_are_refused() -> None:
    drive = changed(numbered(), image=np.zeros((21, *IMAGE), np.float32))
    with pytest.raises(SpecError, match="expects uint8 images, image is float32"):
        Windows([(drive, plain_labels(20))], SPEC)
    with pytest.raises(SpecError, match=r"no image 'camera', it has .*image"):
        Windows(drives(), SPEC, WindowConfig(image="camera"))


def test_a_step_that_is_no_multiple_of_the_recorded_one_is_refused() -> None:
    with pytest.raises(SpecError, match=r"step of 0\.3 s is no multiple of the recorded 0\.25 s"):
        Windows(drives(), replace(SPEC, step_seconds=0.3))
    with pytest.raises(SpecError, match=r"step of 0\.1 s is no multiple"):
        Windows(drives(), replace(SPEC, step_seconds=0.1))
    slow = replace(numbered(), times=np.arange(21) * 0.5)
    with pytest.raises(SpecError, match=r"several rates cannot be mixed: \[1, 2\]"):
        Windows([*drives(), (slow, plain_labels(20))], replace(SPEC, step_seconds=0.5))


def test_actions_in_other_units_are_refused() -> None:
    degrees = np.array(numbered().actions) * [57.3 * 10, 1]
    with pytest.raises(SpecError, match=r"lie outside the model's limits .*in rad/s and m/s"):
        Windows(drives(actions=degrees), SPEC)
    with pytest.raises(
        SpecError, match="action linear_velocity, the recording has angular_velocity, throttle"
    ):
        Windows(drives(), SPEC, WindowConfig(actions=("angular_velocity", "throttle")))


def test_nothing_to_learn_from_is_an_error() -> None:
    with pytest.raises(WindowError, match="there is no drive to cut windows from"):
        Windows([], SPEC)
    nothing = replace(plain_labels(20), whole=np.zeros(20, bool))
    with pytest.raises(WindowError, match=r"no window is left .*20 gap"):
        Windows([(numbered(), nothing)], SPEC)
    with pytest.raises(WindowError, match="labels of 19 steps do not belong to a drive of 20"):
        Windows([(numbered(), plain_labels(19))], SPEC)
    with pytest.raises(WindowError, match="labels lack tipped, they have collision, bumpy, stuck"):
        Windows(drives(), replace(SPEC, events=("collision", "bumpy", "stuck", "tipped")))


@pytest.mark.parametrize(
    "wrong", [{"stride": 0}, {"balance": {"bumpy": 1.0}}, {"natural": 1.5}, {"tolerance": -0.1}]
)
def test_settings_that_mean_nothing_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        WindowConfig(**wrong)

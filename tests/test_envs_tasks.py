import pytest

from envs.tasks import ENVIRONMENTS, UnknownEnvironmentError, task_info


def test_the_papers_tasks_are_all_there() -> None:
    families = [task_info(name).family for name in ENVIRONMENTS]
    assert families.count("atari") == 7
    assert families.count("mujoco") == 10  # the paper's eight, Humanoid and the backflip
    assert {"classic:Pendulum", "pixel:MovingDot"} <= set(ENVIRONMENTS)
    assert len(set(ENVIRONMENTS)) == len(ENVIRONMENTS)


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_a_clip_lasts_one_to_two_seconds_and_fits_its_episode(name: str) -> None:
    task = task_info(name)
    assert task.name == name
    assert 1.0 <= task.clip_seconds <= 2.0
    assert task.segment_steps <= task.episode_steps
    assert 1 <= task.guide.count(".") <= 2
    assert task.guide.endswith(".")


@pytest.mark.parametrize(
    ("wrong", "near"), [("mujoco:hopper", "mujoco:Hopper"), ("Pendulum", "classic:Pendulum")]
)
def test_an_unknown_name_is_answered_with_the_nearest(wrong: str, near: str) -> None:
    with pytest.raises(UnknownEnvironmentError, match=f"did you mean .*{near}"):
        task_info(wrong)

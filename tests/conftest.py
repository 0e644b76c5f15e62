"""One thread for everything that computes, here and in the processes that tests start; OpenGL; hypothesis."""

import os

import pytest
from hypothesis import settings

# The same examples each time, and no deadline: the machine may be busy. `--hypothesis-profile=explore`
# looks further.
settings.register_profile("default", derandomize=True, deadline=None)
settings.register_profile("explore", max_examples=3000, deadline=None)
settings.load_profile("default")

# Read when the libraries load: so before any test module imports them.
for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(variable, "1")


def pytest_configure() -> None:
    """Chooses the OpenGL back-end that draws here before any test module imports mujoco."""
    from envs.rendering import choose_gl

    choose_gl()


LIVE = ("test_robot_", "test_labelling_browser", "test_report_browser")
"""modules whose tests wait for other processes: DDS between nodes, chromium"""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A machine that is overloaded for a minute may lose DDS's announcements or starve a browser: these tests
    have a second try. The summary names those that needed it."""
    for item in items:
        if item.path.name.startswith(LIVE):
            item.add_marker(pytest.mark.flaky(reruns=1))


@pytest.fixture(scope="session")
def gl() -> str:
    """The OpenGL back-end that draws here; "none" without one."""
    from envs.rendering import choose_gl

    return choose_gl()

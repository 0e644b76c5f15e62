"""One thread for everything that computes, here and in the processes that tests start."""

import os

import pytest

# Read when the libraries load: so before any test module imports them.
for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(variable, "1")


@pytest.fixture(scope="session", autouse=True)
def gl() -> str:
    """The OpenGL back-end that draws here, chosen before any test imports mujoco."""
    from envs.rendering import choose_gl

    return choose_gl()

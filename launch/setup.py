"""The small package that colcon builds. The metadata stands here: colcon cannot read a pyproject.toml."""

from pathlib import Path

from setuptools import setup

NAME = "surefoot_bringup"

setup(
    name=NAME,
    version="0.1.0",
    description="Starts surefoot on a robot: guard, driver, and the simulated rover",
    license="Apache-2.0",
    packages=[NAME],
    install_requires=["setuptools"],
    # The launch files look for config/ beside themselves, here and where they are installed.
    data_files=[
        ("share/ament_index/resource_index/packages", [f"resource/{NAME}"]),
        (f"share/{NAME}", ["package.xml"]),
        (f"share/{NAME}/launch", [str(path) for path in Path().glob("*.launch.py")]),
        (f"share/{NAME}/launch/config", [str(path) for path in Path("config").iterdir()]),
    ],
    entry_points={"console_scripts": [f"surefoot = {NAME}:main"]},
)

"""The live view in a real chromium, with the real guard over DDS and a rig for the robot's sensors."""

import runpy
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs ROS 2: pip install 'surefoot[ros]' on Linux x86_64")
pytest.importorskip("playwright.sync_api")

from playwright.sync_api import Page, expect

from robot.config import RobotConfig

HERE = Path(__file__).parent
HELP = runpy.run_path(str(HERE / "robot_ros.py"))
LOOK = runpy.run_path(str(HERE / "label_browser.py"))
chromium, eventually = LOOK["chromium"], LOOK["eventually"]
pytestmark = LOOK["MARKS"]
CONFIG = RobotConfig.from_mapping(HELP["LAX"])
STALLED = 12
"""pages that ask for pictures and never take them"""


class Robot:
    """Guard and live view as processes, and the rig, which lives in a thread of its own."""

    def __init__(self, folder: Path, env: dict[str, str], open_: ExitStack) -> None:
        from robot.teller import Teller

        config = str(HELP["write_config"](folder / "robot.yaml", HELP["LAX"]))
        guard = HELP["surefoot"]("robot", "guard", "--config", config)
        view = HELP["surefoot"]("robot", "view", "--config", config, "--port", "0")
        open_.enter_context(HELP["Program"](guard, env, folder / "guard.log"))
        self.view = open_.enter_context(HELP["Program"](view, env, folder / "view.log"))
        self.rig = HELP["Rig"](CONFIG, 0)
        open_.callback(self.rig.close)
        self.teller = Teller(self.rig.ros.node)
        plan = runpy.run_path(str(HERE / "test_robot_view.py"))["plan"]()
        ending = threading.Event()

        def live() -> None:
            while not ending.is_set():
                self.rig.pump(0.2)
                self.teller.tell("drives", np.array([0.0, 0.5]), plan)

        thread = threading.Thread(target=live)
        thread.start()
        open_.callback(thread.join)
        open_.callback(ending.set)
        eventually(lambda: "live view: " in self.view.said() or self.view.process.poll() is not None)
        self.address = self.view.said().split("live view: ")[1].split()[0]


@pytest.fixture(scope="module")
def robot(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Robot]:
    folder = tmp_path_factory.mktemp("view")
    with ExitStack() as open_:
        env = open_.enter_context(HELP["in_domain"](HELP["own_domain"](), folder))
        yield Robot(folder, env, open_)


@pytest.fixture
def page(chromium: Any, robot: Robot) -> Iterator[Page]:
    context = chromium.new_context(viewport={"width": 640, "height": 400})
    page, complaints = context.new_page(), []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("console", lambda message: complaints.append(message.text))
    page.goto(robot.address)
    yield page
    context.close()
    assert [words for words in complaints if "Failed to load" not in words and "503" not in words] == []


def armed(page: Page) -> None:
    """Presses Arm until the guard agrees: the first sensors may still be on their way."""

    def driving() -> bool:
        if page.locator("body").get_attribute("data-state") == "driving":
            return True
        if page.locator("#arm").is_enabled():
            page.locator("#arm").click()
        page.wait_for_timeout(500)
        return False

    eventually(driving)


def test_it_shows_what_the_robot_sees_and_arms_and_stops_it_by_key(robot: Robot, page: Page) -> None:
    expect(page.locator("#line")).to_have_text("connected")
    expect(page.locator("#verdict")).to_have_text("Disarmed")
    armed(page)
    expect(page.locator("#picture")).to_have_attribute("data-ways", "48")
    expect(page.locator("#driver")).to_have_text("driver: drives")
    assert int(page.locator("body").get_attribute("data-picture") or 0) > 0
    # The plan leads straight on: white in the middle of the picture's lower half.
    middle = page.locator("#picture").evaluate(
        "(one) => [...one.getContext('2d').getImageData(one.width / 2, one.height * 0.8, 1, 1).data]"
    )
    assert middle[:3] == [255, 255, 255]
    eventually(lambda: robot.rig.sent == (0.5, 0.0))

    page.locator("#disarm").focus()
    page.keyboard.press("Space")
    expect(page.locator("#stop-words")).to_have_text("STOPPED")
    assert robot.rig.state["reason"] == "the emergency stop is pressed", "and Space pressed no other button"
    eventually(lambda: robot.rig.sent == (0.0, 0.0))
    expect(page.locator("#arm")).to_be_disabled()
    page.locator("#release").click()
    armed(page)


def test_it_stops_the_robot_when_pictures_do_not_come_and_others_hold_their_lines(
    robot: Robot, page: Page
) -> None:
    armed(page)
    host, port = robot.address.removeprefix("http://").rstrip("/").split(":")
    with ExitStack() as open_:
        for _ in range(STALLED):
            line = open_.enter_context(socket.create_connection((host, int(port))))
            line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
            line.sendall(f"GET /api/picture HTTP/1.1\r\nHost: {host}:{port}\r\n\r\n".encode() * 20)
        robot.rig.silent.add("camera")
        page.locator("#stop").click()
        expect(page.locator("#stop-words")).to_have_text("STOPPED")
        eventually(lambda: robot.rig.sent == (0.0, 0.0))
    robot.rig.silent.clear()
    page.locator("#release").click()
    armed(page)


def test_a_page_without_its_server_says_so_and_keeps_on_trying_to_stop(robot: Robot, page: Page) -> None:
    import signal

    armed(page)
    robot.view.process.send_signal(signal.SIGSTOP)
    try:
        expect(page.locator("#verdict")).to_have_text("No connection")
        page.keyboard.press("Escape")
        expect(page.locator("#answer")).to_contain_text("not sent yet")
    finally:
        robot.view.process.send_signal(signal.SIGCONT)
    expect(page.locator("#stop-words")).to_have_text("STOPPED")
    page.locator("#release").click()
    expect(page.locator("#verdict")).to_have_text("Disarmed")


def test_sigterm_ends_the_view_and_the_robot_drives_on(robot: Robot, chromium: Any) -> None:
    import signal

    robot.rig.states.clear()
    assert robot.view.end(signal.SIGTERM) == 0
    assert "Traceback" not in robot.view.said()
    assert robot.rig.states == []

"""What the live view tells its page, and whom it answers. Browser and ROS: test_robot_view_browser.py."""

import asyncio
import io
import json
import runpy
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

from agents.badgr.overlay import Ways
from agents.badgr.prediction import Plan, Prediction
from robot.config import RobotConfig
from robot.messages import MessageError
from robot.thought import MOST, Thought, from_json, look_at, to_json
from robot.view_board import Board, camera_view, drawn

HELP = runpy.run_path(str(Path(__file__).with_name("robot_ros.py")))


def plan(candidates: int = 200) -> Plan:
    """Ways that fan out, the dearer the further to the left; candidate 0 goes straight on."""
    steps = np.linspace(0.25, 2.0, 8)
    turn = np.linspace(0.0, 0.8, candidates)[:, None]
    position = np.stack([steps * np.cos(turn), steps * np.sin(turn)], -1)
    risk = np.repeat(np.linspace(0.1, 0.9, candidates)[:, None], 8, 1)
    cost = np.linspace(0.2, 1.0, candidates)
    cost[-1] = np.nan
    actions = np.zeros((candidates, 8, 2))
    return Plan(actions[0], actions, cost, Prediction({"collision": risk}, position))


def test_a_thought_is_small_and_comes_back_to_the_centimetre() -> None:
    ways, events = look_at(plan())
    thought = Thought("drives", (0.25, 0.8), False, ways, events, (3.0, -1.5), 12.25, (2, 5))
    text = to_json(thought)
    assert len(text) < 10_000
    back = from_json(text)
    assert (back.words, back.action, back.goal, back.distance) == ("drives", (0.25, 0.8), (3.0, -1.5), 12.25)
    assert back.waypoint == (2, 5)
    assert back.events == {"collision": 0.1}
    assert back.ways is not None
    assert len(back.ways.position) == MOST
    np.testing.assert_allclose(back.ways.position, ways.position, atol=0.00501)
    np.testing.assert_allclose(back.ways.chosen[:, 1], 0.0)
    assert back.ways.cost[0] == 0.2
    assert np.isnan(back.ways.cost[-1])
    assert from_json(to_json(Thought("waits"))).ways is None


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", '{"words": 1}', to_json(Thought("x")).replace("[0.0, 0.0]", "[0.0]"),
     to_json(Thought("x", ways=look_at(plan(3))[0])).replace('"cost": [', '"cost": [1, 1, ')],
)  # fmt: skip
def test_a_thought_of_something_else_is_refused(text: str) -> None:
    with pytest.raises(MessageError, match="driver/thought: no thought of this version's driver"):
        from_json(text)


def test_ways_are_drawn_where_the_camera_sees_the_ground() -> None:
    straight = np.stack([np.linspace(0.25, 2.0, 8), np.zeros(8)], -1)
    thought = Thought("drives", ways=Ways(straight[None], np.array([1.0]), straight))
    lines = drawn(thought, camera_view(RobotConfig()))
    (line,) = lines["plan"]
    columns, rows = np.reshape(line, (-1, 2)).T
    assert set(columns) == {500}, "straight ahead is the middle of the picture"
    assert rows[-1] < rows[0], "further away is higher up"
    # 1.85 m before the lens and 0.35 m below it, with half of 2.129 rad from the middle to the edge.
    assert rows[-1] == pytest.approx(500 + 500 * (0.35 / 1.85) / np.tan(2.129 / 2), abs=1)
    assert lines["lines"][0][0] == "#4575e6"
    assert drawn(Thought("waits"), camera_view(RobotConfig())) == {"lines": [], "plan": [], "cost": None}


def test_the_page_is_told_json_whatever_is_missing() -> None:
    board = Board(RobotConfig())
    told = board.state()
    json.dumps(told, allow_nan=False)
    assert told["guard"]["alive"] is False
    assert told["driver"] == {"alive": False}
    board.hear_guard({"armed": True, "reason": None, "estop": False}, {"camera": 0.1, "link": np.inf})
    board.hear_thought(Thought("drives", ways=look_at(plan())[0]))
    told = board.state()
    json.dumps(told, allow_nan=False)
    assert told["guard"] == {"alive": True, "armed": True, "reason": None, "estop": False}
    assert told["ages"] == [
        {"name": "camera", "age": 0.1, "limit": 0.2}, {"name": "link", "age": None, "limit": 1.0},
    ]  # fmt: skip
    assert len(told["ways"]["lines"]) >= MOST
    assert "ways" not in board.state(seen=told["ways"]["number"]), "what the page has is not sent again"


def test_a_picture_is_packed_once_and_only_when_somebody_looks() -> None:
    board, unpacked = Board(RobotConfig()), []

    def unpack() -> np.ndarray:
        unpacked.append(1)
        return np.full((960, 1280, 3), 200, np.uint8)

    assert board.jpeg() == (0, b"")
    for _ in range(5):
        board.hear_picture(unpack)
    number, content = board.jpeg()
    assert (number, len(unpacked)) == (5, 1)
    assert board.jpeg() == (number, content)
    assert len(unpacked) == 1
    assert Image.open(io.BytesIO(content)).size == (640, 480)
    board.hear_picture(lambda: b"a JPEG as it is")
    assert board.jpeg() == (6, b"a JPEG as it is")


def broken() -> np.ndarray:
    raise MessageError("camera/image_raw: encoding is 'yuv', expected rgb8")


def test_a_picture_that_cannot_be_used_is_told_in_words() -> None:
    board = Board(RobotConfig())
    board.hear_picture(broken)
    with pytest.raises(MessageError):
        board.jpeg()
    assert "encoding is 'yuv'" in board.state()["trouble"]


class Client:
    """A browser's requests, one after the other, without a socket."""

    def __init__(self, app: Any) -> None:
        transport = httpx.ASGITransport(app)
        self._client = httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1")
        self._runner = asyncio.new_event_loop()

    def request(self, method: str, path: str, **more: Any) -> httpx.Response:
        return self._runner.run_until_complete(self._client.request(method, path, **more))

    def get(self, path: str, **more: Any) -> httpx.Response:
        return self.request("GET", path, **more)

    def post(self, path: str, **more: Any) -> httpx.Response:
        return self.request("POST", path, **more)

    def close(self) -> None:
        self._runner.run_until_complete(self._client.aclose())
        self._runner.close()


@pytest.fixture
def served(tmp_path: Path) -> Any:
    """The application with a key, over a real node in a domain of its own; (client, listener's presses)."""
    pytest.importorskip("rclpy", reason="needs ROS 2: pip install 'surefoot[ros]' on Linux x86_64")
    from std_msgs.msg import Bool

    from robot.node import RosNode, state_qos
    from robot.view_app import create_app
    from robot.view_node import ViewNode

    with HELP["in_domain"](HELP["own_domain"](), tmp_path):
        node, ear, presses = ViewNode(RosNode("view"), RobotConfig()), RosNode("ear"), []
        ear.node.create_subscription(Bool, "estop", lambda m: presses.append(m.data), state_qos())
        client = Client(create_app(node, "secret"))
        try:
            yield client, ear, presses
        finally:
            client.close()
            ear.close()
            node.close()


def test_only_who_has_the_key_may_look_or_stop_and_no_other_site_may(served: Any) -> None:
    client, ear, presses = served
    for method, path in (("GET", "/"), ("GET", "/api/state"), ("POST", "/api/estop?pressed=true")):
        assert client.request(method, path).status_code == 401
    assert client.get("/api/state?token=wrong").status_code == 401
    answer = client.get("/?token=secret")
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    assert "HttpOnly" in answer.headers["set-cookie"]
    assert "SameSite=strict" in answer.headers["set-cookie"]
    page = client.get("/")
    assert page.status_code == 200
    assert "EMERGENCY STOP" in page.text
    assert page.headers["content-security-policy"].startswith("default-src 'self'")
    assert client.get("/api/state").json()["name"] == "rover"
    evil = {"origin": "http://evil.example"}
    assert client.post("/api/arm?arm=true", headers=evil).status_code == 403
    assert client.post("/api/estop?pressed=false", headers=evil).status_code == 403
    assert client.get("/api/state", headers={"host": "evil.example"}).status_code == 400
    assert client.get("/api/estop?pressed=true").status_code == 405, "a link cannot press or release it"
    assert presses == []
    assert client.get("/api/picture").status_code == 204
    assert client.post("/api/arm?arm=true").json() == {
        "done": False,
        "words": "no guard answers: is `surefoot robot guard` running, in the same ROS_DOMAIN_ID?",
    }
    assert client.post("/api/estop?pressed=perhaps").status_code == 422
    assert client.post("/api/estop?pressed=true").status_code == 200
    ear.wait_for(lambda: presses == [True], HELP["PATIENCE"], "the emergency stop")

"""`surefoot robot view`: what the robot sees and thinks, in a browser, with an emergency stop.

It needs `pip install 'surefoot[label]'`, on the robot or on a laptop that hears the robot's topics.
"""

from __future__ import annotations

import ipaddress
import logging
import secrets
import socket
from collections.abc import Sequence

from agents.serving import ending_quietly, is_own, listen
from robot.config import RobotConfig
from robot.node import RosNode

log = logging.getLogger(__name__)

PORT = 8740


class ViewError(RuntimeError):
    """The live view cannot be served; says what to do."""


def run_view(
    config: RobotConfig,
    host: str = "127.0.0.1",
    port: int = PORT,
    *,
    heartbeat: bool = False,
    token: str | None = None,
    arguments: Sequence[str] = (),
) -> None:
    """Serves until SIGINT or SIGTERM; prints the link. arguments: ROS's own.

    token: what browsers must bring; by default drawn where more than this machine can reach the page.
    """
    try:
        import fastapi  # noqa: F401 - the page needs it
        import uvicorn
    except ImportError as error:
        raise ViewError(
            f"{error.name} is not installed: pip install 'surefoot[label]' for the live view"
        ) from error
    from robot.view_app import create_app
    from robot.view_node import ViewNode

    if token is None and not is_own(host):
        token = secrets.token_urlsafe(16)
    with listen(host, port) as listener:
        ros = RosNode("view", arguments)
        node = ViewNode(ros, config, heartbeat=heartbeat)
        try:
            found, number = listener.getsockname()[:2]
            name = _reachable(found)
            query = f"?token={token}" if token is not None else ""
            print(f"live view: http://{name}:{number}/{query}", flush=True)
            if token is not None:
                log.warning(
                    "view: whoever has the link can stop and arm the robot, and it travels unencrypted"
                )
            settings = uvicorn.Config(
                create_app(node, token),
                log_config=None,
                log_level="warning",
                access_log=False,
                server_header=False,
                proxy_headers=False,
                timeout_graceful_shutdown=1,
            )
            with ending_quietly():
                uvicorn.Server(settings).run(sockets=[listener])
        finally:
            node.close()


def _reachable(address: str) -> str:
    """As it stands in a link; of all addresses of this machine, the one that others would use."""
    if ipaddress.ip_address(address).is_unspecified:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            try:
                probe.connect(("192.0.2.1", 9))  # sends nothing: it only chooses a way out
                address = probe.getsockname()[0]
            except OSError:
                address = "127.0.0.1"
    return f"[{address}]" if ":" in address else address

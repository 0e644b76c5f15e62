"""Runs the web server of labelling sessions, in one process or several."""

from __future__ import annotations

import contextlib
import ipaddress
import logging
import multiprocessing
import os
import signal
import socket
import threading
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from functools import partial
from multiprocessing import connection
from types import FrameType

import uvicorn
from fastapi import FastAPI
from uvicorn.supervisors import Multiprocess

from agents.preferences.labelling.app import create_app
from agents.preferences.labelling.renderer import Renderer
from agents.preferences.labelling.security import normal_origin
from agents.preferences.labelling.storage import open_storage
from agents.preferences.labelling.store import open_store
from agents.preferences.labelling.types import LabellingError
from agents.serving import PORTS_TRIED, ListenError, ending_quietly, is_own, listen

logger = logging.getLogger(__name__)

STOP_SECONDS = 3
"""requests under way get this long when the server is told to stop"""


class ServeError(LabellingError):
    """The server cannot listen where it should; the message says what to do."""


@dataclass(frozen=True)
class Settings:
    """What each server process needs to know; it travels to them."""

    database: str
    media: str
    origins: tuple[str, ...] = ()
    secure: bool = False
    render: bool = True
    """whether this server draws clips too"""

    def __post_init__(self) -> None:
        for origin in self.origins:
            normal_origin(origin)


def serve(
    database: str,
    media: str,
    host: str = "127.0.0.1",
    port: int = 8737,
    processes: int = 1,
    *,
    origins: tuple[str, ...] = (),
    secure: bool = False,
    render: bool = True,
    exact_port: bool = False,
    announce: Callable[[str], None] | None = None,
) -> None:
    """Serves until SIGTERM or Ctrl-C. Raises LabellingError where the database or the port cannot be used.

    exact_port: fail where the port is taken, instead of taking the next free one. announce: called with
    the address, as "http://127.0.0.1:8737", once people's connections are taken.
    """
    settings = Settings(database, media, tuple(origins), secure, render)
    open_store(database).close()  # migrates once, and fails here instead of in each process
    open_storage(media)
    try:
        listener = listen(host, port, 1 if exact_port else PORTS_TRIED)
    except ListenError as error:
        raise ServeError(str(error)) from error
    with listener, ending_quietly():
        warn_if_open(host, secure)
        if announce is not None:
            announce(address(listener, settings))
        config = _config(settings, processes)
        if processes == 1:
            uvicorn.Server(config).run(sockets=[listener])
        else:
            listener.set_inheritable(True)
            Multiprocess(config, [listener]).run()


def address(listener: socket.socket, settings: Settings) -> str:
    """Where people find the server: the first origin that was given, or the socket's own address."""
    if settings.origins:
        return normal_origin(settings.origins[0])
    host, port = listener.getsockname()[:2]
    if ipaddress.ip_address(host).is_unspecified:
        host = "::1" if ":" in host else "127.0.0.1"
    scheme = "https" if settings.secure else "http"
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"


def warn_if_open(host: str, secure: bool) -> None:
    """Says so where more than this machine can reach the server."""
    if is_own(host):
        return
    logger.warning(
        "!!! %s: everybody on the network can reach this server%s. A link is all that one needs to answer.%s",
        host,
        "" if secure else ", and what travels can be read",
        ""
        if secure
        else " For more than a trusted network, put a proxy with https before it: "
        "--host 127.0.0.1 --secure --origin https://…",
    )


def build(settings: Settings) -> FastAPI:
    """The application of one server process; runs in that process."""
    if not logging.getLogger().handlers:
        logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
        logging.getLogger("alembic").setLevel(logging.WARNING)  # it tells of each look at the tables
    store, storage = open_store(settings.database), open_storage(settings.media)

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        _end_when_parent_ends()
        _call_first_on_stop(app.state.desk.hub.close)
        renderer = Renderer(store, storage) if settings.render else None
        if renderer is not None:
            renderer.start()
        try:
            yield
        finally:
            app.state.desk.hub.close()
            if renderer is not None:
                renderer.stop()
            store.close()

    return create_app(store, storage, origins=settings.origins, secure=settings.secure, lifespan=lifespan)


def _config(settings: Settings, processes: int) -> uvicorn.Config:
    return uvicorn.Config(
        partial(build, settings),
        factory=True,
        workers=processes,
        log_config=None,
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=False,  # the client's address is what rates count by: nobody may choose it
        limit_concurrency=1000,
        timeout_graceful_shutdown=STOP_SECONDS,
        timeout_worker_healthcheck=60,
    )


def _call_first_on_stop(end: Callable[[], None]) -> None:
    """Streams never end by themselves, and uvicorn waits for them: they are told at the signal."""
    if threading.current_thread() is not threading.main_thread():
        return

    def wrap(number: signal.Signals) -> None:
        before = signal.getsignal(number)

        def handle(signum: int, frame: FrameType | None) -> None:
            end()
            if callable(before):
                before(signum, frame)

        signal.signal(number, handle)

    wrap(signal.SIGTERM)
    wrap(signal.SIGINT)


def _end_when_parent_ends() -> None:
    """A supervisor that was killed cannot stop its processes, and they would keep the port."""
    parent = multiprocessing.parent_process()
    if parent is None:
        return

    def wait() -> None:
        connection.wait([parent.sentinel])
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=wait, name="parent", daemon=True).start()

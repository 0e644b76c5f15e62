"""A labelling application that runs in this process, over a store that tests reach into."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from typing import Any

import httpx
import uvicorn

from agents.preferences.labelling.app import create_app
from agents.serving import listen

_clients: list[httpx.Client] = []


@contextlib.contextmanager
def running(store: Any, storage: Any, **options: Any) -> Iterator[tuple[str, Any]]:
    """The address of a server over them, and its application."""
    app = create_app(store, storage, **{"poll_seconds": 0.05, **options})
    config = uvicorn.Config(
        app, log_config=None, access_log=False, server_header=False, timeout_graceful_shutdown=1
    )
    server = uvicorn.Server(config)
    listener = listen("127.0.0.1", 0)
    host, port = listener.getsockname()[:2]
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    deadline = time.monotonic() + 20
    while not server.started:
        assert thread.is_alive(), "the server ended"
        assert time.monotonic() < deadline, "the server did not start"
        time.sleep(0.01)
    try:
        yield f"http://{host}:{port}", app
    finally:
        while _clients:
            _clients.pop().close()
        app.state.desk.hub.close()
        server.should_exit = True
        thread.join(10)
        listener.close()


def person(url: str, token: str | None) -> httpx.Client:
    """A client that has joined as a browser does, closed with the server; without a token: a stranger."""
    client = httpx.Client(base_url=url, headers={"Origin": url}, timeout=20)
    _clients.append(client)
    if token is not None:
        assert client.post("/api/session", json={"token": token}).status_code == 204
    return client

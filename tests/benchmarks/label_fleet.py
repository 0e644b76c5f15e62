"""Server processes that can be killed and are back within a fraction of a second."""

from __future__ import annotations

import multiprocessing
import os
import signal
import socket
from multiprocessing.context import ForkServerProcess

import uvicorn

from agents.preferences.labelling.serve import Settings, build


def serve_until_killed(listener: socket.socket, database: str, media: str) -> None:
    """What a process of `surefoot label` runs, without drawing."""
    app = build(Settings(database, media, render=False))
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, log_level="critical", access_log=False))
    server.run(sockets=[listener])


class Fleet:
    """Several server processes on one listening socket, as uvicorn's own supervisor has them.

    They are forked from a process that has imported everything and opened nothing: a start takes
    tens of milliseconds instead of seconds, so that a thousand kills fit in minutes.
    """

    def __init__(self, database: str, media: str, processes: int) -> None:
        self._arguments = (database, media)
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(["uvicorn", "agents.preferences.labelling.serve"])
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self.port = self._listener.getsockname()[1]
        self._servers = [self._start() for _ in range(processes)]
        self.kills = 0
        self.died_alone = 0
        """servers that ended without being killed"""

    def __len__(self) -> int:
        return len(self._servers)

    def kill(self, number: int) -> None:
        """kill -9."""
        server = self._servers[number]
        if server.is_alive() and server.pid is not None:
            os.kill(server.pid, signal.SIGKILL)
            self.kills += 1
        else:
            self.died_alone += 1
        server.join()

    def restart(self, number: int) -> None:
        self._servers[number] = self._start()

    def look(self) -> None:
        """As a supervisor does: those that ended alone are started again."""
        for number, server in enumerate(self._servers):
            if not server.is_alive():
                self.died_alone += 1
                server.join()
                self.restart(number)

    def close(self) -> None:
        for server in self._servers:
            server.kill()
            server.join()
        self._listener.close()

    def _start(self) -> ForkServerProcess:
        server = self._context.Process(
            target=serve_until_killed, args=(self._listener, *self._arguments), daemon=True
        )
        server.start()
        return server

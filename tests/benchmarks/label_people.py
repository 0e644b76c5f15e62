"""Scripted people who answer over HTTP, for benchmarks of the labelling server."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from typing import Any


class CutError(ConnectionError):
    """The server went away before its answer was complete: whether it stored anything is open."""


@dataclass(frozen=True)
class Reply:
    status: int
    headers: dict[str, str]
    content: bytes

    def json(self) -> Any:
        return json.loads(self.content)


class Connection:
    """HTTP/1.1 on one connection that is kept open. A tenth of the processor time of httpx, which
    would take most of the cores that the server is measured on."""

    def __init__(self, host: str, port: int) -> None:
        self.host, self.port, self.cookie = host, port, ""
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def request(self, method: str, path: str, body: Any = None, seconds: float = 30.0) -> Reply:
        """Raises CutError where no whole answer comes."""
        try:
            return await asyncio.wait_for(self._request(method, path, body), seconds)
        except (OSError, EOFError, asyncio.TimeoutError) as error:
            self.close()
            raise CutError(f"{method} {path}: {error!r}") from error

    async def listen(self, path: str) -> asyncio.StreamReader:
        """The open answer to a GET that never ends (server-sent events)."""
        await self._send("GET", path, None)
        assert self._reader is not None
        return self._reader

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()
        self._reader = self._writer = None

    async def _send(self, method: str, path: str, body: Any) -> None:
        if self._reader is not None and self._reader.at_eof():
            self.close()  # idle for longer than the server keeps a connection
        if self._writer is None:
            self._reader, self._writer = await asyncio.open_connection(self.host, self.port)
        content = b"" if body is None else json.dumps(body).encode()
        lines = [
            f"{method} {path} HTTP/1.1",
            f"Host: {self.host}:{self.port}",
            f"Content-Length: {len(content)}",
        ]
        if content:
            lines.append("Content-Type: application/json")
        if self.cookie:
            lines.append(f"Cookie: {self.cookie}")
        self._writer.write("\r\n".join([*lines, "", ""]).encode() + content)
        await self._writer.drain()

    async def _request(self, method: str, path: str, body: Any) -> Reply:
        await self._send(method, path, body)
        assert self._reader is not None
        head = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        headers = {}
        for line in head[1:]:
            name, _, value = line.partition(":")
            headers[name.lower()] = value.strip()
        content = await self._reader.readexactly(int(headers.get("content-length", "0")))
        if headers.get("connection") == "close":
            self.close()
        return Reply(int(head[0].split(" ", 2)[1]), headers, content)


class Person(Connection):
    """One annotator's page, without the page."""

    def __init__(self, host: str, port: int, token: str) -> None:
        super().__init__(host, port)
        self.token = token

    async def join(self) -> None:
        reply = await self.request("POST", "/api/session", {"token": self.token})
        if reply.status != 204:
            raise RuntimeError(f"the link was refused: {reply.status} {reply.content[:200]!r}")
        self.cookie = reply.headers["set-cookie"].partition(";")[0]

    async def lease(self, count: int, held: list[str]) -> Reply:
        return await self.request("POST", "/api/lease", {"n": count, "held": held})

    async def answer(self, uuid: str, query: str, choice: str) -> Reply:
        body = {"uuid": uuid, "query": query, "choice": choice, "shown_ms": 1500, "loops": 1.0, "speed": 1.0}
        return await self.request("POST", "/api/labels", {**body, "client_time": "2026-01-01T00:00:00Z"})

    async def retract(self, uuid: str, new: str) -> Reply:
        return await self.request("POST", f"/api/labels/{uuid}/retract", {"uuid": new})

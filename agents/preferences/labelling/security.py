"""What every request to a labelling server passes through, before any route sees it."""

from __future__ import annotations

import asyncio
import ipaddress
import logging
from collections.abc import Callable, Iterable
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from agents.preferences.labelling.limits import Limits

logger = logging.getLogger(__name__)

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
CONTENT_POLICY = "; ".join(
    (
        "default-src 'self'",
        "img-src 'self' blob:",
        "media-src 'self' blob:",
        "object-src 'none'",
        "base-uri 'none'",
        "form-action 'self'",
        "frame-ancestors 'none'",
    )
)
HEADERS = {
    "Content-Security-Policy": CONTENT_POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}

Explain = Callable[[Scope, int, str], Response]
"""makes the answer to a refused request: scope, status, a sentence for the person"""


class Guard:
    """ASGI middleware: host, origin and size of requests; headers of answers; nothing leaks from a crash.

    origins: under which addresses people reach the server, where that is not its own address (a proxy,
    a name), as "https://label.example.org".
    """

    def __init__(
        self, app: ASGIApp, *, origins: Iterable[str], secure: bool, limits: Limits, explain: Explain
    ) -> None:
        self.app = app
        self._origins = frozenset(normal_origin(origin) for origin in origins)
        self._names = frozenset({"localhost"} | {urlsplit(origin).hostname or "" for origin in self._origins})
        self._secure, self._limits, self._explain = secure, limits, explain

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        answer = _Answer(send, self._secure)
        refusal = self._refusal(scope)
        if refusal is not None:
            status, reason = refusal
            _log_refusal(scope, status, reason)
            await self._explain(scope, status, reason)(scope, receive, answer.send)
            return
        try:
            await self.app(scope, _Body(scope, receive, self._limits).receive, answer.send)
        except Exception:
            logger.exception("%s %.200r failed", scope["method"], scope["path"])
            if answer.started:
                raise  # the connection is cut: half an answer must not look like a whole one
            text = "The server made a mistake; nothing was stored. Try again, and tell the session's owner."
            await self._explain(scope, 500, text)(scope, receive, answer.send)

    def _refusal(self, scope: Scope) -> tuple[int, str] | None:
        headers = Headers(scope=scope)
        host = headers.get("host", "")
        if not self._is_own_host(host):
            return 400, (
                "This server does not answer to that name. The owner can allow it: "
                "start the server with --origin and the address that people use."
            )
        if scope["method"] not in SAFE_METHODS and not self._is_own_page(scope, headers, host):
            return 403, "The request came from another site, so it was refused. Open the session's own page."
        allowed = body_limit(scope, self._limits)
        declared = headers.get("content-length", "0")
        if declared.isascii() and declared.isdigit() and int(declared[:20]) > allowed:
            return 413, too_large(allowed)
        return None

    def _is_own_host(self, host: str) -> bool:
        """DNS rebinding needs a name that its owner can point here; an address cannot be pointed."""
        if not host or not host.isascii() or not host.isprintable() or set(host) & set("/\\@?# %"):
            return False
        try:
            parts = urlsplit(f"//{host}")
            name, _ = parts.hostname or "", parts.port  # a port that is none raises too
        except ValueError:
            return False
        return name in self._names or _is_address(name)

    def _is_own_page(self, scope: Scope, headers: Headers, host: str) -> bool:
        """Whether an unsafe request comes from a page of this server, or from no page at all.

        Every browser of the last years sends Origin with such requests, and one that speaks to
        localhost or by https sends Sec-Fetch-Site with all. A request that has neither comes from a
        program; it has no cookie but what its user gave it, so nobody can misuse that cookie (and a
        browser would keep a SameSite=Strict cookie from a foreign page's request all the same).
        """
        if headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
            return False
        origins = headers.getlist("origin")
        if not origins:
            return True
        scheme = "https" if self._secure else scope.get("scheme", "http")
        return len(origins) == 1 and origins[0].lower() in {f"{scheme}://{host.lower()}", *self._origins}


class _Answer:
    """Sends an answer with the headers that all answers have."""

    def __init__(self, send: Send, secure: bool) -> None:
        self._send, self._secure = send, secure
        self.started = False

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.started = True
            headers = MutableHeaders(scope=message)
            for name, value in HEADERS.items():
                headers[name] = value
            headers.setdefault("Cache-Control", "no-store")
            if self._secure:
                headers["Strict-Transport-Security"] = "max-age=31536000"
        await self._send(message)


class _Body:
    """Counts a body as it arrives, for its declared length may be missing or a lie."""

    def __init__(self, scope: Scope, receive: Receive, limits: Limits) -> None:
        self._receive, self._allowed, self._arrived, self._whole = (
            receive,
            body_limit(scope, limits),
            0,
            False,
        )
        self._seconds = limits.body_seconds * (10 if is_upload(scope) else 1)
        self._deadline: float | None = None

    async def receive(self) -> Message:
        if self._whole:
            return await self._receive()  # waits until the client is gone
        now = asyncio.get_running_loop().time()
        if self._deadline is None:
            self._deadline = now + self._seconds
        try:
            message = await asyncio.wait_for(self._receive(), max(self._deadline - now, 0.0))
        except (TimeoutError, asyncio.TimeoutError):
            raise HTTPException(408, "The request took too long to arrive. Try again.") from None
        if message["type"] == "http.request":
            self._arrived += len(message.get("body", b""))
            self._whole = not message.get("more_body", False)
            if self._arrived > self._allowed:
                raise HTTPException(413, too_large(self._allowed))
        return message


def is_upload(scope: Scope) -> bool:
    return bool(scope["method"] == "POST" and scope["path"] == "/api/owner/import")


def body_limit(scope: Scope, limits: Limits) -> int:
    return limits.import_bytes if is_upload(scope) else limits.body_bytes


def too_large(allowed: int) -> str:
    return f"The request is larger than the {allowed // 1024} KiB that are allowed here."


def normal_origin(origin: str) -> str:
    """Scheme, host and port as a browser writes them. Raises ValueError for anything more or less."""
    parts = urlsplit(origin.strip().rstrip("/").lower())
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.path or parts.query:
        raise ValueError(f"an origin is written as https://label.example.org, got {origin!r}")
    if parts.port == {"http": 80, "https": 443}[parts.scheme]:
        return f"{parts.scheme}://{parts.netloc.rpartition(':')[0]}"
    return f"{parts.scheme}://{parts.netloc}"


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _log_refusal(scope: Scope, status: int, reason: str) -> None:
    client = (scope.get("client") or ("?",))[0]
    logger.warning("%s %.200r from %s: %d, %s", scope["method"], scope["path"], client, status, reason)

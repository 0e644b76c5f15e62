"""What the routes of a labelling server share, and who a request comes from."""

from __future__ import annotations

import hashlib
import math
import re
from dataclasses import dataclass
from typing import Annotated

import jinja2
from fastapi import Depends, HTTPException, Request

from agents.preferences.labelling.events import Hub
from agents.preferences.labelling.limits import Buckets, Limits
from agents.preferences.labelling.overview import Overviews
from agents.preferences.labelling.stats import Board
from agents.preferences.labelling.storage import MediaStorage
from agents.preferences.labelling.store import LabelStore
from agents.preferences.labelling.types import Annotator, ForbiddenError

_TOKEN = re.compile(r"[A-Za-z0-9_-]{20,200}")
NO_SESSION = "You are not in a session here. Open the link that the session's owner gave you."


@dataclass(frozen=True)
class Desk:
    """One per application, in `app.state.desk`."""

    store: LabelStore
    storage: MediaStorage
    board: Board
    overviews: Overviews
    hub: Hub
    pages: jinja2.Environment
    limits: Limits
    requests: Buckets
    """by annotator"""
    failures: Buckets
    """wrong links, by address"""
    origins: tuple[str, ...]
    secure: bool


@dataclass(frozen=True)
class Visitor:
    """Whoever sent a request, known by the cookie's token alone."""

    desk: Desk
    token: str

    def annotator(self) -> Annotator:
        """Looks the token up each time, so that a revoked link ends at once. Blocks on the database."""
        try:
            return self.desk.store.annotator_by_token(self.token)
        except ForbiddenError as error:
            raise HTTPException(401, str(error)) from None

    def owner(self) -> Annotator:
        """The annotator, if this is the study's owner. Raises ForbiddenError."""
        annotator = self.annotator()
        if annotator.role != "owner":
            raise ForbiddenError("Only the owner of the session may do that.")
        return annotator


def desk_of(request: Request) -> Desk:
    """The application's desk."""
    desk: Desk = request.app.state.desk
    return desk


def cookie_name(request: Request) -> str:
    """Browsers share cookies between the ports of a host: two sessions on one machine need two names."""
    port = request.url.port
    return "surefoot" if port is None else f"surefoot_{port}"


def is_token(text: str) -> bool:
    return _TOKEN.fullmatch(text) is not None


async def visitor(request: Request) -> Visitor:
    """The sender of a request; 401 without a session, 429 where it asks too much."""
    desk = desk_of(request)
    token = request.cookies.get(cookie_name(request)) or request.cookies.get("surefoot") or ""
    if not is_token(token):
        raise HTTPException(401, NO_SESSION)
    seconds = desk.requests.take(hashlib.sha256(token.encode()).hexdigest())
    if seconds > 0:
        raise too_many(seconds)
    return Visitor(desk, token)


def too_many(seconds: float) -> HTTPException:
    """429, and when to come again."""
    wait = max(1, math.ceil(seconds))
    return HTTPException(429, f"Too many requests. Try again in {wait} s.", {"Retry-After": str(wait)})


Visiting = Annotated[Visitor, Depends(visitor)]

"""The web application of labelling sessions."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from functools import partial

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.staticfiles import StaticFiles
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.types import Scope

from agents.preferences.labelling import api, files, owner, pages
from agents.preferences.labelling.desk import NO_SESSION, Desk
from agents.preferences.labelling.events import Hub
from agents.preferences.labelling.limits import Buckets, Limits
from agents.preferences.labelling.overview import Overviews
from agents.preferences.labelling.security import Guard, normal_origin
from agents.preferences.labelling.stats import Board
from agents.preferences.labelling.storage import MediaStorage, MissingMediaError
from agents.preferences.labelling.store import LabelStore
from agents.preferences.labelling.types import (
    ConflictError,
    ForbiddenError,
    LabellingError,
    UnavailableError,
    UnknownError,
)

logger = logging.getLogger(__name__)

STATUS: dict[type[LabellingError], int] = {
    MissingMediaError: 404,
    UnknownError: 404,
    ForbiddenError: 403,
    ConflictError: 409,
    UnavailableError: 503,
}


def create_app(
    store: LabelStore,
    storage: MediaStorage,
    *,
    origins: Sequence[str] = (),
    secure: bool = False,
    limits: Limits | None = None,
    poll_seconds: float = 1.0,
    lifespan: Callable[[FastAPI], AbstractAsyncContextManager[None]] | None = None,
) -> FastAPI:
    """The application over a database and a media storage.

    origins: addresses under which people reach it, where those are not its own (a proxy, a name).
    secure: people reach it by https; cookies then never travel without.
    """
    limits = limits or Limits()
    board, templates = Board(store), pages.environment()
    explain = partial(pages.explain, templates)
    app = FastAPI(
        title="surefoot labelling session",
        openapi_url="/api/openapi.json",
        docs_url=None,
        redoc_url=None,
        lifespan=lifespan,
    )
    app.state.desk = Desk(
        store=store,
        storage=storage,
        board=board,
        overviews=Overviews(store, board),
        hub=Hub(board, poll_seconds=poll_seconds),
        pages=templates,
        limits=limits,
        requests=Buckets(limits.requests_per_second, limits.request_burst),
        failures=Buckets(limits.failures_per_second, limits.failure_burst),
        origins=tuple(normal_origin(origin) for origin in origins),
        secure=secure,
    )
    for router in (api.router, owner.router, files.router, pages.router):
        app.include_router(router)
    app.mount("/static", _Static(directory=pages.FOLDER / "static"), name="static")
    app.add_middleware(Guard, origins=origins, secure=secure, limits=limits, explain=explain)

    @app.exception_handler(LabellingError)
    async def refused(request: Request, error: LabellingError) -> Response:
        return _explained(request, _status(error), str(error), board.words(error))

    @app.exception_handler(HTTPException)
    async def failed(request: Request, error: HTTPException) -> Response:
        response = _explained(request, error.status_code, error.detail)
        response.headers.update(error.headers or {})
        return response

    @app.exception_handler(RequestValidationError)
    async def malformed(request: Request, error: RequestValidationError) -> Response:
        return _explained(request, 422, _sentence(error))

    def _explained(request: Request, status: int, text: str, shown: str = "") -> Response:
        """Answers, and leaves a line for the owner; what everybody's browser does is no news."""
        level = logging.INFO if text in (NO_SESSION, "Not Found") else logging.WARNING
        logger.log(level, "%s %.200r: %d, %s", request.method, request.url.path, status, text)
        response = explain(request.scope, status, shown or text)
        if status == 503:
            response.headers["Retry-After"] = "2"
        return response

    return app


def _status(error: LabellingError) -> int:
    return next((status for kind, status in STATUS.items() if isinstance(error, kind)), 400)


class _Static(StaticFiles):
    """Files that a new release replaces: the browser asks each time whether they changed."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        response = await super().get_response(path, scope)
        response.headers["Cache-Control"] = "no-cache"
        return response


def _sentence(error: RequestValidationError) -> str:
    """The first thing that is wrong, without what was sent: that may be huge, or no JSON."""
    first = error.errors()[0]
    if first["type"] == "json_invalid":
        return "The request is not JSON."
    place = ".".join(str(part) for part in first["loc"][1:])
    what = str(first["msg"]).removeprefix("Value error, ")
    return f"The request cannot be understood: {place + ': ' if place else ''}{what}."[:300]

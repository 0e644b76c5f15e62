"""The pages of a labelling session, and the pictures on them."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Annotated

import jinja2
from fastapi import APIRouter, Request, Response
from fastapi import Path as PathParameter
from fastapi.responses import HTMLResponse, JSONResponse
from starlette.datastructures import Headers
from starlette.types import Scope

from agents.preferences.labelling.api import PROBLEMS
from agents.preferences.labelling.desk import Visiting, desk_of
from agents.preferences.labelling.media import read_media

logger = logging.getLogger(__name__)

FOLDER = Path(__file__).parent
Sha = Annotated[str, PathParameter(pattern=r"^[0-9a-f]{64}$")]

router = APIRouter()


def environment() -> jinja2.Environment:
    """The templates; what is put into them is escaped."""
    loader = jinja2.FileSystemLoader(FOLDER / "templates")
    return jinja2.Environment(loader=loader, autoescape=True, undefined=jinja2.StrictUndefined)


@router.get("/", response_class=HTMLResponse, include_in_schema=False)
def label_page(request: Request, visitor: Visiting) -> HTMLResponse:
    me = visitor.annotator()
    study = visitor.desk.store.study(me.study)
    return _page(request, "label.html", study=study, annotator=me)


@router.get("/join", response_class=HTMLResponse, include_in_schema=False)
async def join_page(request: Request) -> HTMLResponse:
    return _page(request, "join.html")


@router.get("/owner", response_class=HTMLResponse, include_in_schema=False)
def owner_page(request: Request, visitor: Visiting) -> HTMLResponse:
    me = visitor.owner()
    study = visitor.desk.store.study(me.study)
    return _page(request, "owner.html", study=study, annotator=me)


@router.get(
    "/media/{sha}",
    response_class=Response,
    responses={**PROBLEMS, 200: {"content": {"image/webp": {}}}, 206: {}, 304: {}, 416: {}},
)
def media(sha: Sha, request: Request, visitor: Visiting) -> Response:
    """A drawn clip or a video of the visitor's own study; it never changes, for its name is its digest."""
    me = visitor.annotator()
    content_type = visitor.desk.store.media_allowed(me.id, sha)
    headers = {
        "Cache-Control": "private, max-age=31536000, immutable",
        "ETag": f'"{sha}"',
        "Accept-Ranges": "bytes",
    }
    if request.headers.get("if-none-match") == headers["ETag"]:
        return Response(status_code=304, headers=headers)
    content = read_media(visitor.desk.store, visitor.desk.storage, sha)
    return _part(content, request.headers.get("range", ""), content_type, headers)


def _part(content: bytes, wanted: str, content_type: str, headers: dict[str, str]) -> Response:
    """The whole, or the one range of bytes that a video player asked for."""
    unit, _, span = wanted.partition("=")
    first, dash, last = span.strip().partition("-")
    sound = dash and all(text == "" or (text.isascii() and text.isdigit()) for text in (first, last))
    if unit.strip().lower() != "bytes" or not sound or not (first or last) or len(span) > 40:
        return Response(content, media_type=content_type, headers=headers)
    size = len(content)
    begin = int(first) if first else max(0, size - int(last))
    end = min(int(last), size - 1) if first and last else size - 1
    if begin > end:
        return Response(status_code=416, headers={**headers, "Content-Range": f"bytes */{size}"})
    headers = {**headers, "Content-Range": f"bytes {begin}-{end}/{size}"}
    return Response(content[begin : end + 1], 206, media_type=content_type, headers=headers)


def explain(pages: jinja2.Environment, scope: Scope, status: int, text: str) -> Response:
    """A refusal: a page for a person who opened an address, JSON for the page's own requests."""
    path = str(scope["path"])
    if path.startswith(("/api/", "/media/", "/static/")) or "text/html" not in Headers(scope=scope).get(
        "accept", ""
    ):
        return JSONResponse({"detail": text}, status)
    return HTMLResponse(pages.get_template("message.html").render(status=status, text=text), status)


def _page(request: Request, name: str, **content: object) -> HTMLResponse:
    return HTMLResponse(desk_of(request).pages.get_template(name).render(**content))

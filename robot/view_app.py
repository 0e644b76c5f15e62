"""The live view's web page and what it asks for. Pictures and state are asked for one at a time: a browser
that is slow or gone gets fewer pictures, and holds nobody up.

The emergency stop is answered by the event loop itself: it waits for no picture and no other thread.
"""

import asyncio
import hmac
import logging
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

from robot.messages import MessageError

if TYPE_CHECKING:
    from fastapi import FastAPI

    from robot.view_node import ViewNode

log = logging.getLogger(__name__)

STATIC = Path(__file__).parent / "static"
WAIT = 1.0
"""s that a request waits for the next picture"""
LOOKERS = 8
"""requests that may wait for a picture at a time"""
COOKIE = "surefoot_view"


def create_app(node: "ViewNode", token: str | None = None) -> "FastAPI":
    """The application. token: what a browser must bring, in the link or as cookie; None: nothing."""
    from fastapi import Depends, FastAPI, HTTPException, Request
    from fastapi.responses import FileResponse, JSONResponse, RedirectResponse, Response
    from fastapi.staticfiles import StaticFiles

    from agents.preferences.labelling.limits import Limits
    from agents.preferences.labelling.security import Guard

    board = node.board
    packer, armer = (ThreadPoolExecutor(1, name) for name in ("picture", "arm"))
    looking = asyncio.Semaphore(LOOKERS)

    async def allowed(request: Request) -> None:
        given = request.query_params.get("token") or request.cookies.get(COOKIE, "")
        if token is not None and not hmac.compare_digest(given.encode(), token.encode()):
            raise HTTPException(401, "Open the link that `surefoot robot view` printed: it holds the key.")

    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None, dependencies=[Depends(allowed)])

    # FastAPI reads the annotations: they must be classes here, not text.
    async def page(request: Request) -> Response:
        if token is None or "token" not in request.query_params:
            return FileResponse(STATIC / "view.html", headers={"Cache-Control": "no-cache"})
        answer = RedirectResponse("/", 303)  # so that the key does not stay in the address bar
        answer.set_cookie(COOKIE, token, httponly=True, samesite="strict")
        return answer

    async def state(seen: int = -1) -> JSONResponse:
        return JSONResponse(board.state(seen))

    async def picture(after: int = 0) -> Response:
        if looking.locked():
            return Response(status_code=503, headers={"Retry-After": "1"})
        async with looking:
            loop = asyncio.get_running_loop()
            end = loop.time() + WAIT
            while board.pictures <= after and loop.time() < end:
                await asyncio.sleep(0.02)
            if board.pictures <= after:
                return Response(status_code=204)
            try:
                number, content = await loop.run_in_executor(packer, board.jpeg)
            except MessageError:  # the state tells what is wrong
                return Response(status_code=204, headers={"X-Picture": str(board.pictures)})
        return Response(content, media_type="image/jpeg", headers={"X-Picture": str(number)})

    async def estop(pressed: bool) -> JSONResponse:
        return JSONResponse({"listeners": node.press(pressed)})

    async def arm(arm: bool) -> JSONResponse:
        loop = asyncio.get_running_loop()
        done, words = await loop.run_in_executor(armer, node.arm, arm)
        return JSONResponse({"done": done, "words": words})

    for path, handler, method in (
        ("/", page, "GET"),
        ("/api/state", state, "GET"),
        ("/api/picture", picture, "GET"),
        ("/api/estop", estop, "POST"),
        ("/api/arm", arm, "POST"),
    ):
        app.add_api_route(path, handler, methods=[method], response_model=None)
    app.mount("/static", StaticFiles(directory=STATIC), name="static")
    app.add_middleware(Guard, origins=(), secure=False, limits=Limits(), explain=_explain)
    return app


def _explain(scope: Any, status: int, reason: str) -> Any:
    from fastapi.responses import JSONResponse

    return JSONResponse({"detail": reason}, status)

"""The annotators' API: join, lease, answer, undo, watch."""

from __future__ import annotations

from datetime import datetime, timezone
from functools import partial
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, HTTPException, Query, Request, Response
from fastapi.responses import StreamingResponse
from starlette.concurrency import run_in_threadpool

from agents.preferences.labelling.desk import Visiting, cookie_name, desk_of, is_token, too_many
from agents.preferences.labelling.messages import (
    Given,
    History,
    LabelRequest,
    Lease,
    LeaseRequest,
    Problem,
    Retracted,
    RetractRequest,
    SessionRequest,
    Stored,
    Task,
    Wait,
    on_screen,
    question,
)
from agents.preferences.labelling.stats import wait_reason
from agents.preferences.labelling.types import ANSWERING, ForbiddenError, NewLabel

PROBLEMS: dict[int | str, dict[str, Any]] = {
    status: {"model": Problem} for status in (400, 401, 403, 404, 409, 413, 422, 429, 503)
}
YEAR = 365 * 24 * 3600

router = APIRouter(prefix="/api", responses=PROBLEMS)


@router.get("/health")
async def health() -> dict[str, str]:
    """Whether the server runs; says nothing of the database."""
    return {"status": "ok"}


@router.post("/session", status_code=204)
async def join(body: SessionRequest, request: Request, response: Response) -> None:
    """Turns the token of a link into this browser's cookie."""
    desk = desk_of(request)
    address = request.client.host if request.client else ""
    seconds = desk.failures.wait(address)
    if seconds > 0:
        raise too_many(seconds)
    try:
        if not is_token(body.token):
            raise ForbiddenError("This link is not complete. Copy the whole of it, up to its last letter.")
        annotator = await run_in_threadpool(desk.store.annotator_by_token, body.token)
    except ForbiddenError as error:
        desk.failures.take(address)
        raise HTTPException(401, str(error)) from None
    age = float(YEAR)
    if annotator.expires is not None:
        age = min(age, (annotator.expires - datetime.now(timezone.utc)).total_seconds())
    response.set_cookie(
        cookie_name(request),
        body.token,
        max_age=max(1, int(age)),
        httponly=True,
        secure=desk.secure,
        samesite="strict",
    )


@router.delete("/session", status_code=204)
async def leave(request: Request, response: Response) -> None:
    """Makes this browser forget the link."""
    secure = desk_of(request).secure
    response.delete_cookie(cookie_name(request), secure=secure, httponly=True, samesite="strict")


@router.get("/task")
def task(visitor: Visiting) -> Task:
    """What is asked in this session, and of whom."""
    me = visitor.annotator()
    study = visitor.desk.store.study(me.study)
    return Task(
        study=study.id,
        name=study.name,
        env=study.env,
        guide=study.guide,
        role=me.role,
        annotator=me.name,
        target=study.target,
        state=study.state,
        fps=study.display_fps,
    )


@router.post("/lease")
def lease(body: LeaseRequest, visitor: Visiting) -> Lease:
    """Up to n pairs to compare, beside those that the page holds; those are kept for it."""
    me, store = visitor.annotator(), visitor.desk.store
    offers = store.offer(me.id, body.n, held=body.held)
    wait = Wait(reason="none", text="") if offers else Wait(**wait_reason(store, me.study, me.id))
    now = datetime.now(timezone.utc)
    return Lease(queries=[question(offer, now) for offer in offers], wait=wait)


@router.post("/labels")
def answer(body: LabelRequest, visitor: Visiting) -> Stored:
    """Stores an answer; it is on the disk when this returns. The same uuid again changes nothing."""
    me, store = visitor.annotator(), visitor.desk.store
    began = datetime.now(timezone.utc)
    label = store.answer(
        me.id,
        NewLabel(
            uuid=str(body.uuid),
            query=body.query,
            choice=body.choice,
            shown_ms=body.shown_ms,
            loops=body.loops,
            speed=body.speed,
            client_time=body.client_time,
        ),
    )
    known = label.server_time < began
    counts = not known and label.kind == "train" and label.choice in ANSWERING
    given = visitor.desk.board.given(me.study, 1 if counts else 0)
    return Stored(uuid=label.uuid, status="known" if known else "stored", given=given)


@router.post("/labels/{uuid}/retract")
def retract(uuid: UUID, body: RetractRequest, visitor: Visiting) -> Retracted:
    """Takes an own answer back; its pair is asked again, same sides."""
    me = visitor.annotator()
    offer = visitor.desk.store.retract(me.id, str(uuid), str(body.uuid))
    return Retracted(query=question(offer, datetime.now(timezone.utc)))


@router.get("/history")
def history(visitor: Visiting, limit: Annotated[int, Query(ge=1, le=1000)] = 50) -> History:
    """Own answers, newest first."""
    me = visitor.annotator()
    return History(
        labels=[
            Given(
                uuid=label.uuid,
                query=label.query,
                choice=on_screen(label.choice, label.swapped),
                server_time=label.server_time,
                retracted=label.retracted,
            )
            for label in visitor.desk.store.history(me.id, limit=limit)
        ]
    )


@router.get("/stats")
def stats(visitor: Visiting) -> dict[str, Any]:
    """What moves: answers given, the reward model's accuracy, the run's step, why this person waits."""
    me, board = visitor.annotator(), visitor.desk.board
    return board.personal(board.snapshot(me.study), me.id)


@router.get("/events", response_class=StreamingResponse, include_in_schema=False)
async def events(visitor: Visiting) -> StreamingResponse:
    """The same whenever it changed, as server-sent events. Not in the description: it never ends."""
    me = await run_in_threadpool(visitor.annotator)
    hub, limits = visitor.desk.hub, visitor.desk.limits
    if hub.streams(me.id) >= limits.streams:
        raise HTTPException(429, f"More than {limits.streams} pages of yours listen already. Close some.")
    stream = hub.stream(me, partial(visitor.desk.store.annotator_by_token, visitor.token))
    return StreamingResponse(stream, media_type="text/event-stream", headers={"X-Accel-Buffering": "no"})

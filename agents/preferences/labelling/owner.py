"""The owner's API: who may answer, how well they do, what comes out. Only of the owner's own study."""

from __future__ import annotations

import logging
from collections import Counter
from datetime import datetime, timedelta, timezone
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request
from pydantic import AfterValidator, Field

from agents.preferences.labelling.api import PROBLEMS
from agents.preferences.labelling.desk import Visiting, Visitor
from agents.preferences.labelling.messages import Id, Incoming
from agents.preferences.labelling.types import ConflictError, UnknownError

logger = logging.getLogger(__name__)

router = APIRouter(prefix="/api/owner", responses=PROBLEMS)


def _printable(name: str) -> str:
    """A name without line breaks and other control characters, which tables and logs would trip over."""
    name = " ".join(name.split())
    if not name or not name.isprintable():
        raise ValueError("a name of letters is wanted")
    return name


class StateRequest(Incoming):
    state: Literal["active", "paused"]


class InviteRequest(Incoming):
    name: Annotated[str, Field(min_length=1, max_length=80), AfterValidator(_printable)]
    hours: Annotated[float, Field(gt=0, le=24 * 366)] | None = None


class GoldRequest(Incoming):
    """`choice` counts by the pair's own sides."""

    query: Id
    choice: Literal["left", "right", "tie"]


class ReopenRequest(Incoming):
    query: Id


@router.get("/overview")
def overview(visitor: Visiting) -> dict[str, Any]:
    """All that the dashboard shows but its lists."""
    return visitor.desk.overviews.of(visitor.owner().study)


@router.post("/state", status_code=204)
def set_state(body: StateRequest, visitor: Visiting) -> None:
    """Pauses the session, or goes on. What is on people's screens may be answered all the same."""
    me, store = visitor.owner(), visitor.desk.store
    if store.study(me.study).state == "finished":
        raise ConflictError("The session is finished. To go on, make its run longer: surefoot resume.")
    store.set_state(me.study, body.state)
    words = {"paused": "the owner paused the session", "active": "the owner lets the session go on"}
    note(visitor, me.study, words[body.state])


@router.post("/annotators")
def invite(body: InviteRequest, request: Request, visitor: Visiting) -> dict[str, str]:
    """Makes a link for one person; it cannot be shown again, for only its digest is kept."""
    me = visitor.owner()
    expires = None if body.hours is None else datetime.now(timezone.utc) + timedelta(hours=body.hours)
    person, token = visitor.desk.store.add_annotator(me.study, body.name, expires=expires)
    note(visitor, me.study, f"{body.name} was invited")
    scheme = "https" if visitor.desk.secure else "http"
    base = visitor.desk.origins[0] if visitor.desk.origins else f"{scheme}://{request.headers['host']}"
    return {"id": person.id, "link": f"{base}/join#{token}"}


@router.delete("/annotators/{annotator_id}", status_code=204)
def revoke(annotator_id: Id, visitor: Visiting) -> None:
    """Ends a person's link at once; the answers stay."""
    me, store = visitor.owner(), visitor.desk.store
    if annotator_id == me.id:
        raise ConflictError("Your own link stays: without it nobody could reach this page.")
    person = next((one for one in store.annotators(me.study) if one.id == annotator_id), None)
    if person is None:
        raise UnknownError("Nobody of that id is in this session.")
    if person.revoked is None:
        store.revoke(annotator_id)
        note(visitor, me.study, f"the link of {person.name} was revoked")


@router.get("/golds")
def golds(visitor: Visiting) -> dict[str, Any]:
    """Pairs whose answer is known, by their keys."""
    found = visitor.desk.store.golds(visitor.owner().study)
    return {"golds": [{"key": key, "choice": choice} for key, choice in sorted(found.items())]}


@router.post("/gold", status_code=204)
def make_gold(body: GoldRequest, visitor: Visiting) -> None:
    """Says what the answer to a pair is; people are asked it now and then."""
    me = visitor.owner()
    visitor.desk.store.make_gold(me.study, body.query, body.choice)
    note(visitor, me.study, "a gold pair was made")


@router.get("/flagged")
def flagged(visitor: Visiting) -> dict[str, Any]:
    """Pairs that somebody could not judge, and clips that cannot be drawn."""
    me, store = visitor.owner(), visitor.desk.store
    pairs: dict[str, dict[str, Any]] = {}
    for flag in store.flagged(me.study):
        clips = {"left": flag.left, "right": flag.right}
        media = {side: None if clip is None else f"/media/{clip.media}" for side, clip in clips.items()}
        pair = pairs.setdefault(flag.query, {"query": flag.query, "key": flag.key, "people": [], **media})
        pair["people"].append(flag.annotator)
    reasons = Counter(clip.reason for clip in store.undrawable(me.study))
    undrawable = [{"reason": reason, "clips": clips} for reason, clips in reasons.most_common()]
    return {"flagged": list(pairs.values()), "undrawable": undrawable}


@router.post("/reopen", status_code=204)
def reopen(body: ReopenRequest, visitor: Visiting) -> None:
    """Asks a flagged pair again."""
    visitor.desk.store.reopen(body.query, visitor.owner().study)


@router.get("/labels")
def labels(visitor: Visiting, limit: Annotated[int, Query(ge=1, le=1000)] = 100) -> dict[str, Any]:
    """The newest answers of all people, newest first; `choice` counts by the pair's sides."""
    rows = visitor.desk.overviews.labels(visitor.owner().study)
    return {
        "labels": [
            {
                "uuid": label.uuid,
                "query": label.query,
                "key": label.key,
                "kind": label.kind,
                "annotator": label.annotator,
                "choice": label.choice,
                "server_time": label.server_time.isoformat(),
                "retracted": label.retracted,
            }
            for label in reversed([row for row in rows if row.retracts is None][-limit:])
        ]
    }


def note(visitor: Visitor, study: str, text: str) -> None:
    """Leaves a line in the session's own list of events and in the log."""
    logger.info("study %s: %s", study, text)
    visitor.desk.store.log_event(study, "owner", {"text": text})

"""Rows of the people who answer; of their secret links only a digest is kept."""

from __future__ import annotations

import hashlib
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, bindparam, insert, select, update

from agents.preferences.labelling import studies
from agents.preferences.labelling.schema import annotator
from agents.preferences.labelling.types import Annotator, ForbiddenError, UnknownError

_PUBLIC = [column for column in annotator.c if column.name != "token_hash"]
_BY_DIGEST = select(*_PUBLIC).where(annotator.c.token_hash == bindparam("digest"))


def add(connection: Connection, new: Annotator, token: str) -> Annotator:
    """The annotator of that token, made where there is none: two processes may make the owner at once."""
    studies.lock(connection, new.study)
    known = _by_digest(connection, digest(token))
    if known is not None:
        if (known.study, known.name) != (new.study, new.name):
            raise ForbiddenError("This link belongs to somebody else.")
        return _annotator(known)
    row = {column.name: getattr(new, column.name) for column in _PUBLIC}
    connection.execute(insert(annotator), {**row, "token_hash": digest(token)})
    return new


def by_token(connection: Connection, token: str, now: datetime) -> Annotator:
    row = _by_digest(connection, digest(token))
    if row is None:
        raise ForbiddenError("This link is not known here. Ask the session's owner for one.")
    check(row, now)
    return _annotator(row)


def check(person: Row[Any], now: datetime) -> None:
    """Raises ForbiddenError unless their link still holds."""
    if person.revoked is not None:
        raise ForbiddenError("This link was withdrawn by the session's owner.")
    if person.expires is not None and person.expires <= now:
        raise ForbiddenError("This link has expired. Ask the session's owner for a new one.")


def of_study(connection: Connection, study_id: str) -> list[Annotator]:
    found = select(*_PUBLIC).where(annotator.c.study == study_id)
    return [
        _annotator(row) for row in connection.execute(found.order_by(annotator.c.created, annotator.c.id))
    ]


def revoke(connection: Connection, annotator_id: str, now: datetime) -> None:
    """Their answers stay; what they hold is offered to others when its time is over."""
    known = annotator.c.id == annotator_id
    standing = connection.execute(
        update(annotator).where(known, annotator.c.revoked.is_(None)).values(revoked=now)
    )
    if standing.rowcount == 0 and connection.execute(select(annotator.c.id).where(known)).first() is None:
        raise UnknownError("There is no such person in this session.")


def digest(token: str) -> str:
    """Tokens are 256 random bits: one fast hash is enough, there is nothing to guess."""
    return hashlib.sha256(token.encode()).hexdigest()


def _by_digest(connection: Connection, token_hash: str) -> Row[Any] | None:
    return connection.execute(_BY_DIGEST, {"digest": token_hash}).one_or_none()


def _annotator(row: Row[Any]) -> Annotator:
    return Annotator(**row._mapping)

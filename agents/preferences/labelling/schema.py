"""The tables of labelling sessions, alike on SQLite and PostgreSQL.

Rows of `label` are only ever added: an undo is a row that names the one it takes back. `lease` holds one
row per query and annotator, so the sides that a person saw stay known however often it is handed out.
"""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Dialect,
    Float,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    UniqueConstraint,
    text,
)
from sqlalchemy.types import TypeDecorator

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)
Counter = BigInteger().with_variant(Integer(), "sqlite")
"""SQLite numbers rows by itself only where the type is INTEGER."""


class UtcTime(TypeDecorator[datetime]):
    """A moment with its time zone, always UTC; SQLite keeps none, so it is taken off and put back."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"a time needs its time zone, got {value}")
        value = value.astimezone(timezone.utc)
        return value.replace(tzinfo=None) if dialect.name == "sqlite" else value

    def process_result_value(self, value: Any | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        moment: datetime = value
        return (
            moment.replace(tzinfo=timezone.utc) if moment.tzinfo is None else moment.astimezone(timezone.utc)
        )


study = Table(
    "study",
    metadata,
    Column("id", String, primary_key=True),
    Column("name", String, nullable=False),
    Column("env", String, nullable=False),
    Column("guide", String, nullable=False),
    Column("display_fps", Integer, nullable=False),
    Column("target", Integer, nullable=False),
    Column("state", String, nullable=False),
    Column("lease_seconds", Float, nullable=False),
    Column("overlap_share", Float, nullable=False),
    Column("overlap", Integer, nullable=False),
    Column("repeat_share", Float, nullable=False),
    Column("gold_share", Float, nullable=False),
    Column("info", JSON, nullable=False),
    Column("created", UtcTime, nullable=False),
)

segment = Table(
    "segment",
    metadata,
    Column("id", Counter, primary_key=True, autoincrement=True),
    Column("study", ForeignKey("study.id"), nullable=False),
    Column("source", String, nullable=False),
    Column("env", String, nullable=False),
    Column("steps", Integer, nullable=False),
    Column("fps", Integer, nullable=False),
    Column("state", String, nullable=False),  # waiting, drawn or undrawable
    Column("reason", String),  # why it is undrawable
    Column("claimed_until", UtcTime),
    # What was drawn, kept while it is drawn anew.
    Column("media", String),
    Column("frames", Integer),
    Column("columns", Integer),
    Column("width", Integer),
    Column("height", Integer),
    Column("content_type", String),
    UniqueConstraint("study", "source"),
)
Index(None, segment.c.study, segment.c.media)

query = Table(
    "query",
    metadata,
    Column("id", String, primary_key=True),
    Column("study", ForeignKey("study.id"), nullable=False),
    Column("kind", String, nullable=False),
    Column("key", String, nullable=False),  # Query.id of the pair, also for repeats and golds
    Column("pair", String, nullable=False),  # the training query that it shows; its own id for that
    Column("annotator", ForeignKey("annotator.id")),  # the only one who is asked: repeats
    Column("gold", String),  # the answer that the owner knows
    Column("number", BigInteger, nullable=False),  # Query.index
    Column("left_segment", ForeignKey("segment.id"), nullable=False, index=True),
    Column("right_segment", ForeignKey("segment.id"), nullable=False, index=True),
    Column("chosen_by", String, nullable=False),
    Column("score", Float, nullable=False),
    Column("reward_version", BigInteger, nullable=False),
    Column("step", BigInteger, nullable=False),
    Column("priority", Float, nullable=False),
    Column("wanted", Integer, nullable=False),  # how many answers
    Column("answers", Integer, nullable=False),  # how many stand
    Column("ready", Boolean, nullable=False),  # both clips are drawn
    Column("created", UtcTime, nullable=False),
    Column("closed", UtcTime),
    Column("closed_by", String),  # answers, flag or withdrawn
    # Long ones last: SQLite reads a row from its beginning.
    Column("left_reward", JSON, nullable=False),
    Column("right_reward", JSON, nullable=False),
    Column("clips", JSON, nullable=False),
)
Index(
    "uq_query_train",
    query.c.study,
    query.c.key,
    unique=True,
    sqlite_where=text("kind = 'train'"),
    postgresql_where=text("kind = 'train'"),
)
Index(
    "uq_query_gold",
    query.c.study,
    query.c.key,
    unique=True,
    sqlite_where=text("kind = 'gold'"),
    postgresql_where=text("kind = 'gold'"),
)
Index(
    "uq_query_repeat",
    query.c.annotator,
    query.c.key,
    unique=True,
    sqlite_where=text("kind = 'repeat'"),
    postgresql_where=text("kind = 'repeat'"),
)
# What is offered next is read off this one in its order.
Index(
    "ix_query_open",
    query.c.study,
    query.c.kind,
    query.c.priority.desc(),
    query.c.number,
    sqlite_where=text("closed IS NULL"),
    postgresql_where=text("closed IS NULL"),
)
# All that is counted every second, so that the rows themselves are not read for it.
Index("ix_query_counted", query.c.study, query.c.kind, query.c.closed_by, query.c.ready, query.c.answers)

annotator = Table(
    "annotator",
    metadata,
    Column("id", String, primary_key=True),
    Column("study", ForeignKey("study.id"), nullable=False, index=True),
    Column("name", String, nullable=False),
    Column("role", String, nullable=False),
    Column("token_hash", String, nullable=False, unique=True),
    Column("created", UtcTime, nullable=False),
    Column("expires", UtcTime),
    Column("revoked", UtcTime),
)

lease = Table(
    "lease",
    metadata,
    Column("query", ForeignKey("query.id"), primary_key=True),
    Column("annotator", ForeignKey("annotator.id"), primary_key=True),
    Column("pair", String, nullable=False),
    Column("swapped", Boolean, nullable=False),
    Column("issued", UtcTime, nullable=False),
    Column("expires", UtcTime, nullable=False),
    Column("released", UtcTime),
    Column("skipped", UtcTime),
    Column("answer", String),  # uuid of the answer or flag that stands
)
Index(None, lease.c.annotator, lease.c.pair)
_HELD = text("answer IS NULL AND released IS NULL")
Index("ix_lease_held", lease.c.annotator, sqlite_where=_HELD, postgresql_where=_HELD)
_SKIPPED = text("skipped IS NOT NULL")
Index("ix_lease_skipped", lease.c.annotator, sqlite_where=_SKIPPED, postgresql_where=_SKIPPED)
Index("ix_lease_running", lease.c.expires, sqlite_where=_HELD, postgresql_where=_HELD)

label = Table(
    "label",
    metadata,
    Column("seq", Counter, primary_key=True, autoincrement=True),
    Column("uuid", String, nullable=False, unique=True),
    Column("study", ForeignKey("study.id"), nullable=False),
    Column("query", ForeignKey("query.id"), nullable=False, index=True),
    Column("key", String, nullable=False),
    Column("kind", String, nullable=False),
    Column("annotator", ForeignKey("annotator.id"), nullable=False),
    Column("choice", String, nullable=False),
    Column("swapped", Boolean, nullable=False),
    Column("shown_ms", BigInteger, nullable=False),
    Column("loops", Float, nullable=False),
    Column("speed", Float, nullable=False),
    Column("seconds", Float, nullable=False),  # since the lease, or the annotator's label before
    Column("server_time", UtcTime, nullable=False),
    Column("client_time", UtcTime),
    Column("retracts", String, unique=True),
    sqlite_autoincrement=True,
)
Index(None, label.c.study, label.c.seq)
Index(None, label.c.annotator, label.c.seq)
_SKIP = text("choice = 'skip'")
Index("ix_label_skip", label.c.study, sqlite_where=_SKIP, postgresql_where=_SKIP)

reward_version = Table(
    "reward_version",
    metadata,
    Column("study", ForeignKey("study.id"), primary_key=True),
    Column("version", BigInteger, primary_key=True, autoincrement=False),
    Column("labels", Integer, nullable=False),
    Column("step", BigInteger, nullable=False),
    Column("metrics", JSON, nullable=False),
    Column("created", UtcTime, nullable=False),
)

run_event = Table(
    "run_event",
    metadata,
    Column("id", Counter, primary_key=True, autoincrement=True),
    Column("study", ForeignKey("study.id"), nullable=False),
    Column("time", UtcTime, nullable=False),
    Column("kind", String, nullable=False),
    Column("media", String),  # what an event shows, so that people of the study may load it
    Column("data", JSON, nullable=False),
    sqlite_autoincrement=True,
)
Index(None, run_event.c.study, run_event.c.kind, run_event.c.id)
Index(None, run_event.c.study, run_event.c.media)

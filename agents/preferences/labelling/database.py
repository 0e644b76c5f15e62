"""Connections and transactions, and what to do when the database is away, in words for a person."""

from __future__ import annotations

import json
import logging
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, TypeVar

import sqlalchemy as sa
from sqlalchemy import Connection, Engine, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DataError, DBAPIError, IntegrityError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from agents.preferences.labelling.durable import SharedSync
from agents.preferences.labelling.types import LabellingError, UnavailableError
from agents.preferences.labelling.unavailable import explain, passes_by

logger = logging.getLogger(__name__)

BUSY_SECONDS: Final = 10.0
ATTEMPTS: Final = 3
T = TypeVar("T")


class Database:
    """One database; threads may share it. Nothing is asked of it before the first use."""

    def __init__(self, url: str) -> None:
        self.url = _checked(url)
        self.is_sqlite = self.url.get_backend_name() == "sqlite"
        self.name = self.url.database or "" if self.is_sqlite else self.url.render_as_string()
        self._engine = _engine(self.url)
        # Reads are single statements: without a transaction they hold nothing and cost one round trip.
        self._reader = self._engine if self.is_sqlite else _autocommit(self._engine)
        self._writer = self._engine.execution_options(immediate=True)
        self._turn = threading.Lock()
        self._log = SharedSync(self.url.database or "") if self.is_sqlite else None

    def read(self, work: Callable[[Connection], T]) -> T:
        with self._in_words(), self._reader.connect() as connection:
            return work(connection)

    def write(self, work: Callable[[Connection], T], *, durable: bool = True) -> T:
        """One transaction, on the disk when this returns, or soon after if it need not be `durable`.

        Either way it survives the end of this process, and whatever a durable one saw is on the disk
        with it. `work` runs again where another writer came between or the connection turned out
        stale, so it must decide by what is stored alone.
        """
        with self._in_words():
            for attempt in range(1, ATTEMPTS + 1):
                try:
                    done = self._transaction(work, durable)
                    break
                except DBAPIError as error:
                    if attempt == ATTEMPTS or not (isinstance(error, IntegrityError) or passes_by(error)):
                        raise
            if self._log is not None:
                self._log.wait() if durable else self._log.soon()
            return done

    def _transaction(self, work: Callable[[Connection], T], durable: bool) -> T:
        with self._one_writer(), self._writer.begin() as connection:
            if not (durable or self.is_sqlite):
                connection.exec_driver_sql("SET LOCAL synchronous_commit = off")
            return work(connection)

    def close(self) -> None:
        if self._log is not None:
            self._log.close()
        self._engine.dispose()

    def use_wal(self) -> None:
        """Readers and the writer of a SQLite file do not wait for each other. Kept in the file, so once."""
        deadline = time.monotonic() + BUSY_SECONDS
        while True:  # SQLite does not wait by itself when the mode changes
            try:
                connection = sqlite3.connect(self.url.database or "", timeout=BUSY_SECONDS)
                try:
                    (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
                finally:
                    connection.close()
                if mode != "wal":
                    raise sqlite3.OperationalError(f"journal mode {mode}")
                return
            except sqlite3.Error as error:
                if "locked" not in str(error) or time.monotonic() > deadline:
                    raise self._unavailable(error) from error
            time.sleep(0.05)

    @contextmanager
    def _one_writer(self) -> Iterator[None]:
        """SQLite has one writer at a time; threads queue here, for its own waiting is a sleep."""
        if not self.is_sqlite:
            yield
            return
        if not self._turn.acquire(timeout=BUSY_SECONDS):
            raise self._unavailable(sqlite3.OperationalError("database is locked"))
        try:
            yield
        finally:
            self._turn.release()

    @contextmanager
    def _in_words(self) -> Iterator[None]:
        try:
            yield
        except (DataError, UnicodeEncodeError, OverflowError) as error:
            raise LabellingError("A text or number in the request cannot be stored; nothing was.") from error
        except PoolTimeout as error:
            raise UnavailableError(
                "Too many requests wait for the database. Nothing was stored, try again in a moment."
            ) from error
        except DBAPIError as error:
            raise self._unavailable(error.orig) from error
        except OSError as error:
            raise self._unavailable(error) from error

    def _unavailable(self, error: BaseException | None) -> UnavailableError:
        message = explain(error, self.name)
        logger.error("%s (%s)", message, error)
        return UnavailableError(message)


def _checked(url: str) -> URL:
    try:
        parsed = make_url(url)
    except ArgumentError:
        raise LabellingError(
            f"a database is given as sqlite:////path/labels.db or postgresql://host/name, got {url!r}"
        ) from None
    if parsed.drivername in ("postgresql", "postgres"):
        parsed = parsed.set(drivername="postgresql+psycopg")
    if parsed.drivername not in ("sqlite", "sqlite+pysqlite", "postgresql+psycopg"):
        raise LabellingError(f"a database is SQLite or PostgreSQL, got {parsed.drivername}")
    if parsed.get_backend_name() == "sqlite" and parsed.database in (None, "", ":memory:"):
        raise LabellingError("labels need a file: sqlite:////path/labels.db")
    if parsed.get_backend_name() == "sqlite":
        # SQLite keeps its log beside the file that links lead to; a later connection must find the same.
        parsed = parsed.set(database=str(Path(parsed.database or "").resolve()))
    return parsed


def _engine(url: URL) -> Engine:
    options: dict[str, Any] = {"pool_size": 10, "max_overflow": 20, "pool_timeout": BUSY_SECONDS}
    if url.get_backend_name() == "sqlite":
        options["connect_args"] = {"timeout": BUSY_SECONDS, "check_same_thread": False}
    else:
        # A host that stopped answering is noticed, not waited for.
        options["connect_args"] = {"connect_timeout": 5, "tcp_user_timeout": 10_000, **url.query}
    engine = sa.create_engine(url, json_serializer=_strict_json, **options)
    if url.get_backend_name() == "sqlite":
        event.listen(engine, "connect", _prepare_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
    else:
        event.listen(engine, "connect", _prepare_postgresql)
    return engine


def _autocommit(engine: Engine) -> Engine:
    return engine.execution_options(isolation_level="AUTOCOMMIT")


def _strict_json(value: Any) -> str:
    """PostgreSQL has no NaN in JSON, and neither has a browser."""
    return json.dumps(value, allow_nan=False, separators=(",", ":"))


def _prepare_sqlite(connection: sqlite3.Connection, _: Any) -> None:
    connection.isolation_level = None  # transactions begin where we say so, below
    connection.execute("PRAGMA foreign_keys = ON")
    # With FULL every commit would flush the log by itself, one after the other; `SharedSync` does it once
    # for all that wait. SQLite still does whatever the log's own order needs.
    connection.execute("PRAGMA synchronous = NORMAL")


def _begin_sqlite(connection: Connection) -> None:
    """A writer takes its lock at once: one that reads first and writes later could not wait for it."""
    if connection.get_execution_options().get("immediate"):
        connection.exec_driver_sql("BEGIN IMMEDIATE")


def _prepare_postgresql(connection: Any, _: Any) -> None:
    with connection.cursor() as cursor:
        # Whatever the server's default: an answer is on the disk when the commit returns.
        cursor.execute(
            "SELECT set_config('lock_timeout', '10s', false), set_config('statement_timeout', '60s', false),"
            " CASE WHEN current_setting('synchronous_commit') = 'off'"
            " THEN set_config('synchronous_commit', 'on', false) END"
        )
    connection.commit()

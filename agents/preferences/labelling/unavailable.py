"""What a failing database means to the person who meets it, and what helps."""

from __future__ import annotations

from typing import Final

from sqlalchemy.exc import DBAPIError

KEPT: Final = "Nothing was stored; try again afterwards, what was stored before is safe."

_SQLITE: Final = (
    ("readonly", "{name} is read-only: make the file and its folder writable for the server's user."),
    ("full", "{name} cannot grow, for its disk is full: free some space."),
    ("locked", "{name} was kept locked by another program for 10 s: end that program."),
    ("busy", "{name} was kept locked by another program for 10 s: end that program."),
    ("journal mode", "{name} lies where SQLite can keep no log: take a local disk, or PostgreSQL."),
    ("unable to open", "{name} cannot be opened: its folder must exist and be writable."),
    ("not a database", "{name} is not a SQLite database: give another file, or restore it from a copy."),
    ("malformed", "{name} is damaged: restore it from a copy."),
    ("No such file", "{name} was moved or deleted: put it back, and start the server again."),
    ("place of", "{name} was replaced: start the server again."),
    ("No space left", "{name} cannot grow, for its disk is full: free some space."),
    ("Input/output", "{name} cannot be written, for its disk reports errors: look at the system's log."),
    ("disk I/O", "{name} meets errors of its disk: look at the system's log."),
    ("no such table", "{name} holds no labelling session, or was replaced: start the server again."),
)
_POSTGRESQL: Final = (
    ("25006", "{name} is read-only, as a standby is: give the address of the primary server."),
    ("53100", "{name} cannot grow, for its disk is full: free some space."),
    ("53300", "{name} takes no more connections: raise max_connections or run fewer servers."),
    ("53", "{name} is short of memory or another resource: see PostgreSQL's log."),
    ("28", "{name} refuses the user or password: set PGPASSWORD or ~/.pgpass."),
    ("3D000", "the database of {name} does not exist: make it with createdb."),
    ("42501", "the user of {name} lacks the right to use these tables: ask for GRANT ALL on its schema."),
    ("42P01", "{name} holds no labelling session, or was replaced: start the server again."),
    ("55P03", "{name} was kept locked by another program for 10 s: end that program."),
    ("57014", "{name} took over a minute for one statement: see PostgreSQL's log."),
    ("57P", "{name} is shutting down or starting: wait until it runs again."),
    ("08", "{name} does not answer: start PostgreSQL, and see that this machine reaches it."),
    ("40", "{name} is too busy: other writers came between three times."),
)


def explain(error: BaseException | None, name: str) -> str:
    """One sentence on the cause, one on what to do; no password and no SQL."""
    state = getattr(error, "sqlstate", None)
    said = str(error)
    if state is None and type(error).__module__.startswith("psycopg"):
        state = _connecting(said)
    if state is not None:
        causes = [text for start, text in _POSTGRESQL if state.startswith(start)]
    else:
        causes = [text for part, text in _SQLITE if part in said]
    cause = causes[0] if causes else "{name} cannot be used now: see the server's log."
    return f"The database {cause.format(name=name)} {KEPT}"


def passes_by(error: DBAPIError) -> bool:
    """Whether the same transaction may succeed at once: two writers crossed, or the connection was old."""
    state = getattr(error.orig, "sqlstate", None) or ""
    return error.connection_invalidated or state in ("40001", "40P01")


def _connecting(said: str) -> str:
    """A state for errors before the server names one: only the text tells them apart."""
    if "password" in said or "no pg_hba.conf" in said or "role" in said:
        return "28000"
    if "database" in said and "does not exist" in said:
        return "3D000"
    if "too many clients" in said or "remaining connection slots" in said:
        return "53300"
    return "08000"

"""Brings a database to the tables of this version; several processes may try at once."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Final

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text

from agents.preferences.labelling.database import Database
from agents.preferences.labelling.types import LabellingError

logger = logging.getLogger(__name__)

SCRIPTS: Final = Path(__file__).parent / "migrations"
_LOCK: Final = 7_308_332_126  # any number that no other program locks


def migrate(database: Database) -> None:
    """Raises LabellingError where a newer version made the tables, and changes nothing then."""
    scripts = ScriptDirectory(str(SCRIPTS))
    head = scripts.get_current_head()
    if database.is_sqlite:
        database.use_wal()
    if database.read(_revision) == head:
        return
    database.write(lambda connection: _upgrade(connection, scripts, database.name))


def _revision(connection: Connection) -> str | None:
    return MigrationContext.configure(connection).get_current_revision()


def _upgrade(connection: Connection, scripts: ScriptDirectory, name: str) -> None:
    if connection.dialect.name == "postgresql":  # SQLite's one writer is this one already
        connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
    found = _revision(connection)
    if found == scripts.get_current_head():
        return  # another process was faster
    known = {script.revision for script in scripts.walk_revisions()}
    if found is not None and found not in known:
        raise LabellingError(
            f"the database {name} was made by a newer version of surefoot (its tables are {found}, this "
            f"version knows {scripts.get_current_head()}): install that version here too"
        )
    config = Config()
    config.set_main_option("script_location", str(SCRIPTS).replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
    logger.info("%s: tables are now %s", name, scripts.get_current_head())

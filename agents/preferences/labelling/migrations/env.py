"""Alembic runs this; the connection, with its transaction and lock, comes from `migrate`."""

from alembic import context

from agents.preferences.labelling.schema import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
context.run_migrations()

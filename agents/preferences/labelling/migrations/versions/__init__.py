"""Alembic runs these, oldest first."""

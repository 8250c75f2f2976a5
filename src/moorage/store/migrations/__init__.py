"""Alembic's migrations: forward only; a released one is never edited."""

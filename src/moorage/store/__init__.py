"""The store on SQLite (default) or PostgreSQL: resources, queue, and the hub's own tables."""

from moorage.store.open import open_store
from moorage.store.operations import SqlOperations
from moorage.store.sql import SqlStore, SqlTransaction

__all__ = ["SqlOperations", "SqlStore", "SqlTransaction", "open_store"]

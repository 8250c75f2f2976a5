"""Privileges in vCenter: what is needed, what is missing, and the roles that grant it."""

from moorage.permissions.check import READ, Subject, judge, needed
from moorage.permissions.names import renames, shown_name
from moorage.permissions.page import privileges_page
from moorage.permissions.table import (
    GRANTED_ON,
    ROWS,
    Feature,
    On,
    Row,
    privileges_granted_on,
    rows_for,
)

__all__ = [
    "GRANTED_ON",
    "READ",
    "ROWS",
    "Feature",
    "On",
    "Row",
    "Subject",
    "judge",
    "needed",
    "privileges_granted_on",
    "privileges_page",
    "renames",
    "rows_for",
    "shown_name",
]

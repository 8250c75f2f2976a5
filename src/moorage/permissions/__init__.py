"""Privileges in vCenter: what is needed, what is missing, and the roles that grant it."""

from moorage.permissions.check import READ, Subject, judge, needed, wanted_features
from moorage.permissions.imports import IMPORT_ROWS, LEASE_IMPORT_ROWS
from moorage.permissions.names import renames, shown_name
from moorage.permissions.page import privileges_page
from moorage.permissions.roles import Grant, grants_for
from moorage.permissions.row import (
    GRANTED_ON,
    OPTIONAL,
    STANDARD,
    Feature,
    On,
    Row,
)
from moorage.permissions.scripts import by_hand, govc_script, powercli_script
from moorage.permissions.table import (
    CLUSTER_FOLDER_ROWS,
    EVERY_ROW,
    ROWS,
    STORAGE_POLICY_ROWS,
    ZONE_TAG_ROWS,
    privileges_granted_on,
    rows_for,
)
from moorage.permissions.terraform import terraform_module

__all__ = [
    "CLUSTER_FOLDER_ROWS",
    "EVERY_ROW",
    "GRANTED_ON",
    "IMPORT_ROWS",
    "LEASE_IMPORT_ROWS",
    "OPTIONAL",
    "READ",
    "ROWS",
    "STANDARD",
    "STORAGE_POLICY_ROWS",
    "ZONE_TAG_ROWS",
    "Feature",
    "Grant",
    "On",
    "Row",
    "Subject",
    "by_hand",
    "govc_script",
    "grants_for",
    "judge",
    "needed",
    "powercli_script",
    "privileges_granted_on",
    "privileges_page",
    "renames",
    "rows_for",
    "shown_name",
    "terraform_module",
    "wanted_features",
]

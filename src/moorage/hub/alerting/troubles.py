"""The rules: what of a resource is worth an alert. Kept in memory for what is in trouble only."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from pydantic_core import from_json

from moorage.resources.alert import AlertRule
from moorage.resources.phase import HOPELESS
from moorage.store.alerts import Trouble
from moorage.store.codec import Stored
from moorage.store.view import View

UNREADY_FOR: Final = timedelta(minutes=15)
SILENT_FOR: Final = timedelta(minutes=5)
FAILING_FOR: Final = timedelta(minutes=5)
FEW: Final = 0.1
"""Part of a pool's addresses."""
_AT_ONCE: Final = timedelta(0)
_LONG_AGO: Final = datetime.min.replace(tzinfo=UTC)
_HELD = "DeletionHeld"
_LONGEST = 500

Found = tuple[Trouble, timedelta | None]
"""What is wrong, and for how long it must last; ``None``: since when is not known, so since now."""


class Troubles(View):
    """What is in trouble, and when each becomes an alert."""

    kinds = frozenset({"Cluster", "Machine", "Gateway", "IPPool", "CloudAccount"})

    def __init__(self) -> None:
        super().__init__()
        self._known: dict[str, list[Found]] = {}

    def put(self, row: Stored) -> None:
        """Take a resource in."""
        found = list(_troubles(row))
        if found:
            self._known[row.uid] = found
        else:
            self._known.pop(row.uid, None)

    def put_status(self, row: Stored) -> None:
        """Take in what was seen of a resource."""
        self.put(row)

    def drop(self, kind: str, uid: str) -> None:  # noqa: ARG002 - UIDs are enough
        """Take a resource out."""
        self._known.pop(uid, None)

    def now(self, moment: datetime) -> list[Trouble]:
        """Return what has lasted long enough."""
        return [
            trouble if must_last is not None else trouble._replace(since=moment)
            for found in self._known.values()
            for trouble, must_last in found
            if must_last is None or moment - trouble.since >= must_last
        ]


def _troubles(row: Stored) -> Iterator[Found]:
    if row.kind == "Machine":
        if _HELD in row.status:
            yield from _held(row, from_json(row.status), from_json(row.spec)["cluster"])
        return
    status = from_json(row.status)
    match row.kind:
        case "Cluster":
            yield from _held(row, status, row.name)
            yield from _unready(row, status, AlertRule.CLUSTER_UNHEALTHY, UNREADY_FOR, row.name)
        case "CloudAccount":
            yield from _unready(row, status, AlertRule.ACCOUNT_FAILING, FAILING_FOR, "")
        case "Gateway":
            yield from _silent(row, status)
        case _:
            yield from _nearly_empty(row, status)


def _held(row: Stored, status: Any, cluster: str) -> Iterator[Found]:
    for condition in status.get("conditions", ()):
        if condition["reason"] == _HELD and condition["status"] != "True":
            since = _moment(condition["lastTransitionTime"])
            yield (
                _trouble(row, AlertRule.DELETION_HELD, condition["message"], since, cluster),
                _AT_ONCE,
            )
            return


def _unready(
    row: Stored, status: Any, rule: AlertRule, must_last: timedelta, cluster: str
) -> Iterator[Found]:
    if row.is_deleting:
        return
    ready = next((c for c in status.get("conditions", ()) if c["type"] == "Ready"), None)
    if ready is None or ready["status"] == "True":
        return
    message = f"{ready['reason']}: {ready['message']}"
    since = _moment(ready["lastTransitionTime"])
    yield (
        _trouble(row, rule, message, since, cluster),
        _AT_ONCE if ready["reason"] in HOPELESS else must_last,
    )


def _silent(row: Stored, status: Any) -> Iterator[Found]:
    seen = status.get("lastSeenAt")
    if status.get("enrolled") and not status.get("connected") and seen and not row.is_deleting:
        message = f"not connected; last seen {seen}: its clusters run on, nothing new is done there"
        yield _trouble(row, AlertRule.GATEWAY_SILENT, message, _moment(seen), ""), SILENT_FOR


def _nearly_empty(row: Stored, status: Any) -> Iterator[Found]:
    total = status.get("total", 0)
    left = max(0, status.get("free", 0) - status.get("reserved", 0))
    if total and left < total * FEW and not row.is_deleting:
        message = f"{left} of {total} addresses are left (those reserved for clusters not counted)"
        yield _trouble(row, AlertRule.POOL_NEARLY_EMPTY, message, _LONG_AGO, ""), None


def _trouble(row: Stored, rule: AlertRule, message: str, since: datetime, cluster: str) -> Trouble:
    return Trouble(
        rule, row.kind, row.project, row.name, row.uid, cluster, message[:_LONGEST], since
    )


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text)

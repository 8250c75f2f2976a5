"""Templates to text, and the words that all of them use."""

import hashlib
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader
from markupsafe import Markup

from moorage.hub.ui.door import ROOT
from moorage.hub.ui.wizard import POD
from moorage.resources.phase import phase_of, tone_of

HERE = Path(__file__).parent
STATIC = HERE / "static"

NAVIGATION = (
    ("overview", "Overview", "clusters"),
    ("clusters", "Clusters", "clusters"),
    ("gateways", "Gateways", "gateways"),
    ("ippools", "IP pools", "ippools"),
    ("accounts", "Accounts", "accounts"),
    ("access", "Access", "projects"),
    ("audit", "Audit", "audit"),
)
"""What is on the left: path below the project, what it is called, and what one must be able to
list to be offered it."""


def render(template: str, **shown: Any) -> str:
    """Return the page as text; everything that is shown is escaped."""
    return _environment().get_template(template).render(**shown)


@cache
def assets() -> dict[str, bytes]:
    """Return the files of ``static`` by name."""
    return {path.name: path.read_bytes() for path in sorted(STATIC.iterdir())}


@cache
def asset_version() -> str:
    """Return what changes with any asset: it is part of their addresses, so they keep for ever."""
    digest = hashlib.sha256()
    for name, content in assets().items():
        digest.update(name.encode() + content)
    return digest.hexdigest()[:12]


@cache
def _environment() -> Environment:
    made = Environment(
        loader=FileSystemLoader(HERE / "templates"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    made.filters.update({one.__name__: one for one in _FILTERS}, tone=tone_of)
    made.globals.update(asset=_asset, condition=condition, navigation=NAVIGATION)
    return made


def _asset(name: str) -> str:
    return f"{ROOT}/static/{asset_version()}/{name}"


def phase(document: Mapping[str, Any]) -> str:
    """Return one word about a resource that the API showed."""
    ready = condition(document, "Ready")
    return phase_of(
        is_deleting="deletionRequestedAt" in document["metadata"],
        ready=(ready["status"], ready["reason"]) if ready else None,
    )


def condition(document: Mapping[str, Any], type_: str) -> dict[str, Any] | None:
    """Return one condition of a resource that the API showed."""
    found = document.get("status", {}).get("conditions", [])
    return next((one for one in found if one["type"] == type_), None)


def read_moment(text: str | None) -> datetime | None:
    """Read an RFC 3339 time; ``None`` for none."""
    if not text:
        return None
    found = datetime.fromisoformat(text)
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def moment(text: str | None) -> Markup | str:
    """Return a time that the browser shows in its own zone; without scripts in UTC."""
    found = read_moment(text)
    if found is None:
        return "-"
    shown = found.astimezone(UTC)
    return Markup('<time datetime="{}">{} UTC</time>').format(
        shown.isoformat(timespec="milliseconds"), shown.strftime("%Y-%m-%d %H:%M:%S")
    )


def ago(text: str | None) -> Markup | str:
    """Return how long ago; the browser counts on, and shows the time itself when asked."""
    found = read_moment(text)
    if found is None:
        return "-"
    shown = found.astimezone(UTC)
    return Markup('<time datetime="{}" data-ago>{}</time>').format(
        shown.isoformat(timespec="milliseconds"), shown.strftime("%Y-%m-%d %H:%M")
    )


def size(number: float | None) -> str:
    """Return bytes in a unit for people."""
    amount = float(number or 0)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if abs(amount) < 1024:  # noqa: PLR2004
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.3g} {unit}"
        amount /= 1024
    return f"{amount:.3g} TiB"


def mib(number: float | None) -> str:
    """Return MiB in a unit for people."""
    return size((number or 0) * 1024**2)


def same(words: Iterable[str]) -> list[tuple[str, str]]:
    """Return the options of a choice that are shown as they are sent, in order."""
    return [(word, word) for word in sorted(words)]


def pods(names: Iterable[str]) -> list[tuple[str, str]]:
    """Return the options for datastore clusters, among those for datastores."""
    return [(f"{POD}{name}", f"{name} (datastore cluster)") for name in sorted(names)]


def pool_options(pools: Iterable[Mapping[str, Any]]) -> list[tuple[str, str]]:
    """Return the options for IP pools, with what is left in each."""
    found = []
    for pool in pools:
        name, status = pool["metadata"]["name"], pool["status"]
        left = max(0, status.get("free", 0) - status.get("reserved", 0))
        found.append((name, f"{name} ({left} left)"))
    return found


_FILTERS = (moment, ago, size, mib, phase, same, pods, pool_options)

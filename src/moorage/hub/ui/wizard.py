"""From the fields of the form for a new cluster to its document, and back to fields that are wrong.

Pure: the same fields always give the same document, which is shown as YAML beside the form.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from moorage.hub.ui.api import Json

ONCE = (
    "name",
    "labels",
    "account",
    "version",
    "datacenter",
    "folder",
    "template",
    "endpointHost",
    "cpReplicas",
    "cpCpus",
    "cpMemoryMib",
    "cpDiskGib",
    "sshKeys",
    "ntpServers",
)
"""Fields of which there is one."""
DOMAIN = ("domain", "compute", "resourcePool", "datastore", "network", "ipPool")
POOL = ("pool", "replicas", "cpus", "memoryMib", "diskGib")
BEGIN: Mapping[str, str] = {"cpReplicas": "1", "cpCpus": "2", "cpMemoryMib": "4096"}
POD = "pod:"
"""Before the name of a datastore cluster, where datastores are chosen."""
_NEW_POOL = ("workers", "2", "2", "4096", "")
_LETTERS = "abcdefghijklmnop"
Form = Mapping[str, Sequence[str]]


class Wish:
    """What the form says."""

    def __init__(self, form: Form) -> None:
        self.once = {name: _first(form, name) or BEGIN.get(name, "") for name in ONCE}
        if "name" in form:  # an emptied field stays empty: only a new form has defaults
            self.once = {name: _first(form, name) for name in ONCE}
        self.domains = _rows(form, DOMAIN) or [_row(DOMAIN, ("a",))]
        self.pools = _rows(form, POOL) if "name" in form else [_row(POOL, _NEW_POOL)]

    def change(self, act: str) -> None:
        """Add or remove a row: ``add-domain``, ``remove-pool-0`` and so on."""
        what, _, rest = act.partition("-")
        kind, _, index = rest.partition("-")
        rows = self.domains if kind == "domain" else self.pools
        if act == "add-domain" and len(rows) < len(_LETTERS):
            names = {row["domain"] for row in rows}
            free = next((letter for letter in _LETTERS if letter not in names), "")
            last = {**rows[-1], "domain": free} if rows else _row(DOMAIN, (free,))
            rows.append(last)
        elif act == "add-pool":
            rows.append({**_row(POOL, _NEW_POOL), "pool": ""})
        elif what == "remove" and index.isdigit() and int(index) < len(rows):
            del rows[int(index)]

    def document(self) -> Json:
        """Return the cluster's document. What is no number goes on as text, to be refused."""
        one = self.once
        spec: Json = {
            **_filled(account=one["account"], kubernetesVersion=one["version"]),
            "placement": {
                **_filled(
                    datacenter=one["datacenter"], folder=one["folder"], template=one["template"]
                ),
                "failureDomains": [_domain(row) for row in self.domains],
            },
            "controlPlane": _filled(
                replicas=number(one["cpReplicas"]),
                cpus=number(one["cpCpus"]),
                memoryMib=number(one["cpMemoryMib"]),
                diskGib=number(one["cpDiskGib"]),
            ),
        }
        if one["endpointHost"]:
            spec["endpoint"] = {"host": one["endpointHost"]}
        node = _filled(sshKeys=_lines(one["sshKeys"]), ntpServers=_words(one["ntpServers"]))
        if node:
            spec["node"] = node
        meta = _filled(name=one["name"], labels=_labels(one["labels"]))
        return {
            "kind": "Cluster",
            "metadata": meta,
            "spec": spec,
            "nodePools": [
                _filled(
                    name=row["pool"],
                    replicas=number(row["replicas"]),
                    cpus=number(row["cpus"]),
                    memoryMib=number(row["memoryMib"]),
                    diskGib=number(row["diskGib"]),
                )
                for row in self.pools
            ],
        }


def command(document: str) -> str:
    """Return the command that makes the cluster of this YAML document."""
    return f"moorage clusters apply --wait -f - <<'END'\n{document}END"


def number(text: str) -> Any:
    """Return a number where the text is one: anything else is for the API to refuse by name."""
    return int(text) if text.isascii() and text.isdigit() else text


def _domain(row: Mapping[str, str]) -> Json:
    fields = {
        "name": row["domain"],
        "computeCluster": row["compute"],
        "resourcePool": row["resourcePool"],
        "network": row["network"],
        "ipPool": row["ipPool"],
    }
    store = row["datastore"]
    is_pod = store.startswith(POD)
    fields["datastoreCluster" if is_pod else "datastore"] = store.removeprefix(POD)
    return _filled(**fields)


def _filled(**fields: Any) -> Json:
    return {name: value for name, value in fields.items() if value not in ("", [], {})}


def _first(form: Form, name: str) -> str:
    return next(iter(form.get(name, ())), "").strip()


def _rows(form: Form, names: Sequence[str]) -> list[dict[str, str]]:
    count = len(form.get(names[0], ()))
    columns = {name: [*form.get(name, ()), *[""] * count] for name in names}
    return [{name: columns[name][n].strip() for name in names} for n in range(count)]


def _row(names: Sequence[str], values: Sequence[str]) -> dict[str, str]:
    return dict(zip(names, [*values, *[""] * len(names)], strict=False))


def _words(text: str) -> list[str]:
    return text.replace(",", " ").split()


def _lines(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines() if line.strip()]


def _labels(text: str) -> dict[str, str]:
    pairs = (part.strip().partition("=") for part in text.split(",") if part.strip())
    return {key.strip(): value.strip() for key, _, value in pairs}

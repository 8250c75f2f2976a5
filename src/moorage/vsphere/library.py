"""Content libraries: one for each import, made for it and taken away after it.

Under ``/rest`` on every release: 6.7 has nothing else, and 7.0 and 8.0 answer there too, with the
session of either side. A library is called after the import's UID, so that whoever comes after a
killed process finds what it has left.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from moorage.kit.errors import NotFoundError, TerminalError, UnavailableError
from moorage.vsphere.rest import RestCalls

_LIBRARY: Final = "content/library"
_LOCAL: Final = "content/local-library"
_ITEM: Final = "content/library/item"
_SESSION: Final = "content/library/item/update-session"
_FILE: Final = "content/library/item/updatesession/file"
_OVF: Final = "vcenter/ovf/library-item"
ITEM_NAME: Final = "template"


def library_name(uid: str) -> str:
    """Return what the library of an import is called."""
    return f"moorage-import-{uid}"


@dataclass(frozen=True, slots=True)
class Deployment:
    """What an item is deployed as: morefs, and names of the OVF's networks."""

    name: str
    annotation: str
    folder: str
    resource_pool: str
    datastore: str
    network: str
    """What all networks of the OVF become."""
    networks: tuple[str, ...] = ()
    """Names of the networks of what was uploaded."""
    source: tuple[str, str] | None = None
    """Library and item, by name, that are deployed in place of what was uploaded."""


class ContentLibrary:
    """Calls in one open session over REST."""

    def __init__(self, calls: RestCalls) -> None:
        self._calls = calls

    def find(self, uid: str) -> list[str]:
        """Return the identifiers of an import's libraries: more than one after a lost answer."""
        body = {"spec": {"name": library_name(uid), "type": "LOCAL"}}
        found = self._calls.rest("look for the library", "POST", _LIBRARY, action="find", body=body)
        return [str(one) for one in found or ()]

    def create(self, uid: str, datastore: str, description: str) -> str:
        """Make an import's library on a datastore, and return its identifier."""
        spec = {
            "name": library_name(uid),
            "description": description,
            "type": "LOCAL",
            "storage_backings": [{"type": "DATASTORE", "datastore_id": datastore}],
        }
        what = f"make a content library on datastore {datastore}"
        return str(self._calls.rest(what, "POST", _LOCAL, body={"create_spec": spec}))

    def create_item(self, library: str) -> str:
        """Make the item that the OVA goes into."""
        spec = {"library_id": library, "name": ITEM_NAME, "type": "ovf"}
        return str(self._calls.rest("make an item", "POST", _ITEM, body={"create_spec": spec}))

    def item_of(self, library: str) -> str | None:
        """Return the item of a library."""
        body = {"spec": {"library_id": library, "name": ITEM_NAME}}
        found = self._calls.rest("look for the item", "POST", _ITEM, action="find", body=body)
        return str(found[0]) if found else None

    def named(self, library: str, item: str) -> str:
        """Return the one item of that name, in the one library of that name.

        Raises ``TerminalError`` where there is none, or more than one.
        """
        found: list[str] = []
        what = f"look for item {item} of content library {library}"
        body: dict[str, Any] = {"spec": {"name": library}}
        for one in self._calls.rest(what, "POST", _LIBRARY, action="find", body=body) or ():
            inside = {"spec": {"library_id": one, "name": item}}
            found += self._calls.rest(what, "POST", _ITEM, action="find", body=inside) or []
        if len(found) != 1:
            raise TerminalError(
                "SourceNotFound",
                f"{len(found)} items {item} in content libraries {library} are seen: there has to "
                "be one, and the account has to read the library (a global permission)",
            )
        return str(found[0])

    def networks_of(self, item: str, resource_pool: str, folder: str) -> list[str]:
        """Return the names that an OVF template has for networks."""
        target = {"resource_pool_id": resource_pool, "folder_id": folder}
        what = f"read OVF template {item}"
        answered = self._calls.rest(
            what, "POST", _OVF, item, action="filter", body={"target": target}
        )
        return [str(one) for one in answered.get("networks") or ()]

    def begin_update(self, item: str) -> str:
        """Open the update session that files come in by."""
        body = {"create_spec": {"library_item_id": item}}
        return str(self._calls.rest("open an update session", "POST", _SESSION, body=body))

    def add_file(self, session: str, name: str, size: int) -> str:
        """Announce a file; return the URL that it is to be sent to.

        Without a checksum: vCenter takes none for OVAs.
        """
        spec = {"name": name, "source_type": "PUSH", "size": size}
        answered = self._calls.rest(
            f"announce {name}", "POST", _FILE, session, action="add", body={"file_spec": spec}
        )
        endpoint = answered.get("upload_endpoint") if isinstance(answered, dict) else None
        if not endpoint or not endpoint.get("uri"):
            raise UnavailableError(f"announce {name}: vCenter gave no address to send it to")
        return str(endpoint["uri"])

    def complete(self, session: str) -> None:
        """Say that all files were sent."""
        self._calls.rest("complete the upload", "POST", _SESSION, session, action="complete")

    def state(self, session: str) -> str:
        """Return ``ACTIVE`` or ``DONE``; raises what went wrong with the files."""
        found = self._calls.rest("look at the update session", "GET", _SESSION, session)
        state = str(found.get("state"))
        if state in {"ERROR", "CANCELED"}:
            said = (found.get("error_message") or {}).get("default_message") or state.lower()
            raise UnavailableError(f"vCenter could not take the files: {said}")
        return state

    def remove(self, uid: str) -> bool:
        """Take away an import's libraries and update sessions; returns whether there were any.

        Sessions are asked for one by one: there are as many as uploads going on in the vCenter.
        """
        libraries = self.find(uid)
        items = [item for one in libraries if (item := self.item_of(one)) is not None]
        if items:
            for session in self._calls.rest("list update sessions", "GET", _SESSION) or ():
                self._end_session(str(session), items)
        for one in libraries:
            try:
                self._calls.rest("delete the content library", "DELETE", _LOCAL, one)
            except NotFoundError:
                continue
        return bool(libraries)

    def _end_session(self, session: str, items: list[str]) -> None:
        try:
            found = self._calls.rest("look at an update session", "GET", _SESSION, session)
            if found.get("library_item_id") not in items:
                return
            if found.get("state") == "ACTIVE":
                self._calls.rest("cancel the upload", "POST", _SESSION, session, action="cancel")
            self._calls.rest("delete the update session", "DELETE", _SESSION, session)
        except NotFoundError:
            return

    def deploy(self, item: str, wanted: Deployment, networks: Iterable[str]) -> str:
        """Deploy the item, and return the moref of the virtual machine; takes minutes.

        Raises ``TerminalError`` with what vCenter says against it.
        """
        spec = {
            "name": wanted.name,
            "annotation": wanted.annotation,
            "accept_all_EULA": True,
            "default_datastore_id": wanted.datastore,
            "storage_provisioning": "thin",
            "network_mappings": [{"key": name, "value": wanted.network} for name in networks],
        }
        target = {"resource_pool_id": wanted.resource_pool, "folder_id": wanted.folder}
        answered = self._calls.rest(
            f"deploy the OVA as {wanted.name}",
            "POST",
            _OVF,
            item,
            action="deploy",
            body={"deployment_spec": spec, "target": target},
        )
        if not answered.get("succeeded"):
            raise TerminalError("DeployRefused", f"vCenter cannot deploy the OVA: {_why(answered)}")
        return str(answered["resource_id"]["id"])


def _why(answered: dict[str, Any]) -> str:
    texts = []
    for one in (answered.get("error") or {}).get("errors") or ():
        said = [one.get("message") or {}, *((one.get("error") or {}).get("messages") or ())]
        said += [issue.get("message") or {} for issue in one.get("issues") or ()]
        texts += [str(text["default_message"]) for text in said if text.get("default_message")]
    return "; ".join(texts) or "it does not say why"

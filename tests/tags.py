"""Somebody who makes and attaches tags by hand, over ``/rest``: every release has it."""

import base64
import json
import ssl
import urllib.request
from dataclasses import dataclass, field
from typing import Any, Self
from urllib.parse import unquote

from pyVim.connect import Disconnect, SmartConnect

from moorage_lab.api import VCenterProcess

_SESSION = "/rest/com/vmware/cis/session"
_TAGGING = "/rest/com/vmware/cis/tagging"


def _below(found: Any) -> list[Any]:
    match type(found).__name__.rpartition(".")[2]:
        case "Datacenter":
            return [found.vmFolder, found.hostFolder, found.datastoreFolder, found.networkFolder]
        case "Folder":
            return list(found.childEntity)
        case "ClusterComputeResource" | "ComputeResource":
            return list(found.host)
    return []


@dataclass
class Tagger:
    """Use it in a `with` block: its session ends there."""

    process: VCenterProcess
    _context: ssl.SSLContext = field(init=False)
    _token: str = ""
    _categories: dict[str, str] = field(default_factory=dict)

    def __enter__(self) -> Self:
        self._context = ssl.create_default_context(cafile=str(self.process.ca_file))
        self._token = self.ask("POST", _SESSION)
        return self

    def __exit__(self, *_: object) -> None:
        self.ask("DELETE", _SESSION)

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        request = urllib.request.Request(
            f"https://{self.process.address}{path}",
            method=method,
            data=None if body is None else json.dumps(body).encode(),
        )
        if self._token:
            request.add_header("vmware-api-session-id", self._token)
        else:
            user = f"{self.process.user}:{self.process.password}".encode()
            request.add_header("Authorization", f"Basic {base64.b64encode(user).decode()}")
        with urllib.request.urlopen(request, context=self._context) as answer:  # noqa: S310
            text = answer.read()
        return json.loads(text).get("value") if text else None

    def category(self, name: str, cardinality: str = "MULTIPLE", types: Any = ()) -> str:
        """Return the category of that name, made the first time."""
        if name not in self._categories:
            spec = {
                "name": name,
                "description": "",
                "cardinality": cardinality,
                "associable_types": list(types),
            }
            made = self.ask("POST", f"{_TAGGING}/category", {"create_spec": spec})
            self._categories[name] = made
        return self._categories[name]

    def tag(self, category: str, name: str) -> str:
        """Make a tag; return its identifier."""
        spec = {"name": name, "description": "", "category_id": self.category(category)}
        return str(self.ask("POST", f"{_TAGGING}/tag", {"create_spec": spec}))

    def attach(self, tag: str, path: str) -> None:
        """Attach a tag to the object at an inventory path."""
        kind, moref = self.find(path)
        where = f"{_TAGGING}/tag-association/id:{tag}?~action=attach"
        self.ask("POST", where, {"object_id": {"type": kind, "id": moref}})

    def put(self, category: str, name: str, path: str) -> None:
        """Make a tag and attach it."""
        self.attach(self.tag(category, name), path)

    def state(self) -> dict[str, Any]:
        """Return every category and tag that there is, by name, with what tags are attached to."""
        found: dict[str, Any] = {}
        for identifier in self.ask("GET", f"{_TAGGING}/category") or ():
            category = self.ask("GET", f"{_TAGGING}/category/id:{identifier}")
            action = f"{_TAGGING}/tag/id:{identifier}?~action=list-tags-for-category"
            tags = {}
            for one in self.ask("POST", action) or ():
                name = self.ask("GET", f"{_TAGGING}/tag/id:{one}")["name"]
                attached = f"{_TAGGING}/tag-association/id:{one}?~action=list-attached-objects"
                objects = self.ask("POST", attached, {}) or []
                tags[name] = sorted(each["id"] for each in objects)
            found[category["name"]] = {
                "cardinality": category["cardinality"],
                "types": category.get("associable_types") or [],
                "tags": tags,
            }
        return found

    def find(self, path: str) -> tuple[str, str]:
        """Return type and moref of the object at an inventory path."""
        service = SmartConnect(
            host=self.process.host,
            port=self.process.port,
            user=self.process.user,
            pwd=self.process.password,
            sslContext=self._context,
        )
        try:
            found: Any = service.RetrieveContent().rootFolder
            for part in path.strip("/").split("/"):
                below = next((b for b in _below(found) if unquote(b.name) == unquote(part)), None)
                assert below is not None, f"{part} of {path}"
                found = below
            return type(found).__name__.rpartition(".")[2], found._moId
        finally:
            Disconnect(service)

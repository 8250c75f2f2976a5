"""A client of one cluster's API server, with what Moorage does there and no more."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from types import TracebackType
from typing import Self

from moorage.kit.clock import Clock, SystemClock
from moorage.kit.errors import InvalidError, NotFoundError
from moorage.kube import etcd
from moorage.kube.drain import drain_pass, pods_on
from moorage.kube.model import (
    Credentials,
    Document,
    DrainState,
    EtcdMember,
    NodeInfo,
    PodInfo,
    parse_node,
)
from moorage.kube.transport import APPLY_PATCH, MERGE_PATCH, Transport, segment

FIELD_MANAGER = "moorage"
_PAGE = 500
_FIRST = ("Namespace", "CustomResourceDefinition")
"""What other objects of the same manifest may need."""


class KubeClient:
    """One API server. Every method is one or a few requests; none waits for an effect."""

    def __init__(
        self,
        server: str,
        credentials: Credentials,
        *,
        timeout_s: float = 10.0,
        clock: Clock | None = None,
    ) -> None:
        self._transport = Transport(server, credentials, timeout_s=timeout_s)
        self._clock = clock or SystemClock()
        self._resources: dict[str, dict[str, tuple[str, bool]]] = {}

    @property
    def server(self) -> str:
        """URL of the API server."""
        return self._transport.server

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close all connections."""
        await self._transport.aclose()

    async def version(self) -> str:
        """Return the version that the API server reports, such as ``v1.34.4``."""
        answer = await self._transport.json("GET", "/version", timeout_s=5.0)
        return str(answer["gitVersion"])

    async def ready(self) -> None:
        """Return when the API server says that it is ready; else raise what it says instead."""
        await self._transport.text("/readyz", timeout_s=5.0)

    # Objects

    async def apply(
        self, objects: Iterable[Document], field_manager: str = FIELD_MANAGER
    ) -> list[Document]:
        """Apply objects server-side, in order, what others may need first.

        Fields that other managers own are taken over: the caller says what must be so.
        """
        ordered = sorted(
            objects, key=lambda o: _FIRST.index(o["kind"]) if o["kind"] in _FIRST else 9
        )
        return [
            await self._transport.json(
                "PATCH",
                await self._path_of(item),
                params={"fieldManager": field_manager, "force": "true"},
                body=item,
                content_type=APPLY_PATCH,
            )
            for item in ordered
        ]

    async def get(
        self, api_version: str, kind: str, name: str, namespace: str | None = None
    ) -> Document:
        """Return an object; raises ``NotFoundError``."""
        path = await self._path(api_version, kind, name, namespace)
        return await self._transport.json("GET", path)

    async def find(
        self, api_version: str, kind: str, name: str, namespace: str | None = None
    ) -> Document | None:
        """Return an object, or ``None`` when it is not there."""
        try:
            return await self.get(api_version, kind, name, namespace)
        except NotFoundError:
            return None

    async def delete(
        self, api_version: str, kind: str, name: str, namespace: str | None = None
    ) -> bool:
        """Ask for an object's deletion; ``False`` when it was not there."""
        path = await self._path(api_version, kind, name, namespace)
        try:
            await self._transport.json("DELETE", path)
        except NotFoundError:
            return False
        return True

    async def find_secret(self, namespace: str, name: str) -> Document | None:
        """Return a Secret, or ``None`` when it is not there."""
        return await self.find("v1", "Secret", name, namespace)

    async def delete_secret(self, namespace: str, name: str) -> bool:
        """Delete a Secret; ``False`` when it was not there."""
        return await self.delete("v1", "Secret", name, namespace)

    async def _path_of(self, item: Document) -> str:
        metadata = item["metadata"]
        return await self._path(
            item["apiVersion"], item["kind"], metadata["name"], metadata.get("namespace")
        )

    async def _path(self, api_version: str, kind: str, name: str, namespace: str | None) -> str:
        root = f"/api/{api_version}" if "/" not in api_version else f"/apis/{api_version}"
        known = self._resources.get(api_version, {})
        if kind not in known:
            # Also when the group was read before: a definition may have been applied since.
            known = self._resources[api_version] = await self._discover(root)
        if kind not in known:
            raise InvalidError(f"{self.server} has no kind {kind} in {api_version}")
        plural, is_namespaced = known[kind]
        if not is_namespaced:
            return f"{root}/{plural}/{segment(name)}"
        return f"{root}/namespaces/{segment(namespace or 'default')}/{plural}/{segment(name)}"

    async def _discover(self, root: str) -> dict[str, tuple[str, bool]]:
        try:
            answer = await self._transport.json("GET", root)
        except NotFoundError:
            return {}
        return {
            resource["kind"]: (resource["name"], bool(resource["namespaced"]))
            for resource in answer["resources"]
            if "/" not in resource["name"]
        }

    # Nodes

    async def list_nodes(self) -> list[NodeInfo]:
        """Return all nodes, sorted by name."""
        nodes: list[NodeInfo] = []
        params = {"limit": str(_PAGE)}
        while True:
            answer = await self._transport.json("GET", "/api/v1/nodes", params=params)
            nodes += [parse_node(item) for item in answer["items"]]
            token = answer.get("metadata", {}).get("continue")
            if not token:
                return sorted(nodes, key=lambda node: node.name)
            params = {"limit": str(_PAGE), "continue": token}

    async def find_node(self, name: str) -> NodeInfo | None:
        """Return one node, or ``None`` when it is not there."""
        try:
            return parse_node(await self._transport.json("GET", _node_path(name)))
        except NotFoundError:
            return None

    async def delete_node(self, name: str) -> bool:
        """Delete a Node; ``False`` when it was not there. Its machine is not touched."""
        try:
            await self._transport.json("DELETE", _node_path(name))
        except NotFoundError:
            return False
        return True

    async def patch_node(
        self,
        name: str,
        *,
        labels: Mapping[str, str | None] | None = None,
        taints: Iterable[Mapping[str, str]] = (),
    ) -> None:
        """Set labels (``None`` removes one), and add taints or change their values.

        Other labels and taints stay. Raises ``ConflictError`` when the node's taints changed
        meanwhile.
        """
        body: Document = {"metadata": {"labels": dict(labels)} if labels else {}}
        wanted = {(taint["key"], taint["effect"]): dict(taint) for taint in taints}
        if wanted:
            # A merge patch replaces the whole list: the version guards what others wrote.
            node = await self._transport.json("GET", _node_path(name))
            old = {(t["key"], t["effect"]): t for t in node["spec"].get("taints", ())}
            body["metadata"]["resourceVersion"] = node["metadata"]["resourceVersion"]
            body["spec"] = {"taints": list({**old, **wanted}.values())}
        await self._transport.json("PATCH", _node_path(name), body=body, content_type=MERGE_PATCH)

    async def cordon(self, name: str, *, cordoned: bool = True) -> None:
        """Keep new pods away from a node, or let them come again."""
        await self._transport.json(
            "PATCH",
            _node_path(name),
            body={"spec": {"unschedulable": cordoned}},
            content_type=MERGE_PATCH,
        )

    async def pods_on(self, node: str) -> list[PodInfo]:
        """Return the pods bound to a node, ended ones left out."""
        return await pods_on(self._transport, node)

    async def drain(self, node: str, deadline: datetime | None = None) -> DrainState:
        """Do one pass of a drain: cordon, ask for evictions, tell what is left and why."""
        return await drain_pass(self._transport, node, deadline=deadline, now=self._clock.now())

    # etcd

    async def etcd_members(self) -> list[EtcdMember]:
        """Return etcd's members and their health; raises ``UnavailableError`` without quorum."""
        return await etcd.list_members(self._transport)

    async def remove_etcd_member(self, member_id: int, *, avoid: str | None = None) -> None:
        """Remove a member of etcd, asked on another node than ``avoid``.

        The caller has counted the quorum. May be repeated.
        """
        await etcd.remove_member(self._transport, member_id, avoid=avoid)


def _node_path(name: str) -> str:
    return f"/api/v1/nodes/{segment(name)}"

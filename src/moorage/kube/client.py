"""A client of one cluster's API server, with what Moorage does there and no more."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from types import TracebackType
from typing import Any, Self

from lightkube import AsyncClient, KubeConfig, sort_objects
from lightkube.config.models import Cluster, User
from lightkube.generic_resource import Generic
from lightkube.types import PatchType

from moorage.kit.clock import Clock, SystemClock
from moorage.kit.errors import InvalidError, NotFoundError
from moorage.kube import drain, etcd
from moorage.kube.model import (
    NODE,
    Credentials,
    Document,
    DrainState,
    EtcdMember,
    NodeInfo,
    PodInfo,
    parse_node,
    resource,
)
from moorage.kube.transport import TEXT, Transport, segment

FIELD_MANAGER = "moorage"
_PAGE = 500


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
        # Our transport alone connects, and it knows this cluster's CA only. "insecure" keeps
        # lightkube from reading the system's trust store into a context that nothing uses.
        cluster = Cluster(server=self._transport.server, insecure=True)
        self._api = AsyncClient(
            KubeConfig.from_one(cluster=cluster, user=User()),
            timeout=self._transport.timeout,
            field_manager=FIELD_MANAGER,
            # Clusters are reached directly; a proxy of the environment is meant for the hub.
            trust_env=False,
            transport=self._transport,
        )
        self._clock = clock or SystemClock()
        self._kinds: dict[str, dict[str, type[Any]]] = {}

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
        answer = await self._transport.get("/version")
        return str(answer.json()["gitVersion"])

    async def ready(self) -> None:
        """Return when the API server says that it is ready; else raise what it says instead."""
        await self._transport.get("/readyz", TEXT)

    # Objects

    async def apply(
        self, objects: Iterable[Document], field_manager: str = FIELD_MANAGER
    ) -> list[Document]:
        """Apply objects server-side, in order, what others may need first.

        Fields that other managers own are taken over: the caller says what must be so.
        """
        made: list[Document] = []
        ordered: list[Any] = sort_objects([Generic.from_dict(item) for item in objects])
        for item in ordered:
            metadata = item["metadata"]
            kind = await self._kind(item["apiVersion"], item["kind"])
            made.append(
                await self._api.apply(
                    kind(item),
                    segment(metadata["name"]),
                    namespace=_namespace(metadata.get("namespace")),
                    field_manager=field_manager,
                    force=True,
                )
            )
        return made

    async def get(
        self, api_version: str, kind: str, name: str, namespace: str | None = None
    ) -> Document:
        """Return an object; raises ``NotFoundError``."""
        known = await self._kind(api_version, kind)
        found: Document = await self._api.get(known, segment(name), namespace=_namespace(namespace))
        return found

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
        known = await self._kind(api_version, kind)
        return await self._delete(known, name, namespace)

    async def delete_secret(self, namespace: str, name: str) -> bool:
        """Delete a Secret; ``False`` when it was not there."""
        return await self.delete("v1", "Secret", name, namespace)

    async def _delete(self, kind: Any, name: str, namespace: str | None = None) -> bool:
        try:
            await self._api.delete(kind, segment(name), namespace=_namespace(namespace))
        except NotFoundError:
            return False
        return True

    async def _kind(self, api_version: str, kind: str) -> Any:
        """Return lightkube's class for a kind, as this API server serves it."""
        known = self._kinds.get(api_version, {})
        if kind not in known:
            # Also when the group was read before: a definition may have been applied since.
            known = self._kinds[api_version] = await self._discover(api_version)
        if kind not in known:
            raise InvalidError(f"{self.server} has no kind {kind} in {api_version}")
        return known[kind]

    async def _discover(self, api_version: str) -> dict[str, type[Any]]:
        root = "/apis" if "/" in api_version else "/api"
        try:
            answer = await self._transport.get(f"{root}/{api_version}")
        except NotFoundError:
            return {}
        return {
            each["kind"]: resource(
                api_version, each["kind"], each["name"], namespaced=each["namespaced"]
            )
            for each in answer.json()["resources"]
            if "/" not in each["name"]
        }

    # Nodes

    async def list_nodes(self) -> list[NodeInfo]:
        """Return all nodes, sorted by name."""
        nodes = [parse_node(node) async for node in self._api.list(NODE, chunk_size=_PAGE)]
        return sorted(nodes, key=lambda node: node.name)

    async def find_node(self, name: str) -> NodeInfo | None:
        """Return one node, or ``None`` when it is not there."""
        try:
            return parse_node(await self._api.get(NODE, segment(name)))
        except NotFoundError:
            return None

    async def delete_node(self, name: str) -> bool:
        """Delete a Node; ``False`` when it was not there. Its machine is not touched."""
        return await self._delete(NODE, name)

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
            node = await self._api.get(NODE, segment(name))
            old = {(t["key"], t["effect"]): t for t in node["spec"].get("taints", ())}
            body["metadata"]["resourceVersion"] = node["metadata"]["resourceVersion"]
            body["spec"] = {"taints": list({**old, **wanted}.values())}
        await self._api.patch(NODE, segment(name), body, patch_type=PatchType.MERGE)

    async def cordon(self, name: str, *, cordoned: bool = True) -> None:
        """Keep new pods away from a node, or let them come again."""
        await drain.cordon(self._api, name, cordoned=cordoned)

    async def pods_on(self, node: str) -> list[PodInfo]:
        """Return the pods bound to a node, ended ones left out."""
        return await drain.pods_on(self._api, node)

    async def drain(self, node: str, deadline: datetime | None = None) -> DrainState:
        """Do one pass of a drain: cordon, ask for evictions, tell what is left and why."""
        return await drain.drain_pass(self._api, node, deadline=deadline, now=self._clock.now())

    # etcd

    async def etcd_members(self, *, avoid: str | None = None) -> list[EtcdMember]:
        """Return etcd's members and their health; raises ``UnavailableError`` without quorum.

        ``avoid`` names a node that is asked last: it is likely not to answer.
        """
        return await etcd.list_members(self._api, avoid=avoid)

    async def hand_over_etcd(self, member: EtcdMember, successor: EtcdMember) -> bool:
        """Let another member of etcd lead, if this one does; ``False`` when it does not."""
        return await etcd.hand_over(self._api, member, successor)

    async def remove_etcd_member(self, member_id: int, *, avoid: str | None = None) -> None:
        """Remove a member of etcd, asked on another node than ``avoid``.

        The caller has counted the quorum. May be repeated.
        """
        await etcd.remove_member(self._api, member_id, avoid=avoid)


def _namespace(name: str | None) -> str | None:
    return segment(name) if name else None

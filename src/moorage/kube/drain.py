"""Empty a node: one pass asks for the evictions that are allowed now, and says what is left."""

from datetime import datetime, timedelta

import anyio

from moorage.kit.errors import ConflictError, MoorageError, NotFoundError
from moorage.kube.model import DrainState, PodInfo, PodLeft, parse_node, parse_pod
from moorage.kube.transport import MERGE_PATCH, ApiStatusError, Transport, segment

_AT_ONCE = 8
_GIVEN_UP = timedelta(seconds=60)
"""On a node whose kubelet is silent nobody confirms that a deleted pod has ended."""
_TOO_MANY_REQUESTS = 429
_FINISHED = frozenset({"Succeeded", "Failed"})


async def drain_pass(
    transport: Transport, node: str, *, deadline: datetime | None, now: datetime
) -> DrainState:
    """Cordon the node, ask for evictions, and return at once with what is left.

    May be repeated; a node that is gone is drained. Pods of DaemonSets and static pods stay.
    """
    path = f"/api/v1/nodes/{segment(node)}"
    try:
        info = parse_node(await transport.json("GET", path))
        if not info.unschedulable:
            await transport.json(
                "PATCH", path, body={"spec": {"unschedulable": True}}, content_type=MERGE_PATCH
            )
    except NotFoundError:
        return DrainState(remaining=(), expired=False)
    pods = [pod for pod in await pods_on(transport, node) if not (pod.is_mirror or pod.is_daemon)]
    left: dict[int, PodLeft | None] = {}
    places = anyio.CapacityLimiter(_AT_ONCE)

    async def look_at(index: int, pod: PodInfo) -> None:
        async with places:
            left[index] = await _evict(transport, pod, kubelet_answers=info.ready, now=now)

    async with anyio.create_task_group() as group:
        for index, pod in enumerate(pods):
            group.start_soon(look_at, index, pod)
    remaining = tuple(pod for _, pod in sorted(left.items()) if pod is not None)
    return DrainState(
        remaining=remaining, expired=bool(remaining) and deadline is not None and now >= deadline
    )


async def pods_on(transport: Transport, node: str) -> list[PodInfo]:
    """Return the pods bound to a node, ended ones left out."""
    answer = await transport.json(
        "GET", "/api/v1/pods", params={"fieldSelector": f"spec.nodeName={node}"}
    )
    pods = [parse_pod(item) for item in answer["items"]]
    return [pod for pod in pods if pod.phase not in _FINISHED]


async def _evict(
    transport: Transport, pod: PodInfo, *, kubelet_answers: bool, now: datetime
) -> PodLeft | None:
    def because(reason: str) -> PodLeft:
        return PodLeft(pod.namespace, pod.name, reason)

    if pod.deletion_requested_at is not None:
        # The timestamp already holds the grace period.
        if not kubelet_answers and now - pod.deletion_requested_at > _GIVEN_UP:
            return None
        return because("it is ending")
    metadata = {"name": pod.name, "namespace": pod.namespace}
    try:
        await transport.json(
            "POST",
            f"/api/v1/namespaces/{segment(pod.namespace)}/pods/{segment(pod.name)}/eviction",
            body={
                "apiVersion": "policy/v1",
                "kind": "Eviction",
                "metadata": metadata,
                # A pod of the same name that came since is not meant.
                "deleteOptions": {"preconditions": {"uid": pod.uid}},
            },
        )
    except (NotFoundError, ConflictError):
        return None
    except MoorageError as error:
        forbidden = isinstance(error, ApiStatusError) and error.code == _TOO_MANY_REQUESTS
        return because(
            f"its disruption budget forbids it now: {error}" if forbidden else str(error)
        )
    return because("it is ending")

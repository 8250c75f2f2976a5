"""Empty a node: one pass asks for the evictions that are allowed now, and says what is left."""

from datetime import datetime, timedelta

import anyio
from lightkube import ALL_NS, AsyncClient
from lightkube.models import meta_v1
from lightkube.resources.core_v1 import PodEviction
from lightkube.types import PatchType

from moorage.kit.errors import ConflictError, MoorageError, NotFoundError
from moorage.kube.model import NODE, POD, DrainState, PodInfo, PodLeft, parse_node, parse_pod
from moorage.kube.transport import ApiStatusError, segment

_AT_ONCE = 8
_GIVEN_UP = timedelta(seconds=60)
"""On a node whose kubelet is silent nobody confirms that a deleted pod has ended."""
_TOO_MANY_REQUESTS = 429
_FINISHED = frozenset({"Succeeded", "Failed"})


async def drain_pass(
    api: AsyncClient, node: str, *, deadline: datetime | None, now: datetime
) -> DrainState:
    """Cordon the node, ask for evictions, and return at once with what is left.

    May be repeated; a node that is gone is drained. Pods of DaemonSets and static pods stay.
    """
    try:
        info = parse_node(await api.get(NODE, segment(node)))
        if not info.unschedulable:
            await cordon(api, node, cordoned=True)
    except NotFoundError:
        return DrainState(remaining=(), expired=False)
    pods = [pod for pod in await pods_on(api, node) if not (pod.is_mirror or pod.is_daemon)]
    left: dict[int, PodLeft | None] = {}
    places = anyio.CapacityLimiter(_AT_ONCE)

    async def look_at(index: int, pod: PodInfo) -> None:
        async with places:
            left[index] = await _evict(api, pod, kubelet_answers=info.ready, now=now)

    async with anyio.create_task_group() as group:
        for index, pod in enumerate(pods):
            group.start_soon(look_at, index, pod)
    remaining = tuple(pod for _, pod in sorted(left.items()) if pod is not None)
    return DrainState(
        remaining=remaining, expired=bool(remaining) and deadline is not None and now >= deadline
    )


async def cordon(api: AsyncClient, node: str, *, cordoned: bool) -> None:
    """Keep new pods away from a node, or let them come again."""
    change = {"spec": {"unschedulable": cordoned}}
    await api.patch(NODE, segment(node), change, patch_type=PatchType.MERGE)


async def pods_on(api: AsyncClient, node: str) -> list[PodInfo]:
    """Return the pods bound to a node, ended ones left out."""
    found = api.list(POD, namespace=ALL_NS, fields={"spec.nodeName": node})
    pods = [parse_pod(pod) async for pod in found]
    return [pod for pod in pods if pod.phase not in _FINISHED]


async def _evict(
    api: AsyncClient, pod: PodInfo, *, kubelet_answers: bool, now: datetime
) -> PodLeft | None:
    def because(reason: str) -> PodLeft:
        return PodLeft(pod.namespace, pod.name, reason)

    if pod.deletion_requested_at is not None:
        # The timestamp already holds the grace period.
        if not kubelet_answers and now - pod.deletion_requested_at > _GIVEN_UP:
            return None
        return because("it is ending")
    eviction = PodEviction(
        metadata=meta_v1.ObjectMeta(name=pod.name),
        # A pod of the same name that came since is not meant.
        deleteOptions=meta_v1.DeleteOptions(preconditions=meta_v1.Preconditions(uid=pod.uid)),
    )
    try:
        await api.create(eviction, segment(pod.name), namespace=segment(pod.namespace))
    except (NotFoundError, ConflictError):
        return None
    except MoorageError as error:
        forbidden = isinstance(error, ApiStatusError) and error.code == _TOO_MANY_REQUESTS
        return because(
            f"its disruption budget forbids it now: {error}" if forbidden else str(error)
        )
    return because("it is ending")

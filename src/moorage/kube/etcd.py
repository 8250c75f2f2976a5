"""etcd's membership, asked through the API server: ``etcdctl`` inside an etcd pod.

etcd itself listens to its members only, so that no port of it must be reachable from the
gateway. kubeadm's image of etcd holds ``etcdctl``, and its pod the certificates for it.
"""

import json
from dataclasses import replace
from typing import Any

from lightkube import AsyncClient

from moorage.kit.errors import InvalidError, NotFoundError, UnavailableError
from moorage.kube.execute import Executed, execute
from moorage.kube.model import POD, EtcdMember, PodInfo, parse_pod

_PKI = "/etc/kubernetes/pki/etcd"
_ETCDCTL = (
    "etcdctl",
    "--endpoints=https://127.0.0.1:2379",
    f"--cacert={_PKI}/ca.crt",
    f"--cert={_PKI}/healthcheck-client.crt",
    f"--key={_PKI}/healthcheck-client.key",
    "--command-timeout=5s",
    "--write-out=json",
)
_NAMESPACE = "kube-system"


async def list_members(api: AsyncClient, *, avoid: str | None = None) -> list[EtcdMember]:
    """Return etcd's members with their health, sorted by name.

    ``avoid`` names a node that is asked last: it is likely not to answer. Raises
    ``UnavailableError`` when no etcd pod could be asked, which is so without quorum.
    """
    ran = await _etcdctl(api, ("member", "list"), last=avoid)
    members = [_parse_member(item) for item in _parse(ran, "member list")["members"]]
    voters = [url for m in members if not m.is_learner for url in m.client_urls[:1]]
    health = await _health(api, voters, avoid)
    return sorted((_with_health(m, health) for m in members), key=lambda m: (m.name, m.id))


def _with_health(member: EtcdMember, health: dict[str, bool]) -> EtcdMember:
    known = [health[url] for url in member.client_urls if url in health]
    return replace(member, healthy=known[0]) if known else member


async def _health(api: AsyncClient, urls: list[str], avoid: str | None) -> dict[str, bool]:
    if not urls:
        return {}
    # The exit code is 1 when a single endpoint is ill; the list is printed all the same.
    ran = await _etcdctl(api, ("endpoint", "health"), endpoints=urls, last=avoid, fails=True)
    try:
        return {item["endpoint"]: item["health"] is True for item in json.loads(ran.stdout)}
    except (ValueError, KeyError, TypeError):
        return {}


async def hand_over(api: AsyncClient, member: EtcdMember, successor: EtcdMember) -> bool:
    """Let another member lead, if this one does; ``False`` when it does not lead.

    An election would do the same a second later: this way no write waits for one.
    """
    urls = list(member.client_urls[:1])
    ran = await _etcdctl(api, ("endpoint", "status"), endpoints=urls, last=member.name)
    if not urls or not _leads(ran, member.id):
        return False
    to = f"{successor.id:x}"
    await _etcdctl(api, ("move-leader", to), endpoints=urls, last=member.name)
    return True


def _leads(ran: Executed, member_id: int) -> bool:
    try:
        return any(int(one["Status"]["leader"]) == member_id for one in json.loads(ran.stdout))
    except (ValueError, KeyError, TypeError) as error:
        raise UnavailableError(
            f"etcdctl endpoint status told no leader: {ran.stdout[:200]!r}"
        ) from error


async def remove_member(api: AsyncClient, member_id: int, *, avoid: str | None = None) -> None:
    """Remove a member. One that is not there is removed already.

    The caller has counted the quorum. ``avoid`` names the node that goes: its etcd is not asked.
    """
    ran = await _etcdctl(api, ("member", "remove", f"{member_id:x}"), avoid=avoid, fails=True)
    if ran.code != 0 and "member not found" not in ran.stderr.lower():
        raise UnavailableError(
            f"etcd did not remove member {member_id:x} at {api.config.cluster.server}: "
            + ran.stderr.strip()
        )


async def _etcdctl(
    api: AsyncClient,
    arguments: tuple[str, ...],
    *,
    endpoints: list[str] | None = None,
    avoid: str | None = None,
    last: str | None = None,
    fails: bool = False,
) -> Executed:
    """Run etcdctl in the first etcd pod that lets it run; with ``fails``, its failure counts.

    The pod on node ``avoid`` is not asked, that on node ``last`` after all others.
    """
    command = [*_ETCDCTL, *arguments]
    if endpoints:
        command[1] = f"--endpoints={','.join(endpoints)}"
    said: list[str] = []
    for pod in await _pods(api, avoid, last):
        try:
            ran = await execute(api, _NAMESPACE, pod.name, "etcd", command)
        except (UnavailableError, NotFoundError, InvalidError) as error:
            said.append(str(error))
            continue
        if ran.code == 0 or fails:
            return ran
        said.append(f"{pod.name}: {ran.stderr.strip() or ran.stdout.strip()}")
    raise UnavailableError(
        f"etcdctl {' '.join(arguments)} at {api.config.cluster.server}: "
        + ("; ".join(said) or "there is no running etcd pod")
    )


async def _pods(api: AsyncClient, avoid: str | None, last: str | None) -> list[PodInfo]:
    found = api.list(
        POD, namespace=_NAMESPACE, labels={"component": "etcd", "tier": "control-plane"}
    )
    pods = [parse_pod(pod) async for pod in found]
    running = [p for p in pods if p.phase == "Running" and (avoid is None or p.node != avoid)]
    return sorted(running, key=lambda p: (last is not None and p.node == last, not p.ready, p.name))


def _parse(ran: Executed, what: str) -> dict[str, Any]:
    try:
        document = json.loads(ran.stdout)
    except ValueError as error:
        raise UnavailableError(f"etcdctl {what} printed no JSON: {ran.stdout[:200]!r}") from error
    if not isinstance(document, dict):
        raise UnavailableError(f"etcdctl {what} printed no object: {ran.stdout[:200]!r}")
    return document


def _parse_member(item: dict[str, Any]) -> EtcdMember:
    return EtcdMember(
        id=int(item["ID"]),
        name=item.get("name", ""),
        peer_urls=tuple(item.get("peerURLs", ())),
        client_urls=tuple(item.get("clientURLs", ())),
        is_learner=bool(item.get("isLearner", False)),
    )

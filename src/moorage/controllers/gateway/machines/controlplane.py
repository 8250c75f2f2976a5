"""Take a control-plane machine out of etcd: after its replacement is in, and never at its cost.

A machine is replaced by asking for its deletion: the cluster's pass makes another one at once, and
the steps here hold the old one's teardown until etcd can do without it. All that they rest on is
asked of etcd anew in each pass, so a crash at any point costs nothing but that pass.
"""

from moorage.controllers.gateway.env import Env
from moorage.controllers.gateway.machines.records import role_of
from moorage.controllers.gateway.machines.teardown import client_of
from moorage.engine import DONE, Outcome, step, wait
from moorage.kit.errors import UnavailableError
from moorage.kube import EtcdMember, KubeClient
from moorage.planning import Member, is_ill, why_member_stays, why_not_replaced
from moorage.resources import Cluster, Machine
from moorage.resources.kubernetes import Role

_LOOK_AGAIN_S = 2.0
_ETCD_AGAIN_S = 5.0


@step("Replaced")
async def ensure_replaced(machine: Machine, env: Env) -> Outcome:
    """Hold a control plane until others serve in its place; one that is ill leaves etcd now.

    Nobody may join etcd while a member of it is ill, so waiting for the replacement would be for
    ever.
    """
    return await _let_leave(machine, env, only_ill=True)


@step("EtcdMemberRemoved")
async def ensure_no_member(machine: Machine, env: Env) -> Outcome:
    """Take a control plane out of etcd; as long as it is in there, its VM stays."""
    return await _let_leave(machine, env, only_ill=False)


async def why_kept(machine: Machine, env: Env, *, only_ill: bool = False) -> str | None:
    """Tell why a control plane must not be replaced now; ``None``: it may be.

    With ``only_ill`` one that etcd still reaches is kept.
    """
    client = await client_of(machine, env)
    if client is None:
        return None
    cluster = await env.store.get(Cluster, machine.metadata.project, machine.spec.cluster)
    name = machine.metadata.name
    try:
        _, members = await _members(machine, cluster, client, env)
    except UnavailableError as error:
        return f"etcd cannot be asked, and nobody can join without a quorum: {error}"
    if only_ill and not is_ill(name, members):
        return "the other members of etcd still reach it, or it is the only one"
    founders = await role_of(env, cluster, None)
    leaving = [one.metadata.name for one in founders if one.is_deleting and one.key != machine.key]
    return why_not_replaced(name, members, leaving)


async def why_not_join(machine: Machine, env: Env) -> str | None:
    """Tell what keeps a control plane from joining etcd yet; ``None``: it may.

    kubeadm asks all members before it joins, and waits for those of that moment until its patience
    is at its end, also if one is removed meanwhile. So an ill one that leaves has to be gone first.
    """
    cluster = await env.store.get(Cluster, machine.metadata.project, machine.spec.cluster)
    if not any(one.is_deleting for one in await role_of(env, cluster, None)):
        return None
    client = await env.access.client(cluster)
    try:
        _, members = await _members(machine, cluster, client, env)
    except UnavailableError as error:
        return f"etcd cannot be asked: {error}"
    ill = [one.name for one in members if one.votes and not one.healthy]
    return f"members of etcd that are not healthy: {', '.join(ill)}" if ill else None


async def _let_leave(machine: Machine, env: Env, *, only_ill: bool) -> Outcome:
    """Wait until a machine may leave etcd, then have it leave; ``only_ill``: a healthy one stays.

    Done as well when there is no etcd to leave: the whole cluster goes, or never came to be.
    """
    if machine.spec.role is not Role.CONTROL_PLANE:
        return DONE
    client = await client_of(machine, env)
    if client is None:
        return DONE
    try:
        return await _leave(machine, client, env, only_ill=only_ill)
    except UnavailableError as error:
        return wait(
            "EtcdUnreachable",
            f"etcd has to be asked before this machine may go: {error}",
            after=_ETCD_AGAIN_S,
        )


async def _leave(machine: Machine, client: KubeClient, env: Env, *, only_ill: bool) -> Outcome:
    cluster = await env.store.get(Cluster, machine.metadata.project, machine.spec.cluster)
    name, replicas = machine.metadata.name, cluster.spec.control_plane.replicas
    listed, members = await _members(machine, cluster, client, env)
    own = [one for one in listed if _is_of(machine, one)]
    if not own:
        return DONE
    if (stay := why_member_stays(name, members, replicas)) is not None:
        return wait(stay.reason, stay.message, after=_LOOK_AGAIN_S)
    is_healthy = any(one.healthy for one in own)
    if is_healthy and only_ill:
        return DONE
    for member in own:
        if is_healthy:
            await _hand_over(member, listed, client)
        await client.remove_etcd_member(member.id, avoid=name)
    return DONE


async def _hand_over(member: EtcdMember, listed: list[EtcdMember], client: KubeClient) -> None:
    successor = next((one for one in listed if one.id != member.id and one.healthy), None)
    if successor is not None:
        await client.hand_over_etcd(member, successor)


async def _members(
    machine: Machine, cluster: Cluster, client: KubeClient, env: Env
) -> tuple[list[EtcdMember], list[Member]]:
    """Return etcd's members, as etcd lists them and as the quorum is counted."""
    listed = await client.etcd_members(avoid=machine.metadata.name)
    nodes = await env.access.nodes(cluster, max_age_s=_LOOK_AGAIN_S)
    ready = {node.name for node in nodes if node.ready}
    founders = await role_of(env, cluster, None)
    staying = {one.metadata.name for one in founders if not one.is_deleting}
    return listed, [
        Member(
            name=one.name,
            votes=not one.is_learner,
            healthy=one.healthy is True,
            stays=one.name in ready & staying,
        )
        for one in listed
    ]


def _is_of(machine: Machine, member: EtcdMember) -> bool:
    """Tell a machine's member; one that never started has no name, only its address."""
    if member.name:
        return member.name == machine.metadata.name
    hosts = {url.partition("://")[2].rpartition(":")[0].strip("[]") for url in member.peer_urls}
    return member.is_learner and bool(hosts & set(machine.status.addresses))

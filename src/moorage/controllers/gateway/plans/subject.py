"""What plans and checks are about: a cluster as it would be, beside the machines that it has."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from moorage.controllers.gateway.clusters.choosing import Survey, survey
from moorage.controllers.gateway.clusters.endpoint import vip_of
from moorage.controllers.gateway.env import Env
from moorage.controllers.gateway.placement.place import vcenter_of
from moorage.kit.errors import TerminalError
from moorage.planning.estate import Domain
from moorage.resources import Cluster, IPAddress, IPPool, Machine, Metadata, NodePool
from moorage.resources.cluster import ClusterSpec
from moorage.resources.nodepool import PoolDocument, pool_of_document
from moorage.vsphere import Found


@dataclass(slots=True)
class Subject:
    """A cluster as it would be, and the machines that it has now."""

    cluster: Cluster
    pools: list[NodePool]
    machines: list[Machine]
    lost: list[Machine]
    """Those on the host that is supposed to fail; not among ``machines``."""
    host_lost: str | None = None
    """That host, by name or moref."""


async def subject_of(
    before: Cluster | None,
    proposed: ClusterSpec,
    pools: Sequence[PoolDocument],
    new: Metadata,
    env: Env,
    host_lost: str | None = None,
) -> Subject:
    """Return a cluster as it would be.

    Args:
        before: As it is; ``None``: it would be a new one.
        proposed: What is asked of it.
        pools: All that there would be.
        new: Name and project; of a new one also the UID, if it has one already.
        env: As for steps.
        host_lost: What if this host, by name or moref, failed?

    Raises ``TerminalError`` for no such host.
    """
    if before is None:
        cluster, machines = Cluster(metadata=new, spec=proposed), list[Machine]()
    else:
        cluster = before.copy_deep()
        cluster.spec = proposed
        machines = await env.store.list(Machine, owner=before.metadata.uid)
    proposed_pools = [pool_of_document(one, new.name, new.project) for one in pools]
    lost = _on_host(host_lost, cluster, machines, env) if host_lost else []
    gone = {machine.metadata.uid for machine in lost}
    staying = [one for one in machines if one.metadata.uid not in gone]
    return Subject(cluster, proposed_pools, staying, lost, host_lost)


async def see(subject: Subject, env: Env) -> Survey:
    """Survey, with the host that is supposed to fail out of service."""
    cluster = subject.cluster
    vip = None
    if cluster.status.endpoint is None:
        uid = cluster.metadata.uid
        held = await env.store.list(IPAddress, owner=uid) if uid else []
        known = {pool.metadata.name: pool for pool in await env.store.list(IPPool)}
        vip = None if held else vip_of(cluster, known)
    seen = await survey(cluster, subject.pools, subject.machines, env, vip)
    if subject.host_lost is None or seen.sites is None:
        return seen
    domains = tuple(_without(domain, subject.host_lost) for domain in seen.sites.domains)
    return replace(
        seen,
        snapshot=replace(seen.snapshot, domains=domains),
        sites=replace(seen.sites, domains=domains),
    )


def _without(domain: Domain, host: str) -> Domain:
    hosts = tuple(
        replace(one, out_of_service="supposed to have failed")
        if host in (one.ref, one.name)
        else one
        for one in domain.hosts
    )
    return replace(domain, hosts=hosts)


def _on_host(host: str, cluster: Cluster, machines: Sequence[Machine], env: Env) -> list[Machine]:
    """Return the machines whose VM runs on a host; raises ``TerminalError`` for no such host."""
    vcenter = vcenter_of(cluster.spec.account, env)
    ref = vcenter.estate.host_called(host)
    if ref is None:
        raise TerminalError("HostNotFound", f"no host is called {host}, by name or by moref")
    found = []
    for machine in machines:
        seen = vcenter.find(machine.metadata.uid, moref=machine.status.vm)
        if isinstance(seen, Found) and seen.vm.host == ref:
            found.append(machine)
    return found

"""The cluster's API address: claimed before the first machine, released after the last."""

from collections import Counter
from ipaddress import IPv4Address

from moorage.controllers.gateway.conflicts import user_of
from moorage.controllers.gateway.env import Env, key_of
from moorage.controllers.gateway.machines import allowed_domains
from moorage.controllers.gateway.place import targets_of_cluster
from moorage.engine import DONE, Outcome, step, wait
from moorage.ipam import PoolExhaustedError, claim, claims_of, release
from moorage.kit.errors import ConflictError
from moorage.planning import choose_failure_domains, missing_addresses
from moorage.resources import Cluster, IPPool, NodePool
from moorage.resources.cluster import EndpointType


@step("EndpointClaimed")
async def ensure_endpoint(cluster: Cluster, env: Env) -> Outcome:
    """Claim the virtual address, once the pools hold enough for all machines too."""
    if cluster.status.endpoint is not None:
        return DONE
    short = await _shortage(cluster, env)
    if short:
        return wait("AddressesShort", short, after=30)
    asked = cluster.spec.endpoint
    host = str(asked.host) if asked.host is not None else None
    pool_name = asked.ip_pool or cluster.spec.placement.failure_domains[0].ip_pool
    pool = await env.store.find(IPPool, "", pool_name) if pool_name else None
    if pool_name is not None and pool is None:
        return wait("PoolNotFound", f"IP pool {pool_name} is not at this gateway")
    inside = host is not None and pool is not None and pool.spec.may_give(IPv4Address(host))
    if pool is not None and asked.type is EndpointType.VIP and (host is None or inside):
        wanted = IPv4Address(host) if host else None
        # A VIP moves inside one network only, which is that of any of the failure domains.
        _, _, target = targets_of_cluster(cluster)[0]
        account, uid = cluster.spec.account, cluster.metadata.uid
        try:
            address = await claim(
                env.store,
                pool,
                cluster.owner(),
                cluster=key_of(cluster),
                used_by=user_of(env, pool, account, target, uid),
                wanted=wanted,
            )
        except PoolExhaustedError as error:
            return wait("PoolExhausted", str(error), after=30)
        except ConflictError as error:
            return wait("EndpointTaken", f"the endpoint cannot be claimed: {error}", after=60)
        host = str(address.spec.address)
    cluster.status.endpoint = f"{host}:{asked.port}"
    env.stamp(cluster.status.timeline, "EndpointClaimed")
    return DONE


@step("EndpointReleased")
async def ensure_no_endpoint(cluster: Cluster, env: Env) -> Outcome:
    await release(env.store, cluster.metadata.uid, now=env.clock.now())
    return DONE


async def _shortage(cluster: Cluster, env: Env) -> str | None:
    """Say which pool cannot give an address to every machine and the VIP, if one cannot."""
    asked = cluster.spec.control_plane
    groups: list[tuple[int, list[str]]] = [(asked.replicas, asked.failure_domains)]
    groups += [
        (pool.spec.replicas, pool.spec.failure_domains)
        for pool in await env.store.list(NodePool, owner=cluster.metadata.uid)
    ]
    needed: Counter[str] = Counter()
    for replicas, domains in groups:
        for name in choose_failure_domains(allowed_domains(cluster, domains), (), replicas):
            pool_of_domain = cluster.spec.failure_domain(name).ip_pool
            if pool_of_domain:
                needed[pool_of_domain] += 1
    for name in needed:
        needed[name] += 1  # so that a machine can be replaced by making the new one first
    endpoint = cluster.spec.endpoint
    if endpoint.type is EndpointType.VIP and endpoint.host is None:
        vip_pool = endpoint.ip_pool or cluster.spec.placement.failure_domains[0].ip_pool
        if vip_pool:
            needed[vip_pool] += 1
    for name, count in sorted(needed.items()):
        pool = await env.store.find(IPPool, "", name)
        if pool is None:
            return f"IP pool {name} is not at this gateway"
        claims = await claims_of(env.store, name)
        ours = sum(1 for held in claims if held.spec.cluster == key_of(cluster))
        taken = {held.spec.address for held in claims}
        taken |= {conflict.address for conflict in pool.status.conflicts}
        missing = missing_addresses(pool.spec, taken, max(0, count - ours))
        if missing:
            return (
                f"IP pool {name} lacks {missing} of the {count} addresses that the cluster needs "
                "(machines, endpoint, and one more to replace a machine): widen it or ask for "
                "fewer machines"
            )
    return None

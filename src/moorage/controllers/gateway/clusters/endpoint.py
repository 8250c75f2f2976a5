"""The cluster's API address: claimed before the first machine, released after the last."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from ipaddress import ip_address

import anyio

from moorage.controllers.gateway.addresses.users import user_of
from moorage.controllers.gateway.clusters.choosing import choose_now, survey
from moorage.controllers.gateway.env import Env, key_of, machines_of
from moorage.controllers.gateway.machines.balancer import look_at_balancer
from moorage.controllers.gateway.machines.records import pools_of
from moorage.controllers.gateway.placement.following import Followed, outdate, plan_to_follow
from moorage.controllers.gateway.placement.place import targets_of_cluster
from moorage.controllers.tally import tally_of
from moorage.engine import DONE, Outcome, Wait, step, wait
from moorage.ipam import PoolExhaustedError, claim, release
from moorage.kit.errors import ConflictError, UnavailableError
from moorage.kit.net import host_port
from moorage.planning import Vip, differences
from moorage.planning.addresses import by_family, needed_by, share_out
from moorage.resources import Cluster, IPAddress, IPPool, NodePool
from moorage.resources.cluster import EndpointType


@step("EndpointClaimed")
async def ensure_endpoint(cluster: Cluster, env: Env) -> Outcome:
    """Claim the virtual address, once the pools hold enough for all machines too."""
    if cluster.status.endpoint is not None:
        return DONE
    known = {pool.metadata.name: pool for pool in await env.store.list(IPPool)}
    followed = await _followed(cluster, vip_of(cluster, known), env)
    if isinstance(followed, Wait):
        return followed
    if (lacking := await _waits_for_addresses(cluster, known, env)) is not None:
        return lacking
    host = host_of(cluster)
    try:
        match cluster.spec.endpoint.type:
            case EndpointType.VIP:
                host = await _claimed(cluster, host, known, followed, env)
            case EndpointType.EXTERNAL:
                await _check_resolves(host)
    except (UnavailableError, PoolExhaustedError) as error:
        is_full = isinstance(error, PoolExhaustedError)
        return wait("PoolExhausted" if is_full else "EndpointNotResolved", str(error), after=30)
    except ConflictError as error:
        return wait("EndpointTaken", f"the endpoint cannot be claimed: {error}", after=60)
    cluster.status.endpoint = host_port(host, cluster.spec.endpoint.port)
    await look_at_balancer(cluster, (), env)
    env.stamp(cluster.status.timeline, "EndpointClaimed")
    return DONE


def vip_of(cluster: Cluster, known: Mapping[str, IPPool]) -> Vip | None:
    """Return which address a cluster without one has to claim; ``None``: its user brings one."""
    asked = cluster.spec.endpoint
    if asked.type is not EndpointType.VIP:
        return None
    wanted = ip_address(str(asked.host)) if asked.host is not None else None
    pools = [known[name] for name in cluster.spec.vip_pools() if name in known]
    # As counted: of the first pool's family.
    pools = [pool for pool in pools if pool.spec.version == pools[0].spec.version]
    names = [one.metadata.name for one in pools if wanted is None or one.spec.may_give(wanted)]
    return Vip(tuple(names), wanted) if names else None


@step("EndpointReleased")
async def ensure_no_endpoint(cluster: Cluster, env: Env) -> Outcome:
    await release(env.store, cluster.metadata.uid, now=env.clock.now())
    return DONE


async def _followed(cluster: Cluster, vip: Vip | None, env: Env) -> Followed | Wait | None:
    """Return the plan that a new cluster follows, if all can still come as it says."""
    pools = await pools_of(env, cluster)
    machines = await machines_of(env, cluster)
    followed = await plan_to_follow(cluster, pools, machines, env)
    if not isinstance(followed, Followed):
        return followed
    promise, held = followed.promise, await env.store.list(IPAddress, owner=cluster.metadata.uid)
    wish = None if vip is None or held else replace(vip, wanted=promise.endpoint)
    seen = await survey(cluster, pools, machines, env, wish)
    choice, _ = await choose_now(cluster, seen, env, promise)
    wrong = differences(promise, choice, seen.copies(choice))
    return outdate(cluster, followed, wrong, env) if wrong else followed


def host_of(cluster: Cluster) -> str:
    """Return the endpoint's address or name that is known from the start, else ``""``."""
    asked = cluster.spec.endpoint
    if asked.host is not None:
        return str(asked.host)
    if asked.type is EndpointType.DDNS and asked.search_domain is not None:
        return f"{cluster.metadata.name}.{asked.search_domain.strip('.').lower()}"
    return ""


async def _check_resolves(host: str) -> None:
    """Raise ``UnavailableError`` when the name of a load balancer stands for nothing."""
    try:
        await anyio.getaddrinfo(host, None)
    except OSError as error:
        raise UnavailableError(
            f"the name {host} of the load balancer cannot be resolved here ({error.strerror}): "
            "nodes would not find the API either; enter it into DNS"
        ) from error


async def _claimed(
    cluster: Cluster, host: str, known: dict[str, IPPool], followed: Followed | None, env: Env
) -> str:
    """Return the virtual address, claimed where it is one of a pool's.

    Raises ``PoolExhaustedError`` or ``ConflictError``.
    """
    vip = vip_of(cluster, known)
    if vip is None:
        return host
    pools = [known[name] for name in vip.pools]
    wanted = vip.wanted if followed is None else followed.promise.endpoint
    # A VIP moves inside one network only, which is that of any of the failure domains.
    _, _, target = targets_of_cluster(cluster)[0]
    account, uid = cluster.spec.account, cluster.metadata.uid
    address = await claim(
        env.store,
        pools,
        cluster.owner(),
        cluster=key_of(cluster),
        used_by=user_of(env, pools, account, target, uid),
        wanted=wanted,
    )
    return str(address.spec.address)


async def _waits_for_addresses(cluster: Cluster, known: dict[str, IPPool], env: Env) -> Wait | None:
    """Return what keeps addresses from being given, if anything."""
    lacking = sorted(cluster.spec.ip_pools() - known.keys())
    if lacking:
        return wait("PoolNotFound", f"IP pool {', '.join(lacking)} is not at this gateway")
    pools = await env.store.list(NodePool, owner=cluster.metadata.uid)
    short = await address_shortage(cluster, pools, known, env)
    return wait("AddressesShort", short, after=30) if short else None


async def address_shortage(
    cluster: Cluster, pools: Sequence[NodePool], known: Mapping[str, IPPool], env: Env
) -> str | None:
    """Say which IP pools cannot give an address to every machine and the VIP, if there are such.

    A cluster is begun only when they can, with one more to replace a machine.
    """
    versions = {name: pool.spec.version for name, pool in known.items()}
    wanted = by_family(needed_by(cluster, pools), versions)
    tally = await tally_of(env.store)
    room = tally.room_for(key_of(cluster), cluster.spec.ip_pools(), known)
    for names, missing in share_out(wanted, room).items():
        which = (
            f"IP pool {names[0]} lacks" if len(names) == 1 else f"IP pools {', '.join(names)} lack"
        )
        return (
            f"{which} {missing} of the {wanted[names]} addresses that the cluster needs (machines, "
            "endpoint, and one more to replace a machine): widen it, name another pool beside it, "
            "or ask for fewer machines"
        )
    return None

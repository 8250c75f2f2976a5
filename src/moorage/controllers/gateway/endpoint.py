"""The cluster's API address: claimed before the first machine, released after the last."""

from ipaddress import ip_address

from moorage.controllers.gateway.conflicts import user_of
from moorage.controllers.gateway.env import Env, key_of
from moorage.controllers.gateway.place import targets_of_cluster
from moorage.controllers.tally import tally_of
from moorage.engine import DONE, Outcome, step, wait
from moorage.ipam import PoolExhaustedError, claim, release
from moorage.kit.errors import ConflictError
from moorage.kit.net import host_port
from moorage.planning.addresses import by_family, needed_by, share_out
from moorage.resources import Cluster, IPPool, NodePool
from moorage.resources.cluster import EndpointType


@step("EndpointClaimed")
async def ensure_endpoint(cluster: Cluster, env: Env) -> Outcome:
    """Claim the virtual address, once the pools hold enough for all machines too."""
    if cluster.status.endpoint is not None:
        return DONE
    known = {pool.metadata.name: pool for pool in await env.store.list(IPPool)}
    for name in sorted(cluster.spec.ip_pools()):
        if name not in known:
            return wait("PoolNotFound", f"IP pool {name} is not at this gateway")
    short = await _shortage(cluster, known, env)
    if short:
        return wait("AddressesShort", short, after=30)
    asked = cluster.spec.endpoint
    host = str(asked.host) if asked.host is not None else None
    wanted = ip_address(host) if host else None
    pools = [known[name] for name in cluster.spec.vip_pools()]
    # As counted: of the first pool's family.
    pools = [pool for pool in pools if pool.spec.version == pools[0].spec.version]
    if wanted is not None:
        pools = [pool for pool in pools if pool.spec.may_give(wanted)]
    if pools and asked.type is EndpointType.VIP:
        # A VIP moves inside one network only, which is that of any of the failure domains.
        _, _, target = targets_of_cluster(cluster)[0]
        account, uid = cluster.spec.account, cluster.metadata.uid
        try:
            address = await claim(
                env.store,
                pools,
                cluster.owner(),
                cluster=key_of(cluster),
                used_by=user_of(env, pools, account, target, uid),
                wanted=wanted,
            )
        except PoolExhaustedError as error:
            return wait("PoolExhausted", str(error), after=30)
        except ConflictError as error:
            return wait("EndpointTaken", f"the endpoint cannot be claimed: {error}", after=60)
        host = str(address.spec.address)
    cluster.status.endpoint = host_port(str(host), asked.port)
    env.stamp(cluster.status.timeline, "EndpointClaimed")
    return DONE


@step("EndpointReleased")
async def ensure_no_endpoint(cluster: Cluster, env: Env) -> Outcome:
    await release(env.store, cluster.metadata.uid, now=env.clock.now())
    return DONE


async def _shortage(cluster: Cluster, known: dict[str, IPPool], env: Env) -> str | None:
    """Say which pools cannot give an address to every machine and the VIP, if there are such."""
    pools = await env.store.list(NodePool, owner=cluster.metadata.uid)
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

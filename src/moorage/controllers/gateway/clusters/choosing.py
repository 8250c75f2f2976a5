"""All machines of a cluster are chosen in one pass, that of the cluster, and stored at once.

Nothing else makes Machines. So addresses and room are given in one order, and a Plan can say
what will happen: it asks ``survey`` and ``choose`` too.
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from moorage.controllers.gateway.accounts.privileges import missing_privileges
from moorage.controllers.gateway.clusters.others import OthersAddresses
from moorage.controllers.gateway.env import Env, key_of, machines_of
from moorage.controllers.gateway.machines.apart import keep_apart
from moorage.controllers.gateway.machines.records import (
    allowed_domains,
    control_plane_machine,
    pools_of,
    worker_machine,
)
from moorage.controllers.gateway.placement.disks import DiskPlaces, disk_places
from moorage.controllers.gateway.placement.following import (
    OUTDATED,
    Followed,
    outdate,
    plan_to_follow,
    say_followed,
)
from moorage.controllers.gateway.placement.place import vcenter_of
from moorage.controllers.gateway.placement.placing import (
    ROOM_AGAIN_S,
    Sites,
    look_at_sites,
    promise,
    reserved_by,
)
from moorage.engine import DONE, Outcome, Store, Wait, step, wait
from moorage.ipam import read_pool, take
from moorage.kit.errors import TerminalError
from moorage.kit.ids import new_uid
from moorage.planning import (
    Choice,
    Copies,
    Fault,
    Group,
    NewMachine,
    PoolAddresses,
    Promise,
    Snapshot,
    Vip,
    changes_of,
    choose,
    differences,
    slot_of,
)
from moorage.planning.estate import NOTHING
from moorage.resources import Cluster, IPPool, Machine, NodePool
from moorage.resources.cluster import Unplaced
from moorage.resources.size import MachineSize

_GRANTED_S = 60.0
"""Privileges are granted beside us; asking costs a call."""


@dataclass(frozen=True, slots=True)
class Survey:
    """What was seen of a cluster and its estate; addresses are read when they are given."""

    snapshot: Snapshot
    sites: Sites | None
    """``None`` when no machine has to be made."""

    def ip_pools(self) -> set[str]:
        """Return the names of the IP pools that addresses may have to come from."""
        domains = self.sites.domains if self.sites else ()
        vip = self.snapshot.vip
        return {*(vip.pools if vip is not None else ())} | {
            name for domain in domains for pools in domain.ip_pools for name in pools
        }

    def copies(self, choice: Choice) -> Copies:
        """Return what is copied for the new machines of a choice."""
        sites = self.sites
        if sites is None:
            return Copies()
        machines = {
            (new.pool, new.ordinal): self.group(new.pool).disk_bytes[new.place.datastore]
            for new in choice.create
        }
        linked = {
            new.place.datastore for new in choice.create if not machines[new.pool, new.ordinal]
        }
        sizes = {store: sites.sources[store].bytes_to_copy for store in sorted(linked)}
        replicas = {store: size for store, size in sizes.items() if size}
        return Copies(sites.template_digest(), machines, replicas)

    def group(self, pool: str | None) -> Group:
        """Return the group of a pool."""
        return next(group for group in self.snapshot.groups if group.pool == pool)


@step("MachinesExist")
async def ensure_machines(cluster: Cluster, env: Env) -> Outcome:
    """Make and delete Machines, of the control plane and of all pools."""
    machines = await machines_of(env, cluster)
    pools = await pools_of(env, cluster)
    followed = await plan_to_follow(cluster, pools, machines, env)
    if isinstance(followed, Wait) and followed.reason != OUTDATED:
        return followed
    choice = Choice()
    if not isinstance(followed, Wait):
        seen = await survey(cluster, pools, machines, env)
        if followed is not None and (lacking := await _not_permitted(cluster, pools, seen, env)):
            return lacking
        choice = await _carry_out(cluster, pools, seen, followed, env)
    founders = [machine for machine in machines if machine.spec.pool is None]
    cluster.status.control_plane_replicas = len(founders)
    await keep_apart(cluster, cluster, founders, env)
    cluster.status.unplaced = [
        Unplaced(pool=short.pool, reason=short.reason, message=str(short))
        for short in choice.shortages
        if short.pool is not None
    ]
    if (short_of := choice.shortage(None)) is not None:
        return wait(short_of.reason, str(short_of), after=ROOM_AGAIN_S)
    return DONE


async def _not_permitted(
    cluster: Cluster, pools: Iterable[NodePool], seen: Survey, env: Env
) -> Wait | None:
    """Return what to wait for before a plan is carried out, if the account lacks privileges."""
    if seen.sites is None:
        return None
    lacking = await missing_privileges(cluster, [one.spec for one in pools], env)
    return wait("PrivilegesMissing", lacking, after=_GRANTED_S) if lacking else None


async def survey(
    cluster: Cluster,
    pools: Iterable[NodePool],
    machines: Sequence[Machine],
    env: Env,
    vip: Vip | None = None,
) -> Survey:
    """See what choosing has to know, as it is now; vCenter is asked only if machines are lacking.

    What keeps the machines of one pool from being made is its group's fault. Raises what keeps
    all from being made, or the control plane's: ``UnavailableError``, ``TerminalError``.
    """
    shape = cluster.spec.control_plane
    sizes: dict[str | None, MachineSize] = {None: shape}
    founders = _group(cluster, None, shape.replicas, shape, shape.failure_domains)
    groups = [replace(founders, is_founded="APIReachable" in cluster.status.timeline)]
    for pool in pools:
        spec = pool.spec
        sizes[spec.pool] = spec
        groups.append(_group(cluster, spec.pool, spec.replicas, spec, spec.failure_domains))
    lacking = [group for group in groups if changes_of(group, machines).create]
    if not lacking:
        return Survey(Snapshot(groups, machines, vip=vip), None)
    sites = None
    reserving = any(group.reserved != NOTHING for group in lacking)
    judged: dict[str | None, Group] = {group.pool: group for group in groups}
    wanted: set[str] = set()
    for_disks = DiskPlaces().storage
    for group in lacking:
        try:
            beside = await disk_places(cluster, sizes[group.pool], group.domains, env)
            storage = (*for_disks, *beside.storage)
            looked = await look_at_sites(
                cluster, wanted | {*group.domains}, env, reserving=reserving, for_disks=storage
            )
            disk_bytes = looked.disk_bytes(cluster, sizes[group.pool], group.domains)
        except TerminalError as error:
            if group.pool is None:
                raise
            judged[group.pool] = replace(group, fault=Fault(error.reason, str(error)))
            continue
        sites, for_disks = looked, storage
        wanted |= set(group.domains)
        judged[group.pool] = replace(group, disk_bytes=disk_bytes, disks=beside.disks)
    promised = vcenter_of(cluster.spec.account, env).estate.promised.residents()
    domains = sites.domains if sites else ()
    snapshot = Snapshot([*judged.values()], machines, domains, promised, vip=vip)
    return Survey(snapshot, sites)


CarryOut = Callable[[Store, Choice, Mapping[str, IPPool]], Awaitable[None]]
"""Stores what was chosen, in the transaction in which it was chosen."""


async def choose_now(
    cluster: Cluster,
    seen: Survey,
    env: Env,
    promise: Promise | None = None,
    carry_out: CarryOut | None = None,
) -> tuple[Choice, list[PoolAddresses]]:
    """Choose, with the addresses that are free now; returns the IP pools as they were before.

    Args:
        cluster: Whose machines.
        seen: What ``survey`` saw.
        env: As for steps.
        promise: Of a plan: its machines go where it says, or are refused.
        carry_out: Called when all addresses are known to be used by nobody.
    """
    others = OthersAddresses(cluster, env)
    places = promise.places if promise is not None else {}
    while True:
        async with env.store.transaction() as store:
            found, addresses = await _read_addresses(store, cluster, seen, others)
            choice = choose(replace(seen.snapshot, ip_pools=addresses), places)
            asks = others.open_questions(found, choice)
            if not asks:
                if carry_out is not None:
                    await carry_out(store, choice, found)
                return choice, addresses
        await others.ask(found, asks)


async def _carry_out(
    cluster: Cluster,
    pools: Sequence[NodePool],
    seen: Survey,
    followed: Followed | None,
    env: Env,
) -> Choice:
    """Choose, and store what was chosen in one transaction: all of it, or nothing.

    What a plan has promised is stored if all of it can be, together with the note that it is.
    """
    if followed is None and seen.sites is None and not (without := choose(seen.snapshot)).delete:
        return without
    made: list[Machine] = []
    wrong: list[str] = []
    promise = followed.promise if followed is not None else Promise()
    machines = await machines_of(env, cluster)

    async def carry_out(store: Store, choice: Choice, found: Mapping[str, IPPool]) -> None:
        if followed is not None:
            wrong[:] = differences(promise, choice, seen.copies(choice))
            if wrong:
                return
            noted = cluster.copy_deep()  # should the transaction fail, nothing was noted
            say_followed(noted, followed, env)
            await store.put_status(noted)
        making = _Making(cluster, {pool.spec.pool: pool for pool in pools}, seen, promise, env)
        made.extend(await making.store(store, choice, found))

    choice, _ = await choose_now(cluster, seen, env, promise, carry_out)
    if followed is not None and wrong:
        outdate(cluster, followed, wrong, env)
        return Choice()
    if followed is not None:
        say_followed(cluster, followed, env)
    if made:
        env.stamp(cluster.status.timeline, "MachinesCreated")
        _note(cluster, choice, made, seen, env)
    machines += made
    for removal in choice.delete:
        removal.machine.metadata.deletion_requested_at = env.clock.now()
    return choice


async def _read_addresses(
    store: Store, cluster: Cluster, seen: Survey, others: OthersAddresses
) -> tuple[dict[str, IPPool], list[PoolAddresses]]:
    """Return the IP pools of new machines that are at this gateway, and what they have left."""
    snapshot = seen.snapshot
    most = sum(changes_of(group, snapshot.machines).create for group in snapshot.groups) + 1
    pools = {name: await store.find(IPPool, "", name) for name in sorted(seen.ip_pools())}
    found = {name: pool for name, pool in pools.items() if pool is not None}
    return found, [
        await read_pool(
            store, pool, cluster=key_of(cluster), needed=most, used=others.left_out(name)
        )
        for name, pool in found.items()
    ]


@dataclass(frozen=True, slots=True)
class _Making:
    """Stores what was chosen for one cluster."""

    cluster: Cluster
    pools: Mapping[str, NodePool]
    seen: Survey
    promise: Promise
    env: Env

    async def store(
        self, store: Store, choice: Choice, found: Mapping[str, IPPool]
    ) -> list[Machine]:
        """Store new Machines with their claims, and deletions; returns what was made."""
        made: list[Machine] = []
        for new in choice.create:
            machine = await store.create(self._machine(new))
            made.append(machine)
            for name, address in new.place.addresses:
                user = key_of(self.cluster)
                await take(store, found[name], address, machine.owner(), cluster=user)
        for removal in choice.delete:
            await store.request_deletion(Machine, *removal.machine.key)
        return made

    def _machine(self, new: NewMachine) -> Machine:
        assert self.seen.sites is not None  # noqa: S101 - nothing is made without a place
        size = self.cluster.spec.control_plane if new.pool is None else self.pools[new.pool].spec
        spot = self.seen.sites.spot(new.place, size.extra_disks)
        uid = self.promise.uids.get((new.pool, new.ordinal)) or new_uid()
        if new.pool is not None:
            return worker_machine(self.env, self.cluster, self.pools[new.pool], spot, uid)
        how: Literal["init", "join"] = "init" if new.founds else "join"
        return control_plane_machine(self.env, self.cluster, spot, how, uid)


def _note(
    cluster: Cluster, choice: Choice, made: Sequence[Machine], seen: Survey, env: Env
) -> None:
    """Let other placements count what was just placed."""
    if seen.sites is not None:
        slots = {new.pool: slot_of(seen.group(new.pool)) for new in choice.create}
        placed = [
            (machine.metadata.uid, new.place, slots[new.pool])
            for machine, new in zip(made, choice.create, strict=True)
        ]
        promise(vcenter_of(cluster.spec.account, env), seen.sites, placed)


def _group(
    cluster: Cluster,
    pool: str | None,
    replicas: int,
    size: MachineSize,
    domains: Sequence[str],
) -> Group:
    allowed = tuple(allowed_domains(cluster, domains))
    return Group(pool, replicas, size.memory_mib, allowed, {}, reserved=reserved_by(size))

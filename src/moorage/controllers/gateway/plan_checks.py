"""What is looked at before a plan is called ready: room, addresses, privileges, clocks, quorum."""

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from moorage.controllers.gateway.choosing import Survey
from moorage.controllers.gateway.clock import clock_disagreement
from moorage.controllers.gateway.env import Env
from moorage.controllers.gateway.placing import vcenter_of
from moorage.controllers.gateway.privileges import target_of
from moorage.permissions import wanted_features
from moorage.planning import Choice, PoolAddresses
from moorage.resources.permission import CheckTarget, FindingState
from moorage.resources.plan import PlanCheck

if TYPE_CHECKING:
    from moorage.controllers.gateway.plan import Subject

_SHOWN = 10


async def checks_of(
    subject: "Subject",
    seen: Survey,
    choice: Choice,
    addresses: Sequence[PoolAddresses],
    env: Env,
) -> list[PlanCheck]:
    """Return every check, those that found nothing among them.

    One call to vCenter, for the privileges. Raises ``UnavailableError`` while it cannot answer.
    """
    cluster = subject.cluster
    vcenter = vcenter_of(cluster.spec.account, env)
    read_only = vcenter.health.is_read_only
    skewed = await clock_disagreement(cluster.spec.account, env)
    return [
        _check("Placement", ""),  # the plan would not be here
        _check("Room", "; ".join(_short(choice))),
        _check("Addresses", choice.no_endpoint),
        _surge_room(choice, addresses),
        await _privileges(subject, env),
        _check(
            "AccountWrites", f"account {cluster.spec.account} is read-only" if read_only else ""
        ),
        _check("Clock", skewed or ""),
        _check("HostsApart", "; ".join(_sharing(seen, choice)), blocking=False),
        *_quorum(subject),
    ]


def _check(name: str, wrong: str, *, blocking: bool = True) -> PlanCheck:
    return PlanCheck(name=name, ok=not wrong, message=wrong, blocking=blocking)


def _short(choice: Choice) -> list[str]:
    return [f"{short.pool or 'control plane'}: {short}" for short in choice.shortages]


def _surge_room(choice: Choice, pools: Sequence[PoolAddresses]) -> PlanCheck:
    """Warn where a pool has no address left to replace a machine by making the new one first."""
    given = Counter(one.pool for new in choice.create for one in new.place.addresses)
    if choice.endpoint is not None:
        given[choice.endpoint.pool] += 1
    none_left = [
        pool.name
        for pool in pools
        if given[pool.name]
        and pool.spec.usable() - len(pool.spec.of_these(pool.taken)) <= given[pool.name]
    ]
    wrong = (
        f"no address is left in {', '.join(none_left)} to replace a machine" if none_left else ""
    )
    return _check("AddressHeadRoom", wrong, blocking=False)


async def _privileges(subject: "Subject", env: Env) -> PlanCheck:
    vcenter = vcenter_of(subject.cluster.spec.account, env)
    targets = CheckTarget.of_cluster(subject.cluster)
    result = await vcenter.access.check(
        [target_of(one) for one in targets], wanted_features(targets)
    )
    lacking = result.needed()
    lines = [
        f"{one.privilege} on {one.kind} {one.object}"
        if one.state is FindingState.MISSING
        else f"{one.kind} {one.object} is not seen"
        for one in lacking[:_SHOWN]
    ]
    more = f" and {len(lacking) - _SHOWN} more" if len(lacking) > _SHOWN else ""
    return _check("Privileges", f"missing: {'; '.join(lines)}{more}" if lacking else "")


def _sharing(seen: Survey, choice: Choice) -> list[str]:
    """Say which groups have more machines in a failure domain than it has usable hosts."""
    hosts = {
        domain.name: sum(1 for host in domain.hosts if not host.out_of_service)
        for domain in seen.snapshot.domains
    }
    there = Counter((new.pool, new.place.domain) for new in choice.create)
    there += Counter((one.spec.pool, one.spec.failure_domain.name) for one in choice.keep)
    return [
        f"{count} machines of {pool or 'the control plane'} share {hosts[domain]} hosts in {domain}"
        for (pool, domain), count in sorted(
            there.items(), key=lambda one: (one[0][0] or "", one[0][1])
        )
        if domain in hosts and count > hosts[domain]
    ]


def _quorum(subject: "Subject") -> list[PlanCheck]:
    """Say whether etcd would survive the loss of a host."""
    lost = sum(1 for machine in subject.lost if machine.spec.pool is None)
    left = sum(1 for machine in subject.machines if machine.spec.pool is None)
    if not subject.lost:
        return []
    wrong = ""
    if lost and left <= lost:
        wrong = (
            f"{lost} of {lost + left} control-plane machines run on the host: etcd has no majority "
            "without it, and the cluster's API would be away until the host, or its VMs, are back"
        )
    return [_check("Quorum", wrong, blocking=False)]

"""What is looked at before machines are made: places, room, addresses, privileges, clocks, quorum.

For plans, and for the check of an account.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from moorage.controllers.gateway.accounts.clock import clock_disagreement
from moorage.controllers.gateway.accounts.privileges import missing_privileges
from moorage.controllers.gateway.clusters.choosing import Survey, choose_now
from moorage.controllers.gateway.clusters.endpoint import address_shortage
from moorage.controllers.gateway.env import Env
from moorage.controllers.gateway.placement.place import vcenter_of
from moorage.controllers.gateway.placement.resolved import placement_faults
from moorage.controllers.gateway.plans.subject import Subject, see
from moorage.kit.errors import FieldFault, ForbiddenError, TerminalError
from moorage.planning import Choice, PoolAddresses
from moorage.resources import IPPool
from moorage.resources.check import Check


@dataclass(frozen=True, slots=True)
class Looked:
    """A cluster and its estate, and what would be chosen."""

    seen: Survey
    choice: Choice
    addresses: list[PoolAddresses]
    short_of_addresses: str
    """Why a cluster that has no endpoint yet would not be begun, if its IP pools are too small."""


async def look(subject: Subject, env: Env) -> tuple[Looked | None, list[Check]]:
    """See where machines would go, with the checks of places and template.

    ``None`` where nobody can tell: a check says why. Raises ``UnavailableError``.
    """
    cluster = subject.cluster
    try:
        faults = await placement_faults(cluster, vcenter_of(cluster.spec.account, env))
    except ForbiddenError as error:  # what is missing, the check of privileges says
        return None, [_check("Placement", str(error))]
    checks = place_checks(faults)
    if faults:
        return None, checks
    try:
        seen = await see(subject, env)
        choice, addresses = await choose_now(cluster, seen, env)
        short = await _shortage(subject, env)
    except (TerminalError, ForbiddenError) as error:
        reason = error.reason if isinstance(error, TerminalError) else "Forbidden"
        return None, [*checks, _check(reason, str(error))]
    return Looked(seen, choice, addresses, short), checks


async def _shortage(subject: Subject, env: Env) -> str:
    if subject.cluster.status.endpoint is not None:
        return ""
    known = {pool.metadata.name: pool for pool in await env.store.list(IPPool)}
    return await address_shortage(subject.cluster, subject.pools, known, env) or ""


def place_checks(faults: Sequence[FieldFault]) -> list[Check]:
    """Return the checks of places (there, and reached by the same hosts) and of the template."""
    of_template = [one for one in faults if one.path.rpartition(".")[2] == "template"]
    of_places = [one for one in faults if one not in of_template]
    return [
        _check("Placement", "; ".join(f"{one.path}: {one.message}" for one in of_places)),
        _check("Template", "; ".join(one.message for one in of_template)),
    ]


def room_checks(subject: Subject, looked: Looked, homeless: Sequence[str] = ()) -> list[Check]:
    """Return the checks of hosts, datastores and addresses.

    Args:
        subject: What is proposed.
        looked: What would become of it.
        homeless: Which of the machines that stay cannot be anywhere, and why.
    """
    choice = looked.choice
    return [
        _check("Room", "; ".join([*_short(choice), *homeless])),
        _check("Addresses", choice.no_endpoint),
        _check("AddressHeadRoom", looked.short_of_addresses)
        if looked.short_of_addresses
        else _surge_room(choice, looked.addresses),
        _check("HostsApart", "; ".join(_sharing(looked.seen, choice)), blocking=False),
        *_quorum(subject),
    ]


async def account_checks(account: str, env: Env) -> list[Check]:
    """Return the checks of the account itself: may it write, and do the clocks agree."""
    read_only = vcenter_of(account, env).health.is_read_only
    skewed = await clock_disagreement(account, env)
    return [
        _check("AccountWrites", f"account {account} is read-only" if read_only else ""),
        _check("Clock", skewed or ""),
    ]


def _check(name: str, wrong: str, *, blocking: bool = True) -> Check:
    return Check(name=name, ok=not wrong, message=wrong, blocking=blocking)


def _short(choice: Choice) -> list[str]:
    return [f"{short.pool or 'control plane'}: {short}" for short in choice.shortages]


def _surge_room(choice: Choice, pools: Sequence[PoolAddresses]) -> Check:
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


async def privileges_of(subject: Subject, env: Env) -> Check:
    """Return the check of the account's privileges on all places of a cluster; one call.

    Raises ``UnavailableError`` while vCenter cannot answer.
    """
    return _check(
        "Privileges",
        await missing_privileges(subject.cluster, [one.spec for one in subject.pools], env),
    )


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


def _quorum(subject: Subject) -> list[Check]:
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

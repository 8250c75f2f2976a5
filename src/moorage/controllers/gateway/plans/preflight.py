"""The check of an account beside its privileges: places, template, room, addresses, clocks."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from moorage.controllers.gateway.accounts.privileges import target_of
from moorage.controllers.gateway.env import Env
from moorage.controllers.gateway.placement.place import vcenter_of
from moorage.controllers.gateway.plans.checks import (
    account_checks,
    look,
    place_checks,
    room_checks,
)
from moorage.controllers.gateway.plans.subject import Subject, subject_of
from moorage.kit.errors import ForbiddenError, InvalidError, NotFoundError
from moorage.planning import Refusal, Slot, solve
from moorage.resources import Cluster, Metadata, NodePool
from moorage.resources.check import Check
from moorage.resources.nodepool import document_of_pool
from moorage.resources.permission import CheckArguments, CheckedCluster, CheckTarget
from moorage.vsphere import copied_bytes, unfit

_ONE_MACHINE_MIB = 4096
"""What shall fit where no cluster says what it asks for."""


async def preflight(account: str, project: str, asked: CheckArguments, env: Env) -> list[Check]:
    """Look at everything that machines need beside privileges; what is wrong, all at once.

    Raises ``InvalidError`` for a cluster of another account, ``NotFoundError`` for one that is to
    be taken as it is and is not there, and ``UnavailableError`` while vCenter cannot answer.
    """
    found = await account_checks(account, env)
    for one in asked.clusters:
        subject = await _subject(account, project, one, env)
        looked, checks = await look(subject, env)
        if looked is not None:
            checks += room_checks(subject, looked)
        found += [_of(f"cluster {one.name}", check) for check in checks]
    if not asked.clusters:
        found += [
            _of(t.compute_cluster, c) for t in asked.targets for c in await _spot(account, t, env)
        ]
    return _together(found)


async def _subject(account: str, project: str, asked: CheckedCluster, env: Env) -> Subject:
    before = await env.store.find(Cluster, project, asked.name)
    proposed, pools = asked.proposed, asked.node_pools
    if proposed is None:
        if before is None:
            raise NotFoundError(f"there is no cluster {asked.name} at this gateway")
        there = await env.store.list(NodePool, owner=before.metadata.uid)
        proposed, pools = before.spec, [document_of_pool(one) for one in there]
    if proposed.account != account:
        raise InvalidError(f"cluster {asked.name} uses account {proposed.account}, not {account}")
    new = Metadata(name=asked.name, project=project, route=env.gateway)
    return await subject_of(before, proposed, pools, new, env)


async def _spot(account: str, asked: CheckTarget, env: Env) -> list[Check]:
    """Return the checks of one target: is there room for a machine of the template?"""
    vcenter = vcenter_of(account, env)
    named = replace(target_of(asked), path="")
    try:
        each = await vcenter.estate.each_datastore(named)
        resolved = [await vcenter.resolve(one) for one in each]
    except InvalidError as error:
        return place_checks(error.faults)
    except ForbiddenError as error:
        return [Check(name="Placement", ok=False, message=str(error))]
    why = unfit(resolved[0].template, None, vcenter.api_version or "")
    (domain,) = await vcenter.estate.domains({asked.compute_cluster: resolved})
    sizes = {one.datastore: copied_bytes(one, "auto", None, replicas=True) for one in resolved}
    (answer,) = solve([Slot("", _ONE_MACHINE_MIB, sizes, (domain.name,))], [domain])
    lacking = "; ".join(answer.reasons) if isinstance(answer, Refusal) else ""
    return [
        Check(name="Placement", ok=True),
        Check(name="Template", ok=not why, message="; ".join(why)),
        Check(name="Room", ok=not lacking, message=lacking),
    ]


def _of(what: str, check: Check) -> Check:
    said = f"{what}: {check.message}" if check.message else ""
    return check.model_copy(update={"message": said})


def _together(checks: Iterable[Check]) -> list[Check]:
    """Return one check of each name, with all that is wrong."""
    by_name: dict[str, list[Check]] = {}
    for one in checks:
        by_name.setdefault(one.name, []).append(one)
    return [_sum(several) for several in by_name.values()]


def _sum(several: Sequence[Check]) -> Check:
    failed = [one for one in several if not one.ok]
    return Check(
        name=several[0].name,
        ok=not failed,
        message="; ".join(dict.fromkeys(one.message for one in failed)),
        blocking=any(one.blocking for one in several),
    )

"""May the account do what its clusters need? Asked once for each change of either."""

import hashlib
import json
from collections.abc import Iterable, Sequence
from typing import Literal

from moorage.controllers.gateway.accounts.opened import opened
from moorage.controllers.gateway.env import Env
from moorage.controllers.gateway.placement.place import vcenter_of
from moorage.engine import DONE, Outcome, step
from moorage.kit.errors import MoorageError, UnavailableError
from moorage.permissions import wanted_features
from moorage.resources import CloudAccount, Cluster
from moorage.resources.account import CheckedPrivileges
from moorage.resources.permission import CheckResult, CheckTarget, Finding, FindingState
from moorage.resources.size import MachineSize
from moorage.vsphere import Target

PRIVILEGES_SUFFICIENT = "PrivilegesSufficient"
"""Condition of an account: whether it may do what its clusters need, with what is missing."""
_SHOWN = 10
_Status = Literal["True", "False", "Unknown"]
_PAGE = 200


def target_of(asked: CheckTarget) -> Target:
    """Return what to look up in vCenter."""
    given = asked.model_dump(exclude={"folder_per_cluster", "datastore"})
    return Target(**given, datastore=asked.datastore or "")


@step("PrivilegesChecked")
async def ensure_privileges_checked(account: CloudAccount, env: Env) -> Outcome:
    """Ask for the privileges on all places that the account's clusters name.

    What is missing is said in a condition and holds nothing up: each operation that lacks a
    privilege says so itself, and all others go on.
    """
    before, login = account.status.privileges_checked, account.status.login
    credentials = login.credentials if login is not None else ""
    clusters = _digest(sorted(env.index.clusters))
    if before is not None and (before.credentials, before.clusters) == (credentials, clusters):
        return DONE
    targets = await _targets(account, env)
    now = CheckedPrivileges(
        credentials=credentials,
        clusters=clusters,
        places=_digest([one.document() for one in targets]),
    )
    is_news = before is None or (before.credentials, before.places) != (credentials, now.places)
    if targets and is_news:
        vcenter = opened(account, env)
        try:
            result = await vcenter.access.check(
                [target_of(one) for one in targets], wanted_features(targets)
            )
        except UnavailableError:
            raise  # nothing else of the account works either
        except MoorageError as error:
            _say(account, env, "Unknown", "NotAnswered", f"{error}. Asked again in five minutes")
            return DONE
        _say_result(account, env, result)
    elif not targets and account.status.condition(PRIVILEGES_SUFFICIENT) is not None:
        _say(account, env, "Unknown", "NoClusters", "no cluster uses the account any more")
    account.status.privileges_checked = now
    return DONE


async def missing_privileges(cluster: Cluster, pools: Iterable[MachineSize], env: Env) -> str:
    """Say what the account lacks on the places of a cluster, in one call; ``""`` for nothing.

    Those that the extra disks of its pools name are among them.

    Raises ``UnavailableError`` while vCenter cannot answer.
    """
    vcenter = vcenter_of(cluster.spec.account, env)
    targets = CheckTarget.of_cluster(cluster, pools)
    result = await vcenter.access.check(
        [target_of(one) for one in targets], wanted_features(targets)
    )
    lacking = result.needed()
    return f"missing: {_lines(lacking)}" if lacking else ""


async def _targets(account: CloudAccount, env: Env) -> list[CheckTarget]:
    """Return all different places that the account's clusters use, in a fixed order."""
    found: dict[str, CheckTarget] = {}
    after: tuple[str, str] | None = None
    while page := await env.store.list(Cluster, limit=_PAGE, after=after):
        after = page[-1].key
        for cluster in page:
            if cluster.spec.account == account.metadata.name:
                places = CheckTarget.of_cluster(cluster)
                found |= {json.dumps(one.document(), sort_keys=True): one for one in places}
    return [found[key] for key in sorted(found)]


def _digest(what: Sequence[object]) -> str:
    return hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()


def _say_result(account: CloudAccount, env: Env, result: CheckResult) -> None:
    findings = result.needed()
    states = {finding.state for finding in findings}
    if not states:
        _say(account, env, "True", "Done", "")
    elif FindingState.MISSING in states:
        _say(account, env, "False", "PrivilegesMissing", _listed(account, findings))
    else:
        _say(account, env, "Unknown", "ObjectsNotSeen", _listed(account, findings))


def _lines(findings: Sequence[Finding]) -> str:
    lines = [
        f"{one.privilege} on {one.kind} {one.object}"
        if one.state is FindingState.MISSING
        else f"{one.kind} {one.object} is not seen"
        for one in findings[:_SHOWN]
    ]
    more = f" and {len(findings) - _SHOWN} more" if len(findings) > _SHOWN else ""
    return f"{'; '.join(lines)}{more}"


def _listed(account: CloudAccount, findings: list[Finding]) -> str:
    return (
        f"{_lines(findings)}. `moorage accounts check {account.metadata.name}` says what "
        "needs it, `moorage accounts roles` writes the roles"
    )


def _say(account: CloudAccount, env: Env, status: _Status, reason: str, message: str) -> None:
    account.status.set_condition(
        PRIVILEGES_SUFFICIENT,
        status,
        reason,
        message,
        now=env.clock.now(),
        generation=account.metadata.generation,
    )

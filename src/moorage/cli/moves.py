"""Clusters that change gateways: ``clusters move``, ``gateways declare-dead``, ``recover``."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from moorage.cli.say import examples, say
from moorage.kit.errors import ForbiddenError, InvalidError

if TYPE_CHECKING:
    from collections.abc import Collection

    from moorage.cli.context import Context
    from moorage.client import Api
    from moorage.kit.seal import PrivateSealingKey
    from moorage.resources.meta import Document

RecoveryKey = Annotated[Path | None, Parameter(name="--recovery-key")]

_TIMEOUT_S = 600.0
_LOOK_S = 0.5
_EXIT_TIMED_OUT = 3

MOVE_EXAMPLES = examples(
    "moorage clusters move web --to site-b --recovery-key recovery.pem --wait",
    "moorage clusters move web --to site-b --with-users --recovery-key recovery.pem",
    "moorage clusters move web --cancel",
)


async def move(
    name: str,
    *,
    to: str | None = None,
    recovery_key: RecoveryKey = None,
    with_users: bool = False,
    cancel: bool = False,
    dry_run: bool = False,
    wait: bool = False,
    timeout_s: float = _TIMEOUT_S,
) -> int:
    """Move a cluster to another gateway; its nodes run on meanwhile.

    Its cloud account and its IP pools go along, and with them every other cluster that uses
    one of these. The old gateway stops first, then the new one goes on.

    Args:
        name: Name of the cluster.
        to: Name of the new gateway.
        recovery_key: The installation's recovery key: with it keys and password are sealed to the
            new gateway, here. Without it, `moorage gateways recover` has to follow.
        with_users: Take along the clusters that share an account or an IP pool.
        cancel: Let the old gateway go on, as long as the new one has not taken over.
        dry_run: Only say what would move.
        wait: Stay until the new gateway has taken over and all nodes are Ready.
        timeout_s: How long to stay, in seconds; the exit code is then 3.
    """
    from moorage.cli.context import Context
    from moorage.cli.live import follow_cluster

    if (to is None) != cancel:
        raise InvalidError("give either --to GATEWAY or --cancel")
    context = Context.current()
    async with context.api() as api:
        if to is None:
            await api.cancel_move(context.project, name)
            say(f"cluster {name} stays where it is")
            return 0
        group = await api.move(context.project, name, to, with_users=with_users, dry_run=True)
        _show(group)
        if dry_run:
            return 0
        if recovery_key is not None:
            key = read_recovery_key(context, recovery_key)
            await _reseal(api, context, key, str(group["fromGateway"]), to, group)
        else:
            _say_recover(to)
        await api.move(context.project, name, to, with_users=with_users)
        say(f"cluster {name} moves to gateway {to}")
        if not wait:
            return 0
        end = time.monotonic() + timeout_s
        if not await _taken_over(api, context, name, to, end):
            return _EXIT_TIMED_OUT
        left = max(0.0, end - time.monotonic())
        return await follow_cluster(api, name, project=context.project, timeout_s=left)


DECLARE_DEAD_EXAMPLES = examples(
    "moorage gateways declare-dead site-a --successor site-b --recovery-key recovery.pem"
)


async def declare_dead(
    name: str, *, successor: str, recovery_key: RecoveryKey = None, yes: bool = False
) -> None:
    """Give all that a lost gateway had to another one, without waiting for it.

    Only for a gateway that is gone for good: what it made and could not tell the hub any more is
    shown by its successor and has to be looked at by hand. If it comes back, it reads in vCenter
    that it was replaced, and stops.

    Args:
        name: Name of the lost gateway.
        successor: Gateway that takes over; it must reach the same vCenters.
        recovery_key: The installation's recovery key: with it keys and passwords are sealed to
            the successor, here. Without it, `moorage gateways recover` has to follow.
        yes: Do not ask for the name again.
    """
    from moorage.cli.ask import confirm_name
    from moorage.cli.context import Context

    context = Context.current()
    async with context.api() as api:
        group = await api.declare_dead(name, successor, dry_run=True)
        _show(group)
        if not yes:
            confirm_name("gateway", name, f"for {successor}", does="gives up")
        if recovery_key is not None:
            key = read_recovery_key(context, recovery_key)
            await _reseal(api, context, key, name, successor, group)
        else:
            _say_recover(successor)
        await api.declare_dead(name, successor)
    say(f"gateway {name} is declared dead: gateway {successor} takes over", "strong")


RECOVER_EXAMPLES = examples("moorage gateways recover site-a --recovery-key recovery.pem")


async def recover(
    name: str, *, recovery_key: Annotated[Path, Parameter(name="--recovery-key")]
) -> None:
    """Seal to a gateway what it cannot open: after it was enrolled anew, or took clusters over.

    The recovery key stays here, and so does what it opens: the hub gets sealed envelopes.

    Args:
        name: Name of the gateway.
        recovery_key: File with the installation's recovery key.
    """
    from moorage.cli.context import Context

    context = Context.current()
    key = read_recovery_key(context, recovery_key)
    async with context.api() as api:
        clusters, secrets = await _reseal(api, context, key, name, name, None)
    if clusters or secrets:
        say(f"gateway {name} can open the keys of {clusters} clusters and {secrets} passwords")
    else:
        say(f"gateway {name} can open everything already")


def read_recovery_key(context: "Context", file: Path) -> "PrivateSealingKey":
    """Read the recovery key; raises ``ForbiddenError`` when it is another installation's."""
    from moorage.kit.seal import PrivateSealingKey, PublicSealingKey

    try:
        text = file.read_text(encoding="ascii")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidError(f"the recovery key cannot be read from {file}: {error}") from error
    key = PrivateSealingKey.from_pem(text)
    pinned = context.hub.recovery_key
    if pinned is not None and PublicSealingKey.from_pem(pinned).key_id != key.public().key_id:
        raise ForbiddenError(f"{file} holds a recovery key, but not that of {context.hub.server}")
    return key


async def _reseal(
    api: "Api",
    context: "Context",
    key: "PrivateSealingKey",
    from_: str,
    to: str,
    group: "Document | None",
) -> tuple[int, int]:
    """Add a gateway to the recipients of what is sealed to another; return how many of each."""
    from moorage.cli.sealing import trusted_sealing_key
    from moorage.kit.seal import SealedEnvelope
    from moorage.resources import CloudAccount, Gateway

    recipient = trusted_sealing_key(context, await api.get(Gateway, to))
    accounts: Collection[str] | None = group and group["accounts"]
    wanted = None
    if accounts is not None:
        wanted = {(await api.get(CloudAccount, one)).spec.secret for one in accounts}
    sealed = await api.sealed(from_)
    shared: dict[str, list[Document]] = {"keys": [], "secrets": []}
    for kind, one in [(of, one) for of in shared for one in sealed[of]]:
        envelope = SealedEnvelope.model_validate(one["sealed"])
        if recipient.key_id in {wrapped.recipient for wrapped in envelope.keys}:
            continue
        if kind == "secrets" and wanted is not None and one["name"] not in wanted:
            continue
        if kind == "keys" and group and f"{one['project']}/{one['name']}" not in group["clusters"]:
            continue
        try:
            again = key.share(envelope, recipient)
        except ForbiddenError as error:
            what = "password" if kind == "secrets" else "keys of cluster"
            say(f"{what} {one['name']}: not sealed to this recovery key ({error})", "warning")
            continue
        shared[kind].append({**one, "sealed": again.model_dump(mode="json", by_alias=True)})
    if shared["keys"] or shared["secrets"]:
        await api.put_resealed(to, shared)
    return len(shared["keys"]), len(shared["secrets"])


async def _taken_over(api: "Api", context: "Context", name: str, to: str, end: float) -> bool:
    import anyio

    from moorage.resources import Assignment, Cluster
    from moorage.resources.gateway import assignment_name

    uid = (await api.get(Cluster, name, project=context.project)).metadata.uid
    while time.monotonic() < end:
        found = await api.get(Assignment, assignment_name(Cluster.kind_name(), uid))
        spec, status = found.spec, found.status
        if spec.gateway == to and status.acknowledged_epoch >= spec.epoch:
            return True
        await anyio.sleep(_LOOK_S)
    say(f"gateway {to} has not taken {name} over yet: it goes on without this command", "warning")
    return False


def _show(group: "Document") -> None:
    say(f"from gateway {group['fromGateway']} to gateway {group['gateway']}:", "strong")
    for what in ("clusters", "ipPools", "accounts"):
        say(f"  {what}: {', '.join(group[what]) or 'none'}")


def _say_recover(gateway: str) -> None:
    say(
        f"gateway {gateway} cannot open keys and passwords until whoever has the recovery key runs "
        f"`moorage gateways recover {gateway} --recovery-key FILE`",
        "warning",
    )

"""Sealing a password on the user's machine: the hub never sees it (design, 3.9)."""

from moorage.cli.context import Context
from moorage.cli.say import say
from moorage.kit.errors import ForbiddenError, UnavailableError
from moorage.kit.identity import PublicIdentity, sealing_key_statement
from moorage.kit.seal import PublicSealingKey, SealedEnvelope, seal
from moorage.resources import Gateway
from moorage.resources.account import CloudAccountSpec, credential_context


def trusted_sealing_key(context: Context, gateway: Gateway) -> PublicSealingKey:
    """Return the gateway's sealing key, after checking it against the pinned fingerprint.

    The first use pins the fingerprint and says so; a later change is refused.
    """
    status, name = gateway.status, gateway.metadata.name
    if not (status.public_key and status.sealing_key and status.sealing_key_signature):
        raise UnavailableError(
            f"gateway {name} has not enrolled yet: run the command that `moorage gateways token "
            f"{name}` prints beside vCenter"
        )
    identity = PublicIdentity.from_pem(status.public_key)
    pinned = context.hub.gateways.get(name)
    if pinned is not None and pinned != identity.fingerprint:
        raise ForbiddenError(
            f"gateway {name} now has the fingerprint {identity.fingerprint}, but {pinned} is "
            f"pinned here. If it was enrolled anew, compare with `moorage-gateway fingerprint` "
            f"beside vCenter and run `moorage gateways trust {name}`"
        )
    key = PublicSealingKey.from_pem(status.sealing_key)
    identity.verify(status.sealing_key_signature, sealing_key_statement(name, key.key_id))
    if pinned is None:
        context.hub.gateways[name] = identity.fingerprint
        context.remember(context.hub)
        say(
            f"pinned gateway {name}: {identity.fingerprint}\n"
            "  compare it with `moorage-gateway fingerprint` beside vCenter",
            "warning",
        )
    return key


def seal_password(
    context: Context, gateway: Gateway, name: str, spec: CloudAccountSpec, password: str
) -> SealedEnvelope:
    """Seal an account's password to its gateway and the recovery key."""
    recipients = [trusted_sealing_key(context, gateway)]
    if context.hub.recovery_key:
        recipients.append(PublicSealingKey.from_pem(context.hub.recovery_key))
    return seal(
        password.encode(),
        recipients,
        credential_context(context.hub.installation, name, spec),
    )

"""Rules of the hub-wide kinds: gateways, accounts, secrets, IP pools."""

from collections.abc import Iterator

from moorage.hub.admission.estate import Estate
from moorage.kit.errors import FieldFault, InvalidError
from moorage.kit.seal import PublicSealingKey
from moorage.resources import CloudAccount, IPPool, Secret, Template
from moorage.resources.spans import overlap, show


def account_faults(
    account: CloudAccount, estate: Estate, *, before: CloudAccount | None = None
) -> list[FieldFault]:
    """Return every fault of a cloud account about to be stored.

    Its secret may come later: until then the gateway says that it waits for it.
    """
    spec = account.spec
    faults = list(_gateway(spec.gateway, estate))
    secret = estate.secrets.get(spec.secret)
    if secret is not None and secret.spec.gateway != spec.gateway:
        faults.append(
            FieldFault(
                "spec.secret",
                f"secret {spec.secret} is sealed to gateway {secret.spec.gateway}, not to "
                f"{spec.gateway}: seal it again",
            )
        )
    if before is not None:
        faults += _account_changes(before, account, estate)
    return faults


def secret_faults(
    secret: Secret, estate: Estate, *, before: Secret | None = None
) -> list[FieldFault]:
    """Return every fault of a sealed secret: can those open it who must?"""
    spec = secret.spec
    faults = list(_gateway(spec.gateway, estate))
    if before is not None and before.spec.gateway != spec.gateway:
        faults.append(FieldFault("spec.gateway", f"is fixed (it is {before.spec.gateway})"))
    if not spec.sealed.ciphertext or not all(key.wrapped for key in spec.sealed.keys):
        faults.append(
            FieldFault("spec.sealed", "is empty: a secret is never shown, so seal it again")
        )
    recipients = {key.recipient for key in spec.sealed.keys}
    gateway = estate.gateways.get(spec.gateway)
    if gateway is not None and gateway.status.sealing_key is None:
        faults.append(
            FieldFault("spec.gateway", f"gateway {spec.gateway} has not enrolled: it has no key")
        )
    elif gateway is not None and gateway.status.sealing_key is not None:
        key_id = PublicSealingKey.from_pem(gateway.status.sealing_key).key_id
        if key_id not in recipients:
            faults.append(
                FieldFault(
                    "spec.sealed.keys",
                    f"the secret is not sealed to the key of gateway {spec.gateway}: seal it again",
                )
            )
    if estate.recovery_key_id is not None and estate.recovery_key_id not in recipients:
        faults.append(
            FieldFault(
                "spec.sealed.keys",
                "the secret is not sealed to the installation's recovery key: seal it again",
            )
        )
    return faults


def template_faults(
    template: Template, estate: Estate, *, before: Template | None = None
) -> list[FieldFault]:
    """Return every fault of a template that is asked for: what was made of it is fixed."""
    spec = template.spec
    faults = []
    if spec.account not in estate.accounts:
        known = ", ".join(sorted(estate.accounts)) or "none"
        why = f"there is no cloud account {spec.account} (there are: {known})"
        faults.append(FieldFault("spec.account", why))
    if before is not None:
        old, new = before.spec.document(), spec.document()
        faults += [
            FieldFault(f"spec.{name}", f"is fixed (it is {old.get(name)}): make another template")
            for name in sorted({*old, *new} - {"prefetch"})
            if old.get(name) != new.get(name)
        ]
    return faults


def ip_pool_faults(
    pool: IPPool, estate: Estate, *, before: IPPool | None = None
) -> list[FieldFault]:
    """Return every fault of an IP pool: overlaps, and what is in use must stay."""
    spec, name = pool.spec, pool.metadata.name
    faults = list(_gateway(spec.gateway, estate))
    spans, path = spec.spans(), spec.path
    for other in estate.ip_pools.values():
        if other.metadata.name == name or other.spec.gateway != spec.gateway:
            continue
        if other.spec.version != spec.version:
            continue
        if both := overlap(spans, other.spec.spans()):
            faults.append(
                FieldFault(
                    path,
                    f"{show(both, spec.version)} overlaps IP pool {other.metadata.name} "
                    f"({other.spec.shown()}) of the same gateway",
                )
            )
    users = estate.tally.users_of_pool(name) if spec.restrict_to_single_cluster else set()
    if len(users) > 1:
        faults.append(
            FieldFault(
                "spec.restrictToSingleCluster",
                f"the pool already serves {', '.join(sorted(users))}",
            )
        )
    if not spec.usable():
        faults.append(FieldFault(path, "no address is left once router and exclusions are out"))
    if before is not None:
        faults += _ip_pool_changes(before, pool, estate, path)
    return faults


def gateway_users(gateway: str, estate: Estate) -> list[str]:
    """Return what would be left without its gateway, in words."""
    named = [
        *(f"cluster {key}" for key in estate.tally.clusters_of(gateway)),
        *(str(a) for a in estate.accounts.values() if a.spec.gateway == gateway),
        *(str(s) for s in estate.secrets.values() if s.spec.gateway == gateway),
        *(str(p) for p in estate.ip_pools.values() if p.spec.gateway == gateway),
    ]
    return sorted(named)


def _gateway(name: str, estate: Estate) -> Iterator[FieldFault]:
    if name not in estate.gateways:
        known = ", ".join(sorted(estate.gateways)) or "none"
        yield FieldFault("spec.gateway", f"there is no gateway {name} (there are: {known})")


def _account_changes(
    before: CloudAccount, after: CloudAccount, estate: Estate
) -> Iterator[FieldFault]:
    if before.spec.gateway != after.spec.gateway:
        yield FieldFault(
            "spec.gateway", f"is fixed (it is {before.spec.gateway}): make another account"
        )
    users = estate.tally.users_of_account(after.metadata.name)
    if users and before.spec.server != after.spec.server:
        yield FieldFault(
            "spec.server",
            f"is fixed while clusters use the account, their machines would seem lost: "
            f"{', '.join(users)} (it is {before.spec.server})",
        )


def _ip_pool_changes(
    before: IPPool, after: IPPool, estate: Estate, path: str
) -> Iterator[FieldFault]:
    if before.spec.gateway != after.spec.gateway:
        yield FieldFault("spec.gateway", f"is fixed (it is {before.spec.gateway})")
    claims = list(estate.tally.claims(after.metadata.name))
    if not claims:
        return
    lost = sorted((one.address for one in claims if not after.spec.may_give(one.address)), key=int)
    if lost:
        shown = ", ".join(str(address) for address in lost[:5])
        yield FieldFault(path, f"{len(lost)} addresses in use would be left out: {shown}")
    if before.spec.network != after.spec.network:
        yield FieldFault(path, f"{before.spec.network} is in use by {len(claims)} addresses")
    if before.spec.router != after.spec.router:
        yield FieldFault("spec.router", f"machines in use have it (it is {before.spec.router})")


def sealing_key_id(pem: str) -> str:
    """Return the ``key_id`` of a public sealing key; raises ``InvalidError`` with its field."""
    try:
        return PublicSealingKey.from_pem(pem).key_id
    except InvalidError as error:
        raise InvalidError(
            "the key is not usable", (FieldFault("publicKey", str(error)),)
        ) from error

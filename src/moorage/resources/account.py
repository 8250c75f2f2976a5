"""CloudAccount and Secret: how a gateway logs in to a vCenter, and the sealed password."""

import hashlib
import json
import re
from typing import Annotated, ClassVar, Literal, Self

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from moorage.kit.seal import SealedEnvelope
from moorage.resources.estate import EstateCapacity
from moorage.resources.meta import Model, Name, Ownership, Resource, Scope, Spec, Status

_THUMBPRINT = re.compile(r"^[0-9A-F]{2}(:[0-9A-F]{2}){31}$")


def _check_server(text: str) -> str:
    if "://" in text or "/" in text:
        raise ValueError(
            f"{text!r}: give host or host:port without scheme or path, such as vcenter.example.com"
        )
    if not re.fullmatch(r"([A-Za-z0-9.-]+|\[[0-9a-fA-F:]+\])(:\d{1,5})?", text):
        raise ValueError(f"{text!r} is not a host name or address, with an optional :port")
    return text.lower()


TagCategory = Annotated[str, StringConstraints(min_length=1, max_length=256)]


class Trust(Model):
    """How vCenter's certificate is verified. With nothing set: the system's trust store."""

    ca_bundle: Annotated[str | None, StringConstraints(pattern=r"-----BEGIN CERTIFICATE-----")] = (
        None
    )
    """PEM certificates that vCenter's certificate must chain to."""
    sha256: Annotated[str | None, StringConstraints(to_upper=True)] = None
    """Fingerprint of vCenter's own certificate: 32 bytes, ``AB:CD:…``."""
    insecure: bool = False
    """Verify nothing. Anyone on the way can then read the password."""

    @model_validator(mode="after")
    def _one_way_only(self) -> Self:
        given = [self.ca_bundle is not None, self.sha256 is not None, self.insecure]
        if sum(given) > 1:
            raise ValueError("give only one of caBundle, sha256 and insecure")
        if self.sha256 is not None and not _THUMBPRINT.match(self.sha256):
            raise ValueError("sha256 must be 32 bytes in hexadecimal, separated by colons")
        return self


class CloudAccountSpec(Spec):
    """A user of one vCenter, worked with by one gateway."""

    gateway: Name
    """Gateway that talks to this vCenter; immutable while clusters use the account."""
    server: Annotated[str, AfterValidator(_check_server)]
    """``host`` or ``host:port`` of vCenter."""
    username: Annotated[str, StringConstraints(min_length=1, max_length=256)]
    trust: Trust = Field(default_factory=Trust)
    secret: Name
    """Secret that holds the sealed password."""
    read_only: bool = False
    """Change nothing in this vCenter: what would waits with ``AccountReadOnly``. Inventory, checks
    and status go on."""
    region_category: TagCategory = "k8s-region"
    """Category of the vSphere tags that name regions, on datacenters for example."""
    zone_category: TagCategory = "k8s-zone"
    """Category of the vSphere tags that name zones, on compute clusters for example."""


class TriedLogin(Model):
    """What came of a login, so that no replica, now or later, tries a refused one again."""

    credentials: str
    """SHA-256 over address, user, trust and sealed password: tells whether they have changed."""
    accepted: bool
    message: str = ""
    """What vCenter said to a refused one."""


class CheckedPrivileges(Model):
    """What privileges were last asked for, so that vCenter is asked once for each change.

    All are SHA-256.
    """

    credentials: str
    """As in ``TriedLogin``."""
    clusters: str
    """Over the UIDs of the gateway's clusters: when they differ, their places are read again."""
    places: str
    """Over all different places that the account's clusters name."""


class CloudAccountStatus(Status):
    """What the gateway last saw of the vCenter."""

    api_version: str | None = None
    product: str | None = None
    instance_uuid: str | None = None
    certificate: str | None = None
    """SHA-256 of the certificate that vCenter showed when it was last accepted: ``AB:CD:…``."""
    login: TriedLogin | None = None
    """The last login that vCenter accepted or refused."""
    privileges_checked: CheckedPrivileges | None = None
    """For what it was last asked whether the account's privileges suffice."""
    templates: list[str] = Field(default_factory=list)
    """Inventory paths of the templates that the account can read (200 at most)."""
    capacity: EstateCapacity | None = None
    """What hosts and datastores held when somebody last asked (operation ``estate``)."""


class CloudAccount(Resource):
    plural: ClassVar[str] = "accounts"
    ownership: ClassVar[Ownership] = Ownership.INTENT
    scope: ClassVar[Scope] = Scope.HUB

    kind: Literal["CloudAccount"] = "CloudAccount"
    spec: CloudAccountSpec
    status: CloudAccountStatus = Field(default_factory=CloudAccountStatus)


class SecretSpec(Spec):
    """A secret sealed by the client to a gateway and to the recovery key. Write-only over REST."""

    gateway: Name
    """Gateway that can open it."""
    sealed: SealedEnvelope


class SecretStatus(Status):
    """Whether the gateway could open it."""


class Secret(Resource):
    plural: ClassVar[str] = "secrets"
    ownership: ClassVar[Ownership] = Ownership.INTENT
    scope: ClassVar[Scope] = Scope.HUB

    kind: Literal["Secret"] = "Secret"
    spec: SecretSpec
    status: SecretStatus = Field(default_factory=SecretStatus)


def credential_context(installation: str, name: str, spec: CloudAccountSpec) -> dict[str, str]:
    """Return what a sealed password is bound to: whoever seals and whoever opens compute it.

    A hub that sends the same envelope with another address, user or trust is refused.
    """
    trust = json.dumps(spec.trust.document(), sort_keys=True, separators=(",", ":"))
    return {
        "installation": installation,
        "kind": "CloudAccount",
        "name": name,
        "server": spec.server,
        "username": spec.username,
        "trust": hashlib.sha256(trust.encode()).hexdigest(),
    }


def credentials_digest(account: CloudAccount, secret: Secret) -> str:
    """Return what ``TriedLogin.credentials`` holds: another one is worth a try."""
    spec = account.spec
    parts = [spec.server, spec.username, spec.trust.document()]
    text = json.dumps([*parts, secret.spec.sealed.model_dump(mode="json")], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()

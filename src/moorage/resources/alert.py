"""AlertChannel and AlertSilence: who is told of alerts, and what nobody is told of for a while."""

import re
from datetime import datetime
from enum import StrEnum
from typing import Annotated, ClassVar, Literal, Self
from urllib.parse import urlsplit

from pydantic import AwareDatetime, Field, StringConstraints, model_validator

from moorage.resources.meta import Name, Ownership, Resource, Scope, Spec, Status


class AlertRule(StrEnum):
    """What alerts are raised for."""

    CLUSTER_UNHEALTHY = "ClusterUnhealthy"
    """A cluster that is not Ready for a while, or for a reason that waiting does not mend."""
    GATEWAY_SILENT = "GatewaySilent"
    """An enrolled gateway that is not connected."""
    POOL_NEARLY_EMPTY = "PoolNearlyEmpty"
    """An IP pool with less than a tenth of its addresses left."""
    ACCOUNT_FAILING = "AccountFailing"
    """A cloud account that is not Ready: password, privileges, certificate, clock."""
    DELETION_HELD = "DeletionHeld"
    """A deletion that the brake of a gateway holds."""
    KEY_ENDING = "KeyEnding"
    """An API key that ends within two weeks."""
    CERTIFICATE_ENDING = "CertificateEnding"
    """The hub's server certificate ends within two weeks."""


_ADDRESS = re.compile(r"[^\s@<>,;:\"()\\\[\]]+@[A-Za-z0-9.-]+")
MailAddress = Annotated[str, StringConstraints(max_length=254, pattern=rf"^{_ADDRESS.pattern}$")]


class AlertChannelSpec(Spec):
    """Where alerts are sent. Either ``url`` or ``mailTo``."""

    url: str | None = Field(default=None, max_length=2048)
    """``https://…`` (or ``http://…``): each alert is posted there as JSON, signed."""
    mail_to: list[MailAddress] = Field(default_factory=list, max_length=50)
    rules: list[AlertRule] = Field(default_factory=list)
    """Only these; empty: all."""
    projects: list[Name] = Field(default_factory=list, max_length=100)
    """Only alerts of these projects; empty: all, and those beside all projects."""
    paused: bool = False

    @model_validator(mode="after")
    def _is_one_way(self) -> Self:
        if (self.url is None) == (not self.mail_to):
            raise ValueError("give either url or mailTo")
        if self.url is not None:
            _check_url(self.url)
        return self


class AlertChannelStatus(Status):
    """Nothing beyond conditions."""


class AlertChannel(Resource):
    plural: ClassVar[str] = "alertchannels"
    ownership: ClassVar[Ownership] = Ownership.HUB
    scope: ClassVar[Scope] = Scope.HUB

    kind: Literal["AlertChannel"] = "AlertChannel"
    spec: AlertChannelSpec
    status: AlertChannelStatus = Field(default_factory=AlertChannelStatus)


class AlertSilenceSpec(Spec):
    """Alerts that fulfil all parts are not sent until then; they are still listed."""

    until: AwareDatetime
    reason: str = Field(min_length=1, max_length=1024)
    rule: AlertRule | None = None
    object_kind: str | None = Field(default=None, pattern=r"^[A-Z][A-Za-z]{1,62}$")
    """Such as ``Cluster``."""
    project: Name | None = None
    object_name: str | None = Field(default=None, max_length=253)

    def covers(self, now: datetime, *, rule: str, kind: str, project: str, name: str) -> bool:
        """Tell whether an alert is silenced now."""
        asked = (
            (self.rule, rule),
            (self.object_kind, kind),
            (self.project, project),
            (self.object_name, name),
        )
        return now < self.until and all(want in (None, have) for want, have in asked)


class AlertSilenceStatus(Status):
    """Nothing beyond conditions."""


class AlertSilence(Resource):
    plural: ClassVar[str] = "alertsilences"
    ownership: ClassVar[Ownership] = Ownership.HUB
    scope: ClassVar[Scope] = Scope.HUB

    kind: Literal["AlertSilence"] = "AlertSilence"
    spec: AlertSilenceSpec
    status: AlertSilenceStatus = Field(default_factory=AlertSilenceStatus)


def _check_url(url: str) -> None:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise ValueError(f"url cannot be read: {error}") from error
    if parts.scheme not in ("http", "https") or not parts.hostname or port == 0:
        raise ValueError("url must be https://HOST… or http://HOST…")
    if parts.username is not None or parts.password is not None or parts.fragment:
        raise ValueError("url may have no user, password or fragment")
    if not url.isascii() or not url.isprintable() or " " in url:
        raise ValueError("url has characters that must be escaped")

"""Settings of the gateway's process: file, then environment, then flags; later ones win."""

import os
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError
from pydantic.alias_generators import to_camel

from moorage.controllers.gateway.brake import CLUSTERS_PER_HOUR, MACHINES_PER_HOUR
from moorage.controllers.gateway.templates.replica import IDLE
from moorage.kit.errors import FieldFault, InvalidError
from moorage.kit.net import ProxySettings, read_pem
from moorage.vsphere import Limits

PREFIX = "MOORAGE_GATEWAY_"
FILE_NAME = "config.yaml"
_FILE_ONLY = ("deletion_brake", "vcenter", "template_replicas")
"""They belong to whoever runs the machine."""
_LIMITS = Limits()


class DeletionBrake(BaseModel):
    """How much may be deleted in an hour before somebody beside vCenter has to approve."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, extra="forbid")

    clusters_per_hour: int = Field(default=CLUSTERS_PER_HOUR, ge=0)
    machines_per_hour: int = Field(default=MACHINES_PER_HOUR, ge=0)


class VCenterLimits(BaseModel):
    """What each gateway process asks of a vCenter at a time, for each account."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, extra="forbid")

    calls_in_flight: int = Field(default=_LIMITS.calls, ge=1, le=64)
    clones_in_flight: int = Field(default=_LIMITS.clones, ge=1, le=512)
    clones_per_host: int = Field(default=_LIMITS.clones_per_host, ge=1, le=512)
    clones_per_datastore: int = Field(default=_LIMITS.clones_per_datastore, ge=1, le=512)

    def limits(self) -> Limits:
        """Return them as a session takes them."""
        return Limits(
            calls=self.calls_in_flight,
            clones=self.clones_in_flight,
            clones_per_host=self.clones_per_host,
            clones_per_datastore=self.clones_per_datastore,
        )


class TemplateReplicas(BaseModel):
    """How long copies of templates are kept on datastores."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, extra="forbid")

    keep_unused_hours: float = Field(default=IDLE.total_seconds() / 3600, ge=0, le=8760)

    def idle(self) -> timedelta:
        """Return how long a replica is kept that no machine needs."""
        return timedelta(hours=self.keep_unused_hours)


class GatewayConfig(BaseModel):
    """What can be set. ``MOORAGE_GATEWAY_PROXY`` and so on in the environment."""

    model_config = ConfigDict(
        alias_generator=to_camel,
        populate_by_name=True,
        extra="forbid",
        use_attribute_docstrings=True,
    )

    hub: str | None = None
    """Another URL for the hub than that of the enrolment, such as one inside the own network."""
    proxy: str | None = None
    """``http://[user:password@]host:port``; without it ``HTTPS_PROXY`` of the environment."""
    no_proxy: list[str] | None = None
    """Hosts, domains and networks reached directly; without it ``NO_PROXY``."""
    proxy_ca: Path | None = None
    """PEM file that an ``https://`` proxy's certificate chains to."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_format: Literal["auto", "json", "console"] = "auto"
    health: Annotated[
        str, StringConstraints(pattern=r"^(off|[^:\s]+:\d{1,5}|\[[^\]]+\]:\d{1,5})$")
    ] = "127.0.0.1:8470"
    """``host:port`` where ``/healthz`` and ``/metrics`` answer, or ``off``."""
    database: str | None = Field(default=None, repr=False)
    """``postgresql+psycopg://user:password@host/database`` for replicas that share it; without it
    an SQLite file in the data directory, for one process."""
    deletion_brake: DeletionBrake = Field(default_factory=DeletionBrake)
    vcenter: VCenterLimits = Field(default_factory=VCenterLimits)
    template_replicas: TemplateReplicas = Field(default_factory=TemplateReplicas)
    imports_folder: Path | None = None
    """Where OVAs lie that are imported by their name; ``imports`` in the data directory by
    default."""

    def proxy_settings(self, environment: Mapping[str, str] | None = None) -> ProxySettings:
        """Return which proxy leads to the hub."""
        ambient = ProxySettings.from_environment(environment)
        ca_pem = read_pem(self.proxy_ca) if self.proxy_ca else None
        direct = ambient.no_proxy if self.no_proxy is None else tuple(self.no_proxy)
        return ProxySettings(url=self.proxy or ambient.url, no_proxy=direct, ca_pem=ca_pem)

    def health_address(self) -> tuple[str, int] | None:
        """Return host and port of the health page; ``None`` when it is off."""
        if self.health == "off":
            return None
        host, _, port = self.health.rpartition(":")
        return host.strip("[]"), int(port)


def load_config(
    data: Path,
    *,
    file: Path | None = None,
    environment: Mapping[str, str] | None = None,
    flags: Mapping[str, Any] | None = None,
) -> GatewayConfig:
    """Read all settings; raises ``InvalidError`` that names every wrong one.

    Args:
        data: Data directory; its ``config.yaml`` is read if there is one.
        file: Another file, which must exist then.
        environment: Instead of the process's own.
        flags: From the command line; ``None`` values count as not given.
    """
    settings = {
        **_from_file(file or data / FILE_NAME, required=file is not None),
        **_from_environment(os.environ if environment is None else environment),
        **{to_camel(key): value for key, value in (flags or {}).items() if value is not None},
    }
    try:
        return GatewayConfig.model_validate(settings)
    except ValidationError as error:
        faults = tuple(
            FieldFault(".".join(str(part) for part in fault["loc"]), fault["msg"])
            for fault in error.errors(include_input=False, include_url=False)
        )
        raise InvalidError("the gateway's settings are wrong", faults) from error


def _from_file(path: Path, *, required: bool) -> dict[str, Any]:
    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        if required:
            raise InvalidError(f"settings file {path} does not exist") from None
        return {}
    except (OSError, yaml.YAMLError, UnicodeDecodeError) as error:
        raise InvalidError(f"settings file {path} cannot be read: {error}") from error
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise InvalidError(f"settings file {path} must hold a mapping, such as `logLevel: info`")
    return {str(key): value for key, value in found.items()}


def _from_environment(environment: Mapping[str, str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name in GatewayConfig.model_fields:
        text = environment.get(PREFIX + name.upper())
        if not text or name in _FILE_ONLY:
            continue
        found[to_camel(name)] = text.split(",") if name == "no_proxy" else text
    return found

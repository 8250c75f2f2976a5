"""Words and rules of Kubernetes that several kinds share."""

import re
from enum import StrEnum
from functools import lru_cache, total_ordering
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import AfterValidator, Field, StringConstraints

from moorage.resources.meta import LabelKey, LabelValue, Model

MIN_CONTROL_PLANE_MEMORY_MIB = 2048
"""kubeadm's preflight asks for 1700 MB; below 2 GiB etcd and the API server swap places in OOM."""

SUPPORTED_MINORS = ((1, 31), (1, 35))
"""First and last minor release. kubeadm's v1beta4 configuration came with 1.31."""

_VERSION = re.compile(r"^v?(\d+)\.(\d+)\.(\d+)$")


class Role(StrEnum):
    """What a machine does in its cluster."""

    CONTROL_PLANE = "control-plane"
    WORKER = "worker"


@total_ordering
class KubernetesVersion(NamedTuple):
    """``v1.34.4`` as numbers."""

    major: int
    minor: int
    patch: int

    @classmethod
    @lru_cache(maxsize=128)
    def parse(cls, text: str) -> "KubernetesVersion":
        """Read ``v1.34.4`` or ``1.34.4``; raises ``ValueError`` for anything else."""
        match = _VERSION.match(text)
        if match is None:
            raise ValueError(f"{text!r} is not a Kubernetes version such as v1.34.4")
        return cls(*(int(part) for part in match.groups()))

    def __str__(self) -> str:
        return f"v{self.major}.{self.minor}.{self.patch}"


def _check_version(text: str) -> str:
    version = KubernetesVersion.parse(text)
    first, last = SUPPORTED_MINORS
    if not first <= (version.major, version.minor) <= last:
        raise ValueError(
            f"{version} is not supported: give a version from v{first[0]}.{first[1]} "
            f"to v{last[0]}.{last[1]}"
        )
    return str(version)


VersionText = Annotated[str, AfterValidator(_check_version)]
"""A supported Kubernetes version; a missing ``v`` is added."""


class Taint(Model):
    """Keeps pods away that do not tolerate it."""

    key: LabelKey
    value: LabelValue = ""
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"]


ProxyURL = Annotated[str, StringConstraints(pattern=r"^https?://[^\s\"'\\]+$")]
"""``http://`` or ``https://``, perhaps with user and password, which are percent-encoded."""


class Proxy(Model):
    """Proxy of the nodes' container runtime and kubelet."""

    http_proxy: ProxyURL | None = None
    https_proxy: ProxyURL | None = None
    no_proxy: list[Annotated[str, StringConstraints(pattern=r"^[^\s,\"'\\]+$")]] = Field(
        default_factory=list
    )
    """Hosts, domains and networks (CIDR) that are reached directly, beside the cluster's own."""


class RegistryMirror(Model):
    """Where containerd asks before (or instead of) a registry."""

    registry: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9.-]+(:\d+)?$|^_default$")]
    """Host of the registry, such as ``registry.k8s.io``, or ``_default`` for all."""
    endpoints: list[Annotated[str, StringConstraints(pattern=r"^https?://\S+$")]] = Field(
        min_length=1
    )


class NodeSettings(Model):
    """What every node of a cluster gets beside Kubernetes."""

    ssh_keys: list[Annotated[str, StringConstraints(pattern=r"^(ssh-|ecdsa-|sk-)\S+ \S+")]] = Field(
        default_factory=list
    )
    """Public keys that may log in as ``user``."""
    user: Annotated[str, StringConstraints(pattern=r"^[a-z_][a-z0-9_-]{0,31}$")] = "moorage"
    ntp_servers: list[Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9.:-]+$")]] = Field(
        default_factory=list
    )
    registry_mirrors: list[RegistryMirror] = Field(default_factory=list)
    proxy: Proxy | None = None
    ca_certificates: list[
        Annotated[str, StringConstraints(pattern=r"^\s*-----BEGIN CERTIFICATE-----")]
    ] = Field(default_factory=list)
    """PEM certificates added to the node's trust store (containerd uses it)."""
    pre_kubeadm_commands: list[str] = Field(default_factory=list)
    post_kubeadm_commands: list[str] = Field(default_factory=list)
    kubelet_configuration: dict[str, Any] = Field(default_factory=dict)
    """Fields merged over the ``KubeletConfiguration`` that Moorage renders."""
    kube_proxy_configuration: dict[str, Any] = Field(default_factory=dict)
    """Fields merged over the ``KubeProxyConfiguration`` that Moorage renders."""
    ignore_preflight_errors: list[str] = Field(default_factory=list)
    """Names of kubeadm preflight checks to ignore on every node, such as ``NumCPU``."""

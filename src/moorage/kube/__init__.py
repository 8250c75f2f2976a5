"""Clients of workload clusters' API servers."""

from moorage.kube.client import FIELD_MANAGER, KubeClient
from moorage.kube.model import (
    Credentials,
    DrainState,
    EtcdMember,
    NodeInfo,
    PodInfo,
    PodLeft,
)
from moorage.kube.pool import KubePool
from moorage.kube.probe import Answer, Probed, probe
from moorage.kube.transport import ApiStatusError

__all__ = [
    "FIELD_MANAGER",
    "Answer",
    "ApiStatusError",
    "Credentials",
    "DrainState",
    "EtcdMember",
    "KubeClient",
    "KubePool",
    "NodeInfo",
    "PodInfo",
    "PodLeft",
    "Probed",
    "probe",
]

"""Which labels a node may give itself, and which the gateway must set (NodeRestriction)."""

from collections.abc import Mapping

from moorage.resources.cluster import FailureDomain

REGION = "topology.kubernetes.io/region"
ZONE = "topology.kubernetes.io/zone"

_SELF_SET_NAMES = frozenset(
    {
        "beta.kubernetes.io/arch",
        "beta.kubernetes.io/instance-type",
        "beta.kubernetes.io/os",
        "failure-domain.beta.kubernetes.io/region",
        "failure-domain.beta.kubernetes.io/zone",
        "kubernetes.io/arch",
        "kubernetes.io/hostname",
        "kubernetes.io/os",
        "node.kubernetes.io/instance-type",
        REGION,
        ZONE,
    }
)
_SELF_SET_DOMAINS = ("kubelet.kubernetes.io", "node.kubernetes.io")
_RESERVED_DOMAINS = ("kubernetes.io", "k8s.io")


def may_set_itself(key: str) -> bool:
    """Tell whether kubelet accepts the label on its own command line.

    It refuses to start with any other label of Kubernetes' own domains, such as
    ``node-role.kubernetes.io/worker``, and NodeRestriction refuses ``node-restriction`` ones.
    """
    if key in _SELF_SET_NAMES:
        return True
    domain = key.partition("/")[0] if "/" in key else ""
    if _is_in(domain, _SELF_SET_DOMAINS):
        return True
    return not _is_in(domain, _RESERVED_DOMAINS)


def _is_in(domain: str, parents: tuple[str, ...]) -> bool:
    return any(domain == parent or domain.endswith(f".{parent}") for parent in parents)


def split_labels(labels: Mapping[str, str]) -> tuple[dict[str, str], dict[str, str]]:
    """Return (labels that the node sets itself, labels that the gateway patches on), sorted."""
    own = {key: value for key, value in sorted(labels.items()) if may_set_itself(key)}
    rest = {key: value for key, value in sorted(labels.items()) if key not in own}
    return own, rest


def topology_labels(domain: FailureDomain) -> dict[str, str]:
    """Return the topology labels of a failure domain; its name is the zone if none is given."""
    labels = {ZONE: domain.zone or domain.name}
    if domain.region:
        labels[REGION] = domain.region
    return labels

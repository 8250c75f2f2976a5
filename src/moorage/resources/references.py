"""What a resource names: by which field, and which other resource."""

from collections.abc import Iterator, Sequence

from moorage.resources.access import Grant, ServiceAccount, Team, User
from moorage.resources.account import CloudAccount
from moorage.resources.cluster import Cluster, ClusterSpec
from moorage.resources.ippool import IPPool
from moorage.resources.meta import Resource
from moorage.resources.nodepool import NodePool
from moorage.resources.template import Template

Key = tuple[str, str, str]
"""Kind, project (empty beside all projects) and name."""


def references(resource: Resource) -> Iterator[tuple[str, Key]]:
    """Yield path and key of everything that what a person writes names."""
    spec, project = resource.spec, resource.metadata.project
    if project:
        yield "metadata.project", ("Project", "", project)
    match resource:
        case Cluster():
            yield "spec.account", ("CloudAccount", "", spec.account)
            for path, name in pool_paths(spec):
                yield path, ("IPPool", "", name)
        case NodePool():
            yield "spec.cluster", ("Cluster", project, spec.cluster)
        case CloudAccount() | IPPool():
            yield "spec.gateway", ("Gateway", "", spec.gateway)
        case Template():
            yield "spec.account", ("CloudAccount", "", spec.account)
        case User() | Team() | ServiceAccount():
            yield from _granted(spec.grants)
    if isinstance(resource, Team):
        for index, name in enumerate(resource.spec.members):
            yield f"spec.members[{index}]", ("User", "", name)


def pool_paths(spec: ClusterSpec) -> Iterator[tuple[str, str]]:
    """Yield path and name of each IP pool that a cluster names."""
    for index, domain in enumerate(spec.placement.failure_domains):
        path = f"spec.placement.failureDomains[{index}]"
        for number, name in enumerate(domain.pools()):
            yield f"{path}.ipPool" if domain.ip_pool else f"{path}.ipPools[{number}]", name
        for place, card in enumerate(domain.more_networks):
            for number, name in enumerate(card.ip_pools):
                yield f"{path}.moreNetworks[{place}].ipPools[{number}]", name
    if spec.endpoint.ip_pool:
        yield "spec.endpoint.ipPool", spec.endpoint.ip_pool


def _granted(grants: Sequence[Grant]) -> Iterator[tuple[str, Key]]:
    for index, grant in enumerate(grants):
        yield f"spec.grants[{index}].role", ("Role", "", grant.role)
        if grant.project != "*":
            yield f"spec.grants[{index}].project", ("Project", "", grant.project)

"""The kinds of Moorage: what can be asked, and what was seen."""

from moorage.resources.access import Project, Role, ServiceAccount, Team, User
from moorage.resources.account import CloudAccount, Secret
from moorage.resources.alert import AlertChannel, AlertSilence
from moorage.resources.cluster import Cluster
from moorage.resources.clusterkeys import ClusterKeys, ResealedKeys
from moorage.resources.gateway import Assignment, Gateway, Handover
from moorage.resources.ippool import IPAddress, IPPool
from moorage.resources.machine import Machine
from moorage.resources.meta import Condition, Metadata, Owner, Ownership, Resource, Scope
from moorage.resources.nodepool import NodePool
from moorage.resources.operation import Operation
from moorage.resources.plan import Plan
from moorage.resources.replica import TemplateReplica
from moorage.resources.template import Template

KINDS: dict[str, type[Resource]] = {
    kind.kind_name(): kind
    for kind in (
        AlertChannel,
        AlertSilence,
        Assignment,
        CloudAccount,
        Cluster,
        ClusterKeys,
        Gateway,
        Handover,
        IPAddress,
        IPPool,
        Machine,
        NodePool,
        Operation,
        Plan,
        Project,
        ResealedKeys,
        Role,
        Secret,
        ServiceAccount,
        Team,
        Template,
        TemplateReplica,
        User,
    )
}
"""Every kind by its name."""

__all__ = [
    "KINDS",
    "AlertChannel",
    "AlertSilence",
    "Assignment",
    "CloudAccount",
    "Cluster",
    "ClusterKeys",
    "Condition",
    "Gateway",
    "Handover",
    "IPAddress",
    "IPPool",
    "Machine",
    "Metadata",
    "NodePool",
    "Operation",
    "Owner",
    "Ownership",
    "Plan",
    "Project",
    "ResealedKeys",
    "Resource",
    "Role",
    "Scope",
    "Secret",
    "ServiceAccount",
    "Team",
    "Template",
    "TemplateReplica",
    "User",
]

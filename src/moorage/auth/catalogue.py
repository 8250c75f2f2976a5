"""What can be permitted, and what each REST operation needs: the one table of both.

A permission is ``resource.operation``; resources are called as in the API's paths. The hub's
guard (``hub.deps``), the built-in roles, the documentation and the test of every operation with
every role all work from here; an operation that is not in the table is refused to everybody.
"""

from enum import StrEnum
from typing import NamedTuple


class Place(StrEnum):
    """Where the objects of a resource live, and so which grants reach them."""

    TENANT = "tenant"
    """Beside all projects: only grants for the whole hub."""
    SHARED = "shared"
    """Beside all projects, and needed to work in one: read with a grant in any project."""
    PROJECT = "project"
    """A project itself."""
    CLUSTER = "cluster"
    """In a project, and a cluster or part of one: a label selector of clusters narrows grants."""


class Resource(NamedTuple):
    """A resource of the catalogue."""

    place: Place
    operations: tuple[str, ...]


READ = ("list", "get")
_CHANGE = ("create", "update", "delete")
_ALL = (*READ, *_CHANGE)

RESOURCES: dict[str, Resource] = {
    "projects": Resource(Place.PROJECT, _ALL),
    "clusters": Resource(Place.CLUSTER, (*_ALL, "kubeconfig")),
    "nodepools": Resource(Place.CLUSTER, _ALL),
    "machines": Resource(Place.CLUSTER, (*READ, "delete", "logs")),
    "operations": Resource(Place.CLUSTER, (*READ, "create", "delete")),
    "plans": Resource(Place.CLUSTER, (*READ, "create", "delete")),
    "events": Resource(Place.CLUSTER, ("list",)),
    "alerts": Resource(Place.CLUSTER, ("list", "update")),
    "alertchannels": Resource(Place.TENANT, _ALL),
    "alertsilences": Resource(Place.TENANT, _ALL),
    "gateways": Resource(Place.SHARED, (*_ALL, "enrol", "decide")),
    "accounts": Resource(Place.SHARED, (*_ALL, "check")),
    "ippools": Resource(Place.SHARED, _ALL),
    "templates": Resource(Place.SHARED, _ALL),
    "ipaddresses": Resource(Place.TENANT, READ),
    "templatereplicas": Resource(Place.TENANT, READ),
    "assignments": Resource(Place.TENANT, READ),
    "secrets": Resource(Place.TENANT, _ALL),
    "moves": Resource(Place.TENANT, ("create", "delete", "reseal")),
    "metrics": Resource(Place.TENANT, ("get",)),
    "installation": Resource(Place.TENANT, ("update",)),
    "audit": Resource(Place.TENANT, ("list",)),
    "users": Resource(Place.TENANT, (*_ALL, "password")),
    "teams": Resource(Place.TENANT, _ALL),
    "roles": Resource(Place.TENANT, _ALL),
    "serviceaccounts": Resource(Place.TENANT, _ALL),
    "apikeys": Resource(Place.TENANT, ("list", "create", "delete")),
    "sessions": Resource(Place.TENANT, ("list", "delete")),
}

PERMISSIONS = frozenset(
    f"{name}.{operation}" for name, one in RESOURCES.items() for operation in one.operations
)


class Access(StrEnum):
    """Operations that need no permission."""

    PUBLIC = "public"
    """Anybody: it proves who asks by other means, or tells nothing."""
    OWN = "own"
    """Whoever is logged in: it speaks of the caller alone, or of what all may know."""
    MACHINE = "machine"
    """The hub's own machine; from elsewhere it needs the permission."""


class Need(NamedTuple):
    """What a REST operation needs."""

    permission: str = ""
    """``resource.operation``; empty for ``Access.PUBLIC`` and ``OWN``."""
    of: str = ""
    """Resource of the object that ``{name}`` in the path means; empty: none is named."""
    may_create: str = ""
    """Permission that does too, where the object may not be there yet: the handler knows."""
    in_body: bool = False
    """The path does not name the cluster: labels are compared by who handles the request."""
    access: Access | None = None


_PUBLIC, _OWN = Need(access=Access.PUBLIC), Need(access=Access.OWN)

OPERATIONS: dict[str, Need] = {
    # Health, and what all may know
    "healthz": _PUBLIC,
    "readyz": _PUBLIC,
    "getOpenAPI": _PUBLIC,
    "metrics": Need("metrics.get", access=Access.MACHINE),
    "getInstallation": _OWN,
    "setRecoveryKey": Need("installation.update"),
    # Coming in, and what is one's own
    "login": _PUBLIC,
    "enrollGateway": _PUBLIC,
    "logout": _OWN,
    "whoAmI": _OWN,
    "changeOwnPassword": _OWN,
    "createAPIKey": _OWN,
    "listAPIKeys": _OWN,
    "revokeAPIKey": _OWN,
    "getSecondFactor": _OWN,
    "beginSecondFactor": _OWN,
    "confirmSecondFactor": _OWN,
    "removeSecondFactor": _OWN,
    "listSessions": _OWN,
    "endSession": _OWN,
    "listOwnRights": _OWN,
    "listPermissions": _OWN,
    # People and rights
    "listUsers": Need("users.list"),
    "getUser": Need("users.get", of="users"),
    "createUser": Need("users.create"),
    "replaceUserSpec": Need("users.update", of="users"),
    "replaceUserLabels": Need("users.update", of="users"),
    "deleteUser": Need("users.delete", of="users"),
    "setPassword": Need("users.password", of="users"),
    "removeUserSecondFactor": Need("users.password", of="users"),
    "listTeams": Need("teams.list"),
    "getTeam": Need("teams.get", of="teams"),
    "createTeam": Need("teams.create"),
    "replaceTeamSpec": Need("teams.update", of="teams"),
    "replaceTeamLabels": Need("teams.update", of="teams"),
    "deleteTeam": Need("teams.delete", of="teams"),
    "listRoles": Need("roles.list"),
    "getRole": Need("roles.get", of="roles"),
    "createRole": Need("roles.create"),
    "replaceRoleSpec": Need("roles.update", of="roles"),
    "replaceRoleLabels": Need("roles.update", of="roles"),
    "deleteRole": Need("roles.delete", of="roles"),
    "listServiceAccounts": Need("serviceaccounts.list"),
    "getServiceAccount": Need("serviceaccounts.get", of="serviceaccounts"),
    "createServiceAccount": Need("serviceaccounts.create"),
    "replaceServiceAccountSpec": Need("serviceaccounts.update", of="serviceaccounts"),
    "replaceServiceAccountLabels": Need("serviceaccounts.update", of="serviceaccounts"),
    "deleteServiceAccount": Need("serviceaccounts.delete", of="serviceaccounts"),
    "listServiceAccountAPIKeys": Need("apikeys.list", of="serviceaccounts"),
    "createServiceAccountAPIKey": Need("apikeys.create", of="serviceaccounts"),
    "revokeServiceAccountAPIKey": Need("apikeys.delete", of="serviceaccounts"),
    "listUserAPIKeys": Need("apikeys.list", of="users"),
    "revokeUserAPIKey": Need("apikeys.delete", of="users"),
    "listUserSessions": Need("sessions.list", of="users"),
    "endUserSessions": Need("sessions.delete", of="users"),
    "whoCan": Need("users.list"),
    "listAudit": Need("audit.list"),
    "getAuditRecord": Need("audit.list"),
    "exportAudit": Need("audit.list"),
    "listAuditCheckpoints": Need("audit.list"),
    # Projects and what is in them
    "listProjects": Need("projects.list"),
    "getProject": Need("projects.get", of="projects"),
    "createProject": Need("projects.create"),
    "replaceProjectSpec": Need("projects.update", of="projects"),
    "replaceProjectLabels": Need("projects.update", of="projects"),
    "deleteProject": Need("projects.delete", of="projects"),
    "listClusters": Need("clusters.list"),
    "overviewClusters": Need("clusters.list"),
    "getCluster": Need("clusters.get", of="clusters"),
    "createCluster": Need("clusters.create"),
    "applyCluster": Need("clusters.update", of="clusters", may_create="clusters.create"),
    "replaceClusterSpec": Need("clusters.update", of="clusters", may_create="clusters.create"),
    "replaceClusterLabels": Need("clusters.update", of="clusters"),
    "deleteCluster": Need("clusters.delete", of="clusters"),
    "listNodePools": Need("nodepools.list"),
    "getNodePool": Need("nodepools.get", of="nodepools"),
    "createNodePool": Need("nodepools.create", in_body=True),
    "replaceNodePoolSpec": Need("nodepools.update", of="nodepools"),
    "replaceNodePoolLabels": Need("nodepools.update", of="nodepools"),
    "deleteNodePool": Need("nodepools.delete", of="nodepools"),
    "listMachines": Need("machines.list"),
    "getMachine": Need("machines.get", of="machines"),
    "listOperations": Need("operations.list"),
    "getOperation": Need("operations.get", of="operations"),
    "createOperation": Need("operations.create", in_body=True),
    "deleteOperation": Need("operations.delete", of="operations"),
    "listPlans": Need("plans.list"),
    "getPlan": Need("plans.get", of="plans"),
    "planCluster": Need("plans.create", of="clusters", may_create="plans.create"),
    "deletePlan": Need("plans.delete", of="plans"),
    "listEvents": Need("events.list"),
    "listHubEvents": Need("events.list"),
    # What is wrong, and who is told
    "listAlerts": Need("alerts.list"),
    "listAllAlerts": Need("alerts.list"),
    "acknowledgeAlert": Need("alerts.update", in_body=True),
    "acknowledgeAnyAlert": Need("alerts.update"),
    "listAlertChannels": Need("alertchannels.list"),
    "getAlertChannel": Need("alertchannels.get", of="alertchannels"),
    "createAlertChannel": Need("alertchannels.create"),
    "replaceAlertChannelSpec": Need("alertchannels.update", of="alertchannels"),
    "replaceAlertChannelLabels": Need("alertchannels.update", of="alertchannels"),
    "deleteAlertChannel": Need("alertchannels.delete", of="alertchannels"),
    "renewAlertChannelSecret": Need("alertchannels.update", of="alertchannels"),
    "testAlertChannel": Need("alertchannels.update", of="alertchannels"),
    "listAlertDeliveries": Need("alertchannels.get", of="alertchannels"),
    "listAlertSilences": Need("alertsilences.list"),
    "getAlertSilence": Need("alertsilences.get", of="alertsilences"),
    "createAlertSilence": Need("alertsilences.create"),
    "replaceAlertSilenceSpec": Need("alertsilences.update", of="alertsilences"),
    "replaceAlertSilenceLabels": Need("alertsilences.update", of="alertsilences"),
    "deleteAlertSilence": Need("alertsilences.delete", of="alertsilences"),
    # Hub-wide: where clusters run
    "listGateways": Need("gateways.list"),
    "getGateway": Need("gateways.get", of="gateways"),
    "createGateway": Need("gateways.create"),
    "replaceGatewaySpec": Need("gateways.update", of="gateways"),
    "replaceGatewayLabels": Need("gateways.update", of="gateways"),
    "deleteGateway": Need("gateways.delete", of="gateways"),
    "createEnrolmentToken": Need("gateways.enrol", of="gateways"),
    "listIntentConflicts": Need("gateways.decide", of="gateways"),
    "decideIntentConflict": Need("gateways.decide", of="gateways"),
    "listCloudAccounts": Need("accounts.list"),
    "getCloudAccount": Need("accounts.get", of="accounts"),
    "createCloudAccount": Need("accounts.create"),
    "replaceCloudAccountSpec": Need("accounts.update", of="accounts"),
    "replaceCloudAccountLabels": Need("accounts.update", of="accounts"),
    "deleteCloudAccount": Need("accounts.delete", of="accounts"),
    "listIPPools": Need("ippools.list"),
    "getIPPool": Need("ippools.get", of="ippools"),
    "createIPPool": Need("ippools.create"),
    "replaceIPPoolSpec": Need("ippools.update", of="ippools"),
    "replaceIPPoolLabels": Need("ippools.update", of="ippools"),
    "deleteIPPool": Need("ippools.delete", of="ippools"),
    "listTemplates": Need("templates.list"),
    "getTemplate": Need("templates.get", of="templates"),
    "createTemplate": Need("templates.create"),
    "replaceTemplateSpec": Need("templates.update", of="templates"),
    "replaceTemplateLabels": Need("templates.update", of="templates"),
    "deleteTemplate": Need("templates.delete", of="templates"),
    "listSecrets": Need("secrets.list"),
    "getSecret": Need("secrets.get", of="secrets"),
    "createSecret": Need("secrets.create"),
    "replaceSecretSpec": Need("secrets.update", of="secrets"),
    "replaceSecretLabels": Need("secrets.update", of="secrets"),
    "deleteSecret": Need("secrets.delete", of="secrets"),
    "listIPAddresses": Need("ipaddresses.list"),
    "getIPAddress": Need("ipaddresses.get", of="ipaddresses"),
    "listAssignments": Need("assignments.list"),
    "getAssignment": Need("assignments.get", of="assignments"),
    "listTemplateReplicas": Need("templatereplicas.list"),
    "getTemplateReplica": Need("templatereplicas.get", of="templatereplicas"),
    "moveCluster": Need("moves.create"),
    "cancelMove": Need("moves.delete"),
    "declareGatewayDead": Need("moves.create"),
    "getSealed": Need("moves.reseal", of="gateways"),
    "putResealed": Need("moves.reseal", of="gateways"),
}
"""Operation ID -> what it needs."""


def resource_of(permission: str) -> str:
    """Return the resource that a permission is about."""
    return permission.partition(".")[0]


def is_read(permission: str) -> bool:
    """Tell whether a permission only lets look."""
    return permission.partition(".")[2] in READ


def place_of(permission: str) -> Place:
    """Return where the objects of a permission live."""
    return RESOURCES[resource_of(permission)].place

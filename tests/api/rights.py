"""Who may do what: every operation, every role. A new operation has to be written down here."""

from dataclasses import dataclass

ALLOWED, FORBIDDEN, HIDDEN = "allowed", "forbidden", "hidden"

PUBLIC = {"login", "enrollGateway", "healthz", "readyz", "getOpenAPI"}
OWN = {"logout", "whoAmI", "changeOwnPassword", "createAPIKey", "listAPIKeys", "revokeAPIKey"}


@dataclass(frozen=True)
class Right:
    """Answers for: a viewer of all, a viewer and an administrator of one project, nobody.

    Inside a project that a role has no grant for, everything is hidden.
    """

    viewer: str
    project_viewer: str
    project_admin: str
    nobody: str = HIDDEN
    in_project: bool = False

    def answer(self, role: str, project: str) -> str:
        """Return what the role gets in that project."""
        if role == "viewer":
            return self.viewer
        if role == "nobody" or (self.in_project and project != "default"):
            return self.nobody
        return self.project_viewer if role == "viewer-of-default" else self.project_admin


READ_IN_PROJECT = Right(ALLOWED, ALLOWED, ALLOWED, in_project=True)
WRITE_IN_PROJECT = Right(FORBIDDEN, FORBIDDEN, ALLOWED, in_project=True)
READ_SHARED = Right(ALLOWED, ALLOWED, ALLOWED)
WRITE_SHARED = Right(FORBIDDEN, FORBIDDEN, FORBIDDEN)
READ_WIDE = Right(ALLOWED, HIDDEN, HIDDEN)
WRITE_WIDE = Right(FORBIDDEN, HIDDEN, HIDDEN)
ADMIN_ONLY = Right(HIDDEN, HIDDEN, HIDDEN)
WRITE_PROJECTS = Right(FORBIDDEN, FORBIDDEN, FORBIDDEN)

RIGHTS: dict[str, Right] = {
    "listProjects": READ_SHARED,
    "getProject": READ_SHARED,
    "createProject": WRITE_PROJECTS,
    "replaceProjectSpec": WRITE_PROJECTS,
    "replaceProjectLabels": WRITE_PROJECTS,
    "deleteProject": WRITE_PROJECTS,
    "listUsers": ADMIN_ONLY,
    "getUser": ADMIN_ONLY,
    "createUser": ADMIN_ONLY,
    "replaceUserSpec": ADMIN_ONLY,
    "replaceUserLabels": ADMIN_ONLY,
    "deleteUser": ADMIN_ONLY,
    "setPassword": ADMIN_ONLY,
    "listAudit": ADMIN_ONLY,
    "moveCluster": ADMIN_ONLY,
    "cancelMove": ADMIN_ONLY,
    "declareGatewayDead": ADMIN_ONLY,
    "getSealed": ADMIN_ONLY,
    "putResealed": ADMIN_ONLY,
    "listGateways": READ_SHARED,
    "getGateway": READ_SHARED,
    "createGateway": WRITE_SHARED,
    "replaceGatewaySpec": WRITE_SHARED,
    "replaceGatewayLabels": WRITE_SHARED,
    "deleteGateway": WRITE_SHARED,
    "createEnrolmentToken": WRITE_SHARED,
    "listIntentConflicts": WRITE_SHARED,
    "decideIntentConflict": WRITE_SHARED,
    "listCloudAccounts": READ_SHARED,
    "getCloudAccount": READ_SHARED,
    "createCloudAccount": WRITE_SHARED,
    "replaceCloudAccountSpec": WRITE_SHARED,
    "replaceCloudAccountLabels": WRITE_SHARED,
    "deleteCloudAccount": WRITE_SHARED,
    "listIPPools": READ_SHARED,
    "getIPPool": READ_SHARED,
    "createIPPool": WRITE_SHARED,
    "replaceIPPoolSpec": WRITE_SHARED,
    "replaceIPPoolLabels": WRITE_SHARED,
    "deleteIPPool": WRITE_SHARED,
    "getInstallation": READ_SHARED,
    "setRecoveryKey": WRITE_SHARED,
    "listSecrets": READ_WIDE,
    "getSecret": READ_WIDE,
    "createSecret": WRITE_WIDE,
    "replaceSecretSpec": WRITE_WIDE,
    "replaceSecretLabels": WRITE_WIDE,
    "deleteSecret": WRITE_WIDE,
    "listIPAddresses": READ_WIDE,
    "getIPAddress": READ_WIDE,
    "listAssignments": READ_WIDE,
    "getAssignment": READ_WIDE,
    "listTemplates": READ_SHARED,
    "getTemplate": READ_SHARED,
    "createTemplate": WRITE_SHARED,
    "replaceTemplateSpec": WRITE_SHARED,
    "replaceTemplateLabels": WRITE_SHARED,
    "deleteTemplate": WRITE_SHARED,
    "listTemplateReplicas": READ_WIDE,
    "getTemplateReplica": READ_WIDE,
    "listHubEvents": READ_WIDE,
    "listEvents": READ_IN_PROJECT,
    "listClusters": READ_IN_PROJECT,
    "overviewClusters": READ_IN_PROJECT,
    "getCluster": READ_IN_PROJECT,
    "createCluster": WRITE_IN_PROJECT,
    "applyCluster": WRITE_IN_PROJECT,
    "replaceClusterSpec": WRITE_IN_PROJECT,
    "replaceClusterLabels": WRITE_IN_PROJECT,
    "deleteCluster": WRITE_IN_PROJECT,
    "listNodePools": READ_IN_PROJECT,
    "getNodePool": READ_IN_PROJECT,
    "createNodePool": WRITE_IN_PROJECT,
    "replaceNodePoolSpec": WRITE_IN_PROJECT,
    "replaceNodePoolLabels": WRITE_IN_PROJECT,
    "deleteNodePool": WRITE_IN_PROJECT,
    "listMachines": READ_IN_PROJECT,
    "getMachine": READ_IN_PROJECT,
    "listOperations": READ_IN_PROJECT,
    "getOperation": READ_IN_PROJECT,
    "createOperation": WRITE_IN_PROJECT,
    "deleteOperation": WRITE_IN_PROJECT,
    "listPlans": READ_IN_PROJECT,
    "getPlan": READ_IN_PROJECT,
    "planCluster": WRITE_IN_PROJECT,
    "deletePlan": WRITE_IN_PROJECT,
}

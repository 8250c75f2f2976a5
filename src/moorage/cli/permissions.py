"""``moorage accounts check`` and ``roles``: what a user of vCenter may do, and what it must."""

import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from moorage.cli.say import examples, say
from moorage.kit.errors import InvalidError

if TYPE_CHECKING:
    from moorage.cli.context import Context
    from moorage.client import Api
    from moorage.resources.permission import CheckedCluster, CheckResult, CheckTarget

CHECK_EXAMPLES = examples(
    "moorage accounts check prod",
    "moorage accounts check prod -f cluster.yaml",
    "moorage accounts check prod --datacenter dc1 --folder clusters \\\n"
    "    --template templates/ubuntu-kube-v1.34.4 --compute-cluster cc1 --datastore ds1 \\\n"
    "    --network nodes -o json",
)

ROLES_EXAMPLES = examples(
    "moorage accounts roles prod -f cluster.yaml > roles.sh",
    "moorage accounts roles --user moorage@vsphere.local -f cluster.yaml --format terraform",
    "moorage accounts roles prod --switch dvs1 --format powercli",
    "moorage accounts roles prod -f cluster.yaml --zone-tags > roles.sh",
)

_MOST_CLUSTERS = 50
"""Of which room is looked at in one go."""


@Parameter(name="*")
@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """Where machines are to live: a file, or flags."""

    file: Annotated[Path | None, Parameter(name=["--file", "-f"], allow_leading_hyphen=True)] = None
    """YAML with documents of kind Cluster, whose placements are taken; - for standard input."""
    datacenter: str | None = None
    """Datacenter, without a file."""
    folder: str | None = None
    """VM folder for the machines."""
    folder_per_cluster: Annotated[bool | None, Parameter(negative=())] = None
    """Each cluster gets a folder in it."""
    template: str | None = None
    """Template to clone."""
    compute_cluster: str | None = None
    """Compute cluster."""
    resource_pool: str | None = None
    """Resource pool; the compute cluster's own by default."""
    datastore: str | None = None
    """Datastore."""
    datastore_is_cluster: Annotated[bool | None, Parameter(negative=())] = None
    """--datastore names a datastore cluster."""
    storage_policy: str | None = None
    """Storage policy; without --datastore, all datastores that satisfy it."""
    network: str | None = None
    """Port group or segment."""

    def named(self, account: str | None) -> "tuple[list[CheckTarget], list[CheckedCluster]]":
        """Return the places that file or flags name, and the file's clusters; else nothing.

        Raises ``InvalidError`` for both, for flags that are missing, and for clusters of other
        accounts in the file.
        """
        from moorage.cli.documents import build
        from moorage.resources.permission import CheckTarget

        flags = {
            name: getattr(self, name)
            for name in CheckTarget.model_fields
            if getattr(self, name) is not None
        }
        if self.file is not None:
            if flags:
                given = ", ".join(f"--{name.replace('_', '-')}" for name in flags)
                raise InvalidError(f"--file and {given}: give a file or flags, not both")
            return _in_file(self.file, account)
        return ([build(CheckTarget, "what the flags name", flags)] if flags else []), []


def _in_file(file: Path, account: str | None) -> "tuple[list[CheckTarget], list[CheckedCluster]]":
    from moorage.cli.documents import check_cluster, read_documents
    from moorage.resources import Cluster
    from moorage.resources.nodepool import PoolDocument
    from moorage.resources.permission import CheckedCluster, CheckTarget

    targets: list[CheckTarget] = []
    clusters: list[CheckedCluster] = []
    for document in read_documents(file, "Cluster"):
        check_cluster(document)
        body = {key: value for key, value in document.items() if key != "nodePools"}
        cluster = Cluster.model_validate(body)
        used = cluster.spec.account
        if account is not None and used != account:
            raise InvalidError(
                f"cluster {cluster.metadata.name} in {file} uses account {used}, not {account}: "
                f"check that one"
            )
        pools = [PoolDocument.model_validate(one) for one in document.get("nodePools") or ()]
        targets += CheckTarget.of_cluster(cluster, pools)
        name = cluster.metadata.name
        clusters.append(CheckedCluster(name=name, proposed=cluster.spec, node_pools=pools))
    return targets, clusters


async def places_of_account(
    api: "Api", context: "Context", account: str
) -> "tuple[list[CheckTarget], list[CheckedCluster]]":
    """Return what the project's clusters of an account use, and these clusters.

    Raises ``InvalidError`` for none.
    """
    from moorage.resources import Cluster, NodePool
    from moorage.resources.permission import CheckedCluster, CheckTarget

    found: dict[str, CheckTarget] = {}
    clusters: list[CheckedCluster] = []
    pools = await api.list(NodePool, project=context.project)
    for cluster in await api.list(Cluster, project=context.project):
        if cluster.spec.account == account:
            sizes = [one.spec for one in pools if one.spec.cluster == cluster.metadata.name]
            places = CheckTarget.of_cluster(cluster, sizes)
            found |= {one.model_dump_json(): one for one in places}
            clusters.append(CheckedCluster(name=cluster.metadata.name))
    if not found:
        raise InvalidError(
            f"no cluster in project {context.project} uses account {account}: name the places "
            "with -f cluster.yaml or with flags (--datacenter, --folder, …)"
        )
    return list(found.values()), clusters


async def check(
    name: str,
    *,
    places: Places = Places(),
    zone_tags: Annotated[bool, Parameter(negative=())] = False,
    template_imports: Annotated[bool, Parameter(negative=())] = False,
    template_imports_nfc: Annotated[bool, Parameter(negative=())] = False,
    timeout_s: float = 30,
) -> int:
    """Check what the account may do in vCenter, and that machines can live where they are to.

    The places are those of the file or the flags; otherwise those of the project's clusters that
    use the account. Looked at are privileges; whether resource pool, datastores and networks are
    reached from the same hosts; the template; room on hosts and datastores, and free addresses,
    for all that the clusters ask for (with flags for one machine); and the clocks.

    Exit code 1 when a privilege is missing that is not optional, an object is not seen (the
    account lacks System.Read there, or it does not exist), or another check fails.

    Args:
        name: Name of the account.
        places: Where machines are to live.
        zone_tags: Also check what it takes to read, make and attach tags of regions and zones.
        template_imports: Also check what it takes to import OVAs as templates.
        template_imports_nfc: The same by NFC leases, without a content library.
        timeout_s: How long to wait for the gateway's answer, in seconds.
    """
    from moorage.cli.context import Context
    from moorage.cli.kubeconfig import operate
    from moorage.cli.output import show_document
    from moorage.cli.settings import output_format
    from moorage.resources.operation import OperationSpec, Verb
    from moorage.resources.permission import CheckArguments, CheckResult

    targets, clusters = places.named(name)
    context = Context.current()
    async with context.api() as api:
        if not targets:
            targets, clusters = await places_of_account(api, context, name)
        if len(clusters) > _MOST_CLUSTERS:
            say(f"{len(clusters)} clusters: room is checked for the first {_MOST_CLUSTERS}")
        wanted = CheckArguments(
            targets=targets,
            clusters=clusters[:_MOST_CLUSTERS],
            zone_tags=zone_tags,
            template_imports=template_imports,
            template_imports_nfc=template_imports_nfc,
        )
        spec = OperationSpec(
            verb=Verb.CHECK,
            subject_kind="CloudAccount",
            subject_name=name,
            arguments=wanted.document(),
        )
        operation = await operate(api, context.project, spec, timeout_s)
    result = CheckResult.model_validate(operation.status.result)
    if output_format() == "table":
        _show(name, result)
    else:
        show_document(result.document())
    return 1 if result.needed() or result.failed() else 0


async def roles(
    name: str | None = None,
    *,
    places: Places = Places(),
    user: str | None = None,
    switch: list[str] | None = None,
    zone_tags: Annotated[bool, Parameter(negative=())] = False,
    template_imports: Annotated[bool, Parameter(negative=())] = False,
    template_imports_nfc: Annotated[bool, Parameter(negative=())] = False,
    language: Annotated[
        Literal["govc", "powercli", "terraform"], Parameter(name="--format")
    ] = "govc",
) -> None:
    """Write the roles and permissions that an account needs, for an administrator to run.

    One role for each kind of object, with exactly the privileges of the reference page, and one
    permission on each object. Names are taken as they stand below the datacenter's own folders:
    give what lies deeper with its path. Nothing is asked of vCenter, so the account need not work.

    Tags and imports need a global permission, which no tool can set before vSphere 9: its role is
    written, and what has to be clicked in the vSphere Client is said, here and in what is written.

    Args:
        name: Name of the account; not needed with --user and places.
        places: Where machines are to live.
        user: Who gets the permissions; the account's user by default.
        switch: Distributed switch of the network, by name or path; may be repeated.
        zone_tags: Also what it takes to read, make and attach tags of regions and zones.
        template_imports: Also what it takes to import OVAs as templates.
        template_imports_nfc: The same by NFC leases, which need nothing global.
        language: What to write: a shell script for govc, a PowerCLI script, or Terraform.
    """
    from moorage.cli.context import Context
    from moorage.permissions import (
        by_hand,
        govc_script,
        grants_for,
        powercli_script,
        rows_for,
        terraform_module,
        wanted_features,
    )
    from moorage.resources import CloudAccount

    targets, _ = places.named(name)
    if name is None and (user is None or not targets):
        raise InvalidError(
            "give the name of an account, or --user and places (-f cluster.yaml, or flags)"
        )
    if name is not None and (user is None or not targets):
        context = Context.current()
        async with context.api() as api:
            user = user or (await api.get(CloudAccount, name)).spec.username
            targets = targets or (await places_of_account(api, context, name))[0]
    write = {"govc": govc_script, "powercli": powercli_script, "terraform": terraform_module}
    features = wanted_features(
        targets,
        zone_tags=zone_tags,
        template_imports=template_imports,
        lease_imports=template_imports_nfc,
    )
    rows = rows_for(features=features)
    grants = grants_for(targets, rows, switch or ())
    sys.stdout.write(write[language](grants, user or ""))
    for line in by_hand(grants, user or ""):
        say(line)
    if not switch:
        say("a distributed port group also needs its switch: add --switch NAME")


def _show(account: str, result: "CheckResult") -> None:
    from moorage.cli.output import print_table

    if result.findings:
        rows = [
            [
                one.state.value,
                f"{one.object}\n{one.kind}{f' {one.moref}' if one.moref else ''}",
                f"{one.privilege}\n{one.shown}",
                "; ".join([*([one.message] if one.message else []), *one.needed_for]),
            ]
            for one in result.findings
        ]
        print_table(("STATE", "OBJECT", "PRIVILEGE", "NEEDED FOR"), rows)
    if wrong := [one for one in result.checks if not one.ok]:
        told = [[one.name, "failed" if one.blocking else "warns", one.message] for one in wrong]
        print_table(("CHECK", "", "MESSAGE"), told)
    _say_privileges(account, result)
    passed = [one.name for one in result.checks if one.ok]
    if passed:
        say(f"ok: {', '.join(passed)}")


def _say_privileges(account: str, result: "CheckResult") -> None:
    from moorage.resources.permission import FindingState

    looked = (
        f"{result.checked} privileges on {len(result.objects)} objects, "
        f"vSphere {result.api_version}"
    )
    if not result.findings:
        say(f"account {account} has all privileges that are needed ({looked})")
        return
    number = Counter(one.state for one in result.findings)
    counted = ", ".join(
        f"{number[state]} {state.value}"
        for state in FindingState
        if number[state] or state is not FindingState.OPTIONAL
    )
    say(f"account {account}: {counted} ({looked})")
    if number[FindingState.OPTIONAL]:
        say("optional: it works without, in another way")
    if number[FindingState.UNKNOWN]:
        say("unknown: the object does not exist, or the account lacks System.Read on it")
    say("`moorage accounts roles` writes the roles that grant what is missing")

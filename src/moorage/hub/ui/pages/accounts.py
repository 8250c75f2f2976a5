"""Cloud accounts: what each may do in its vCenter, scripts that grant the rest, its templates."""

from starlette.exceptions import HTTPException
from starlette.responses import Response

from moorage.hub.ui.api import Json, ProblemError
from moorage.hub.ui.page import Page
from moorage.hub.ui.pages.access import invalid
from moorage.hub.ui.pages.overview import every
from moorage.hub.ui.requests import operate
from moorage.resources import Cluster
from moorage.resources.permission import CheckTarget

_PLACE = (
    "datacenter",
    "folder",
    "template",
    "computeCluster",
    "resourcePool",
    "datastore",
    "network",
)
_MOST_TARGETS = 200
_MOST_CLUSTERS = 50
"""Of which room is looked at in one check."""
FORMATS = {"govc": "govc (shell)", "powercli": "PowerCLI", "terraform": "Terraform"}


async def accounts(page: Page) -> Response:
    """List cloud accounts."""
    return page.html("accounts.html", accounts=await every(page, "accounts"))


async def account(page: Page, problem: ProblemError | None = None) -> Response:
    """Show one account with its templates and their replicas."""
    found = await page.api.get("accounts", page.name)
    replicas = [
        one for one in await every(page, "templatereplicas") if one["spec"]["account"] == page.name
    ]
    installation = await page.api.get("installation")
    return page.html(
        "account.html",
        status=problem.status if problem else 200,
        account=found,
        replicas=replicas,
        installation=installation,
        asked={name: page.field(name) for name in _PLACE},
        problem=problem,
    )


async def new_account(page: Page) -> Response:
    """Show the form for an account: its password is sealed by the browser, and sent from there."""
    page.require("create", "accounts")
    enrolled = [one for one in await every(page, "gateways") if one["status"].get("sealingKey")]
    return page.html(
        "new-account.html",
        installation=await page.api.get("installation"),
        gateways=enrolled,
        names=[one["metadata"]["name"] for one in enrolled],
    )


async def act(page: Page) -> Response:
    """Do what one of the forms asks for."""
    wanted = str(page.request.path_params["act"])
    try:
        if wanted == "estate":
            made = await operate(page, "estate", "CloudAccount", page.name, {"measure": True})
        elif wanted == "check":
            made = await operate(page, "check", "CloudAccount", page.name, await _places(page))
        elif wanted == "read-only":
            spec = (await page.api.get("accounts", page.name))["spec"]
            spec["readOnly"] = page.field("readOnly") == "yes"
            version = page.field("version") or None
            await page.api.send("PUT", "accounts", page.name, "spec", body=spec, version=version)
            return page.go("accounts", page.name)
        elif wanted == "delete":
            return await _delete(page)
        else:
            raise HTTPException(404)
    except ProblemError as problem:
        return await account(page, problem)
    return page.go("operations", made["metadata"]["name"])


async def roles(page: Page) -> Response:
    """Show the script that grants what machines need in the places that a check was about."""
    # Loaded by those who want a script: the table of privileges takes its room.
    from moorage.permissions import (  # noqa: PLC0415
        govc_script,
        grants_for,
        powercli_script,
        rows_for,
        terraform_module,
        wanted_features,
    )

    operation = await page.api.get("projects", page.project, "operations", page.name)
    found = operation["spec"]["arguments"].get("targets", [])
    targets = [CheckTarget.model_validate(one) for one in found]
    name = operation["spec"]["subjectName"]
    user = (await page.api.get("accounts", name))["spec"]["username"]
    write = {"govc": govc_script, "powercli": powercli_script, "terraform": terraform_module}
    wanted = page.query("format")
    language = wanted if wanted in write else "govc"
    switches = page.query("switches").replace(",", " ").split()
    grants = grants_for(targets, rows_for(features=wanted_features(targets)), switches)
    return page.html(
        "roles-script.html",
        operation=operation,
        account=name,
        user=user,
        grants=grants,
        script=write[language](grants, user),
        language=language,
        formats=list(FORMATS.items()),
        switches=page.query("switches"),
    )


async def _places(page: Page) -> Json:
    """Return what to check: the places of the form, or those of the clusters that use it."""
    given = {name: page.field(name) for name in _PLACE if page.field(name)}
    if given:
        return {"targets": [given]}
    targets: dict[str, Json] = {}
    clusters: list[Json] = []
    for document in await _clusters(page):
        cluster = Cluster.model_validate(document)
        if cluster.spec.account == page.name:
            targets |= {t.model_dump_json(): t.document() for t in CheckTarget.of_cluster(cluster)}
            clusters.append({"name": cluster.metadata.name})
    if not targets:
        where = f"no cluster in project {page.project} uses account {page.name}"
        raise invalid("datacenter", "name the places to check", where)
    return {
        "targets": list(targets.values())[:_MOST_TARGETS],
        "clusters": clusters[:_MOST_CLUSTERS],
    }


async def _clusters(page: Page) -> list[Json]:
    found: list[Json] = []
    after = ""
    while True:
        answer = await page.api.get(
            "projects", page.project, "clusters", limit=500, **{"continue": after}
        )
        found += answer["items"]
        after = answer.get("continue", "")
        if not after:
            return found


async def _delete(page: Page) -> Response:
    """Delete the account, and the sealed password that no other one uses."""
    if page.field("name") != page.name:
        raise invalid("name", "is not its name", f"{page.name} was not deleted")
    secret = (await page.api.get("accounts", page.name))["spec"]["secret"]
    await page.api.send("DELETE", "accounts", page.name)
    others = [one["spec"]["secret"] for one in await every(page, "accounts")]
    if secret not in others:
        try:
            await page.api.send("DELETE", "secrets", secret)
        except ProblemError as problem:
            if problem.status not in (403, 404, 409):
                raise
    return page.go("accounts")

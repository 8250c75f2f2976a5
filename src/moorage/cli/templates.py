"""``moorage templates``: what machines are cloned from, and its replicas on datastores."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from cyclopts import App

from moorage.cli.say import examples, say

if TYPE_CHECKING:
    from moorage.client import Api
    from moorage.resources import Template, TemplateReplica

app = App(name="templates", help="Templates that machines are cloned from, and their replicas.")
_GIB = 1024**3


@app.command(name="list", help_epilogue=examples("moorage templates list prod"))
async def list_(account: str | None = None) -> None:
    """List the templates that accounts see, by the path that a cluster names.

    Args:
        account: Only those of this cloud account.
    """
    from moorage.cli.context import Context
    from moorage.cli.output import print_table, show_document
    from moorage.cli.settings import output_format
    from moorage.resources import CloudAccount

    async with Context.current().api() as api:
        accounts = await api.list(CloudAccount)
    rows = [
        {"template": path, "account": one.metadata.name}
        for one in accounts
        if account in (None, one.metadata.name)
        for path in one.status.templates
    ]
    if output_format() != "table":
        show_document(rows)
        return
    print_table(("TEMPLATE", "ACCOUNT"), [list(row.values()) for row in rows])


@app.command(help_epilogue=examples("moorage templates replicas"))
async def replicas(account: str | None = None) -> None:
    """List the replicas of templates: copies on other datastores that linked clones hang on.

    Args:
        account: Only those of this cloud account.
    """
    from moorage.cli.context import Context
    from moorage.cli.output import age, show_list
    from moorage.resources import TemplateReplica
    from moorage.resources.phase import phase

    async with Context.current().api() as api:
        every = await api.list(TemplateReplica)
    show_list(
        [one for one in every if account in (None, one.spec.account)],
        (
            ("NAME", lambda r: r.metadata.name),
            ("STATE", phase),
            ("TEMPLATE", lambda r: r.spec.template),
            ("DATASTORE", lambda r: r.spec.datastore),
            ("ACCOUNT", lambda r: r.spec.account),
            ("SIZE", _size),
            ("MACHINES", lambda r: str(r.status.machines)),
            ("AGE", lambda r: age(r.metadata.created_at)),
        ),
    )


@app.command(help_epilogue=examples("moorage templates managed"))
async def managed() -> None:
    """List the templates that were asked for: imported, marked, or kept at hand on datastores."""
    from moorage.cli.context import Context
    from moorage.cli.output import age, show_list
    from moorage.resources import Template
    from moorage.resources.phase import phase

    async with Context.current().api() as api:
        every = await api.list(Template)
    show_list(
        every,
        (
            ("NAME", lambda t: t.metadata.name),
            ("STATE", phase),
            ("TEMPLATE", lambda t: t.status.path or "-"),
            ("ACCOUNT", lambda t: t.spec.account),
            ("PREFETCHED", _prefetched),
            ("AGE", lambda t: age(t.metadata.created_at)),
        ),
    )


@app.command(
    name="import",
    help_epilogue=examples(
        "moorage templates import r_u-2404-0-k-1344-0 --ova https://files.example.com/u.ova \\\n"
        "    --account prod --datacenter dc1 --compute-cluster cc1 --datastore ds1 \\\n"
        "    --network nodes"
    ),
)
async def import_(
    name: str,
    *,
    account: str,
    datacenter: str,
    compute_cluster: str,
    datastore: str,
    network: str,
    ova: str | None = None,
    library_item: str | None = None,
    through: Literal["content-library", "nfc"] = "content-library",
    folder: str | None = None,
    resource_pool: str | None = None,
    sha256: str | None = None,
    ca_bundle: Path | None = None,
    prefetch: list[str] | None = None,
    wait: bool = False,
    timeout_s: float = 7200.0,
) -> int:
    """Import an OVA, or an item of a content library, as a template.

    An OVA is fetched by the gateway, which passes it on to vCenter.

    Args:
        name: What the template is called in vCenter.
        account: Cloud account whose vCenter gets it.
        datacenter: Datacenter that it goes to.
        compute_cluster: Compute cluster that it is deployed on.
        datastore: Datastore that it lies on.
        network: Network that it is plugged into; machines get networks of their own.
        ova: URL that the gateway can reach, or name of a file in the gateway's imports folder.
        library_item: LIBRARY/ITEM in place of an OVA: an OVF template in a content library.
        through: How vCenter takes an OVA in: content-library needs its port 443 only; nfc sends
            disks straight to an ESXi host (port 443 of the hosts).
        folder: VM folder; spectro-templates where there is one, else templates, by default.
        resource_pool: Resource pool; the compute cluster's own by default.
        sha256: Of the OVA; needed for http://.
        ca_bundle: PEM file by which the URL's server is verified, in place of the system's.
        prefetch: Datastore that gets a replica right after; may be repeated.
        wait: Stay until the template is there, showing how far it is; exit with 1 if it fails.
        timeout_s: How long to stay.
    """
    source: dict[str, Any] = {}
    if ova is not None:
        source["url" if "://" in ova else "file"] = ova
    if through == "nfc":
        source["through"] = through
    if library_item is not None:
        library, _, item = library_item.partition("/")
        source["libraryItem"] = {"library": library, "item": item}
    if ca_bundle is not None:
        source["caBundle"] = ca_bundle.read_text(encoding="utf-8")
    spec = {
        "account": account,
        "name": name,
        "source": source,
        "sha256": sha256,
        "datacenter": datacenter,
        "folder": folder,
        "computeCluster": compute_cluster,
        "resourcePool": resource_pool,
        "datastore": datastore,
        "network": network,
        "prefetch": prefetch or [],
    }
    return await _ask(_named(name), spec, timeout_s if wait else None)


@app.command(
    help_epilogue=examples(
        "moorage templates mark golden/ubuntu-2404-kube-v1.34.4 --account prod --datacenter dc1"
    )
)
async def mark(
    path: str,
    *,
    account: str,
    datacenter: str,
    name: str | None = None,
    wait: bool = False,
    timeout_s: float = 300.0,
) -> int:
    """Make a virtual machine of yours a template. It has to be powered off, without snapshots.

    Args:
        path: Path of the virtual machine below the datacenter's VM folder.
        account: Cloud account whose vCenter it is in.
        datacenter: Datacenter that it is in.
        name: What the template is called in Moorage; made of the path by default.
        wait: Stay until it is done; exit with 1 if it cannot be.
        timeout_s: How long to stay.
    """
    spec = {"account": account, "datacenter": datacenter, "source": {"virtualMachine": path}}
    return await _ask(name or _named(path), spec, timeout_s if wait else None)


@app.command(
    help_epilogue=examples(
        "moorage templates prefetch templates/ubuntu-2404-kube-v1.34.4 --datastore ds2 \\\n"
        "    --datastore ds3 --account prod --datacenter dc1 --compute-cluster cc1 --network nodes"
    )
)
async def prefetch(
    template: str,
    *,
    datastore: list[str],
    account: str | None = None,
    datacenter: str | None = None,
    compute_cluster: str | None = None,
    network: str | None = None,
    resource_pool: str | None = None,
    folder: str | None = None,
    name: str | None = None,
    wait: bool = False,
    timeout_s: float = 3600.0,
) -> int:
    """Make replicas of a template on datastores now, so that no machine has to wait for them.

    Of a template that was imported or marked with a compute cluster and network only the
    datastores are needed; its name is given then, as `moorage templates managed` shows it.

    Args:
        template: Path of the template, or the name of one that is managed.
        datastore: Datastore that gets a replica; may be repeated. Those named before keep theirs.
        account: Cloud account that makes the replicas.
        datacenter: Datacenter that the template is in.
        compute_cluster: Compute cluster that makes the copies.
        network: Network that the copies are plugged into.
        resource_pool: Resource pool for the copies; the compute cluster's own by default.
        folder: VM folder of the copies.
        name: What the template is called in Moorage; made of its path by default.
        wait: Stay until the replicas are ready.
        timeout_s: How long to stay.
    """
    from moorage.cli.context import Context
    from moorage.resources import Template

    wanted = name or _named(template)

    def add(one: "Template") -> None:
        one.spec.prefetch = list(dict.fromkeys([*one.spec.prefetch, *datastore]))

    async with Context.current().api() as api:
        if any(one.metadata.name == wanted for one in await api.list(Template)):
            await api.change_spec(Template, wanted, add)
            return await _follow(api, wanted, timeout_s if wait else None)
    spec = {
        "account": account,
        "datacenter": datacenter,
        "source": {"existing": template},
        "computeCluster": compute_cluster,
        "network": network,
        "resourcePool": resource_pool,
        "folder": folder,
        "prefetch": datastore,
    }
    return await _ask(wanted, spec, timeout_s if wait else None)


@app.command(
    help_epilogue=examples("moorage templates describe ubuntu-kube-v1-34-4-0a1b2c3d4e5f6a7b")
)
async def describe(name: str) -> None:
    """Show a template that was asked for, or a replica: each step, and what it waits for.

    Args:
        name: As `moorage templates managed`, or `replicas`, shows it.
    """
    from moorage.cli.context import Context
    from moorage.cli.output import describe_resource, show_one
    from moorage.kit.errors import NotFoundError
    from moorage.resources import Template, TemplateReplica

    async with Context.current().api() as api:
        try:
            template = await api.get(Template, name)
        except NotFoundError:
            template = None
            replica = await api.get(TemplateReplica, name)
    if template is not None:
        show_one(template, lambda: describe_resource(template, _facts(template)))
        return
    spec, status = replica.spec, replica.status
    facts = [
        ("template", f"{spec.template} in {spec.datacenter}"),
        ("datastore", spec.datastore),
        ("folder", spec.folder),
        ("size", _size(replica)),
        ("machines", status.machines),
        ("unused since", status.unused_since or "-"),
        *status.timeline.items(),
    ]
    show_one(replica, lambda: describe_resource(replica, facts))


@app.command(help_epilogue=examples("moorage templates delete ubuntu-2404-kube-v1-34-4"))
async def delete(name: str, *, yes: bool = False) -> None:
    """Forget a template that was asked for. The template itself stays in vCenter.

    Replicas that were made beforehand go when no machine has needed them for a day.

    Args:
        name: As `moorage templates managed` shows it.
        yes: Do not ask for the name again.
    """
    from moorage.cli.deleting import delete_named
    from moorage.resources import Template

    await delete_named(Template, "template", name, yes=yes)


async def _ask(name: str, spec: dict[str, Any], timeout_s: float | None) -> int:
    from moorage.cli.context import Context
    from moorage.cli.documents import build
    from moorage.resources import Template

    given = {field: value for field, value in spec.items() if value is not None}
    template = build(Template, f"template {name}", {"metadata": {"name": name}, "spec": given})
    async with Context.current().api() as api:
        await api.create(template)
        return await _follow(api, name, timeout_s)


async def _follow(api: "Api", name: str, timeout_s: float | None) -> int:
    from moorage.cli.live import Meter, follow
    from moorage.cli.output import show_document
    from moorage.cli.settings import output_format
    from moorage.resources import Template

    def meter_of(template: Template) -> Meter | None:
        status, ready = template.status, template.status.condition("Ready")
        if not status.bytes_total or ready is None or ready.reason != "Uploading":
            return None
        return Meter(status.bytes_done, status.bytes_total, status.bytes_per_second)

    code = 0
    if timeout_s is None:
        say(
            f"template {name} is asked for: `moorage templates describe {name}` shows how far it is"
        )
    else:
        code = await follow(api, Template, name, timeout_s=timeout_s, meter_of=meter_of)
    if output_format() != "table":
        show_document((await api.get(Template, name)).document())
    return code


def _named(path: str) -> str:
    from moorage.resources.template import resource_name

    return resource_name(path)


def _facts(template: "Template") -> list[tuple[str, object]]:
    spec, status = template.spec, template.status
    return [
        ("template", f"{status.path or '-'} in {spec.datacenter}"),
        ("account", spec.account),
        *([("sent", _sent(template))] if spec.source.path is None else []),
        *((f"on {one.datastore}", one.replica or "itself") for one in status.prefetched),
        *status.timeline.items(),
    ]


def _sent(template: "Template") -> str:
    from moorage.cli.live import Meter

    status = template.status
    if not status.bytes_total:
        return "-"
    return Meter(status.bytes_done, status.bytes_total, status.bytes_per_second).text().strip()


def _prefetched(template: "Template") -> str:
    found = template.status.prefetched
    ready = sum(1 for one in found if one.ready)
    return f"{ready}/{len(template.spec.prefetch)}" if template.spec.prefetch else "-"


def _size(replica: "TemplateReplica") -> str:
    size = replica.status.size_bytes
    return "-" if size is None else f"{size / _GIB:.1f} GiB"

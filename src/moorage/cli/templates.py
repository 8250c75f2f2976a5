"""``moorage templates``: what machines are cloned from, and its replicas on datastores."""

from typing import TYPE_CHECKING

from cyclopts import App

from moorage.cli.say import examples

if TYPE_CHECKING:
    from moorage.resources import TemplateReplica

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


@app.command(help_epilogue=examples("moorage templates describe ubuntu-kube-v1-34-4-0a1b2c3d4e5f"))
async def describe(name: str) -> None:
    """Show one replica: each step of its life, and what it waits for.

    Args:
        name: Name of the replica, which its VM in vCenter has too.
    """
    from moorage.cli.context import Context
    from moorage.cli.output import describe_resource, show_one
    from moorage.resources import TemplateReplica

    async with Context.current().api() as api:
        replica = await api.get(TemplateReplica, name)
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


def _size(replica: "TemplateReplica") -> str:
    size = replica.status.size_bytes
    return "-" if size is None else f"{size / _GIB:.1f} GiB"

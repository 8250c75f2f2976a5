"""Templates that somebody asks for: found, or made of a VM, and at hand on datastores."""

from moorage.controllers.gateway.env import Env
from moorage.controllers.gateway.templates.importing import bring_in, take_back
from moorage.controllers.gateway.templates.prefetching import prefetch
from moorage.engine import DONE, Outcome, StepReconciler, step, wait
from moorage.kit.errors import InvalidError, TerminalError
from moorage.resources import Template
from moorage.resources.meta import GATEWAY_FINALIZER

_LOOK_AGAIN_S = 2.0
_ACCOUNT_AGAIN_S = 30.0


@step("Present")
async def ensure_present(template: Template, env: Env) -> Outcome:
    """Find what was named, and mark a virtual machine as a template."""
    vcenter = env.accounts.get(template.spec.account)
    if vcenter is None:
        return _no_account(template)
    status, source = template.status, template.spec.source
    if source.path is None:
        outcome = await bring_in(template, vcenter, env)
        if outcome is not DONE:
            return outcome
    elif status.vm is None or not vcenter.originals.is_shown(status.vm):
        try:
            located = await vcenter.originals.locate(template.spec.datacenter, str(source.path))
        except InvalidError as error:
            raise TerminalError("TemplateNotFound", str(error)) from error
        status.vm, status.path = located.original.template.moref, located.path
        if source.virtual_machine is not None:
            await vcenter.originals.mark(located)
        elif not located.original.is_template:
            raise TerminalError(
                "NotATemplate",
                f"{located.path} is a virtual machine: `moorage templates mark` makes it one",
            )
        if not vcenter.originals.is_shown(status.vm):
            return wait("WaitingForInventory", "vCenter is about to show it", after=_LOOK_AGAIN_S)
    if "Present" not in status.timeline:
        env.stamp(status.timeline, "Present")
        env.trigger("account", f"/{template.spec.account}")  # its list of templates has grown
    return DONE


@step("Prefetched")
async def ensure_prefetched(template: Template, env: Env) -> Outcome:
    """Have a replica on each datastore that is named, and no other."""
    status = template.status
    vcenter = env.accounts.get(template.spec.account)
    if vcenter is None:
        return _no_account(template)
    status.prefetched = await prefetch(template, vcenter, env)
    missing = [one for one in status.prefetched if not one.ready]
    if not missing:
        if status.prefetched:
            env.stamp(status.timeline, "Prefetched")
        return DONE
    said = "; ".join(f"{one.datastore}: {one.message}" for one in missing)
    return wait("MakingReplicas", said, after=_ACCOUNT_AGAIN_S)


@step("RemainsRemoved")
async def ensure_no_remains(template: Template, env: Env) -> Outcome:
    """Take away what an unfinished import has left; the template itself stays."""
    if template.spec.source.path is not None or "Present" in template.status.timeline:
        return DONE
    vcenter = env.accounts.get(template.spec.account)
    return await take_back(template, vcenter) if vcenter is not None else _no_account(template)


def _no_account(template: Template) -> Outcome:
    return wait(
        "AccountNotReady",
        f"cloud account {template.spec.account} is not connected",
        after=_ACCOUNT_AGAIN_S,
    )


TEMPLATE = StepReconciler(
    kind=Template,
    steps=(ensure_present, ensure_prefetched),
    teardown=(ensure_no_remains,),
    finalizer=GATEWAY_FINALIZER,
)

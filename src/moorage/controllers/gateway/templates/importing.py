"""Bring an OVA into vCenter and make a template of it: once, whatever is lost on the way."""

from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager
from functools import partial
from typing import Final, TypeVar

import anyio

from moorage.controllers.gateway.env import Env
from moorage.engine import DONE, Outcome, lease, wait
from moorage.kit.errors import ConflictError, InvalidError, MoorageError, TerminalError
from moorage.resources import Template
from moorage.vsphere import (
    VM,
    Absent,
    Deployment,
    Found,
    ImportPlace,
    OwnerMark,
    Target,
    Transfer,
    Unknown,
    VCenter,
    name_taken,
)
from moorage.vsphere.fetch import Incoming, open_file, open_url
from moorage.vsphere.ova import Descriptor

T = TypeVar("T")

TEMPLATE_KIND: Final = "Template"
"""Kind in the owner mark of a template that was imported."""
_LOOK_AGAIN_S = 2.0
_TELL_S = 2.0
_RATE_LOOKS = 6
"""The rate is that of so many looks, of two seconds each."""
_GIB = 1024**3
_NEVER = ("ChecksumMismatch", "OVAInvalid")
"""What is wrong with an OVA itself: it is not fetched again and again to hear that."""


def private_name(template: Template) -> str:
    """Return what the VM of an import is called until its owner mark stands in it."""
    return f"moorage-import-{template.metadata.uid}"


async def bring_in(template: Template, vcenter: VCenter, env: Env) -> Outcome:
    """Go on with an import, from what vCenter shows of it."""
    status = template.status
    match vcenter.find(template.metadata.uid, moref=status.vm):
        case Found(vm=vm):
            return await _finish(template, vm, vcenter)
        case Unknown(why=why, reason=reason):
            return wait(reason, why, after=_LOOK_AGAIN_S)
    if "Present" in status.timeline:
        return await _gone(template, vcenter)
    return await _begin(template, vcenter, env)


async def _begin(template: Template, vcenter: VCenter, env: Env) -> Outcome:
    """Go on where there is no virtual machine with the import's mark yet."""
    uid, status = template.metadata.uid, template.status
    if status.refused is not None:
        reason, _, said = status.refused.partition(": ")
        raise TerminalError(reason, said)
    place = _place(template, vcenter)
    remains = await vcenter.imports.remove_debris(place.folder, private_name(template), uid)
    if remains:
        return wait("RemovingRemains", remains, after=_LOOK_AGAIN_S)
    item = template.spec.source.library_item
    if item is not None:
        await vcenter.imports.check_name(place.folder, str(template.spec.name))
    elif template.spec.source.through == "nfc":
        await vcenter.imports.check_name(place.folder, str(template.spec.name))
        status.vm = await _send_to_host(template, place, vcenter, env)
        return _deployed(template, env)
    elif not status.uploaded:
        await vcenter.imports.check_name(place.folder, str(template.spec.name))
        await _upload(template, place, vcenter, env)
        status.uploaded = True
        env.stamp(status.timeline, "Uploaded")
        return wait("Deploying", "the OVA was sent", after=0)  # noted before what comes next
    deployment = Deployment(
        name=private_name(template),
        annotation=_annotation(template),
        folder=place.folder,
        resource_pool=place.resource_pool,
        datastore=place.datastore,
        network=place.network,
        networks=tuple(status.networks),
        source=None if item is None else (item.library, item.item),
    )
    made = await vcenter.imports.deploy(uid, deployment, _mark(template, env))
    if made is None:
        status.uploaded = False
        return wait("Uploading", "the content library is gone: it is sent again", after=0)
    status.vm = made
    return _deployed(template, env)


def _deployed(template: Template, env: Env) -> Outcome:
    env.stamp(template.status.timeline, "Deployed")
    return wait("WaitingForInventory", "vCenter is about to show it", after=_LOOK_AGAIN_S)


def _mark(template: Template, env: Env) -> OwnerMark:
    return OwnerMark(installation=env.installation, kind=TEMPLATE_KIND, uid=template.metadata.uid)


def _annotation(template: Template) -> str:
    return f"Imported by Moorage ({template.metadata.uid}) from {template.spec.source.shown()}"


async def take_back(template: Template, vcenter: VCenter) -> Outcome:
    """Take away what an import that did not come to its end has made; a template stays."""
    uid, status = template.metadata.uid, template.status
    if "Present" in status.timeline or template.spec.source.path is not None:
        return DONE
    match vcenter.find(uid, moref=status.vm):
        case Found(vm=vm):
            started = await vcenter.destroy(vm)
            return wait("Destroying", f"waits for {started}", after=_LOOK_AGAIN_S)
        case Unknown(why=why, reason=reason):
            return wait(reason, why, after=_LOOK_AGAIN_S)
    if template.spec.source.through != "nfc":
        await vcenter.imports.remove_library(uid)
    try:
        place = _place(template, vcenter)
    except TerminalError:
        return DONE  # nothing can have been made at a place that is not there
    remains = await vcenter.imports.remove_debris(place.folder, private_name(template), uid)
    return wait("RemovingRemains", remains, after=_LOOK_AGAIN_S) if remains else DONE


async def _finish(template: Template, vm: VM, vcenter: VCenter) -> Outcome:
    status, name = template.status, str(template.spec.name)
    status.vm = vm.moref
    if not vm.identity_intact and vm.owner is not None:
        await vcenter.set_identity(vm, vm.owner)
        return wait("IdentityLost", "the VM's UUID is another; it is set again")
    if vm.template:
        status.path = vcenter.originals.path_of(vm)
        return DONE
    if status.uploaded:
        await vcenter.imports.remove_library(template.metadata.uid)
        status.uploaded = False
    if vm.name != name:
        try:
            started = await vcenter.imports.rename(vm, name)
        except ConflictError as error:
            raise name_taken(name) from error
        return wait("Renaming", f"waits for {started}", after=_LOOK_AGAIN_S)
    if not vm.has_snapshots and vm.folder is not None:
        # Linked clones beside it hang on the template itself then, without a replica.
        missing = await vcenter.replicas.missing_privileges(vm.folder)
        if "VirtualMachine.State.CreateSnapshot" not in missing:
            started = await vcenter.replicas.take_snapshot(vm)
            return wait("TakingSnapshot", f"waits for {started}", after=_LOOK_AGAIN_S)
    try:
        await vcenter.replicas.mark_as_template(vm)
    except TerminalError as error:
        if error.reason != "NotSupported":  # what vCenter says of one that is a template now
            raise
    return wait("MarkingAsTemplate", "vCenter is about to show it", after=_LOOK_AGAIN_S)


async def _gone(template: Template, vcenter: VCenter) -> Outcome:
    status = template.status
    seen = await vcenter.prove_absent(template.metadata.uid, status.vm, name=str(status.path))
    if not isinstance(seen, Absent):
        return wait("InventoryUnknown", "it is looked for again", after=_LOOK_AGAIN_S)
    raise TerminalError(
        "TemplateGone",
        f"{status.path} was deleted in vCenter, and is not imported again by itself: delete "
        f"template {template.metadata.name} here, and ask for it anew",
    )


async def _upload(template: Template, place: ImportPlace, vcenter: VCenter, env: Env) -> None:
    """Send the OVA to a content library."""

    async def send(transfer: Transfer) -> Descriptor:
        return await vcenter.imports.upload(
            template.metadata.uid,
            place.datastore,
            partial(_open, template, env, transfer),
            template.spec.sha256,
            transfer,
        )

    descriptor = await _told(template, env, send)
    template.status.networks = list(descriptor.networks)


async def _send_to_host(template: Template, place: ImportPlace, vcenter: VCenter, env: Env) -> str:
    """Make a virtual machine of the OVA by an NFC lease, and return its moref."""

    async def send(transfer: Transfer) -> str:
        return await vcenter.imports.leases.bring_in(
            private_name(template),
            _annotation(template),
            place,
            partial(_open, template, env, transfer),
            template.spec.sha256,
            transfer,
            _mark(template, env),
        )

    return await _told(template, env, send)


async def _told(template: Template, env: Env, send: Callable[[Transfer], Awaitable[T]]) -> T:
    """Send the OVA; meanwhile the status says how far it is.

    The one step that lasts: a transfer cannot be cut into passes. The pass keeps its lease for as
    long, and ends with it, or with the deletion of the template.
    """
    transfer = Transfer()
    failure: MoorageError | None = None
    sent: list[T] = []
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_tell, template, transfer, env)
        try:
            sent.append(await send(transfer))
        except MoorageError as error:
            failure = error
        tasks.cancel_scope.cancel()
    status = template.status
    status.bytes_done, status.bytes_total = transfer.done, transfer.total
    status.bytes_per_second = 0
    if isinstance(failure, TerminalError) and failure.reason in _NEVER:
        status.refused = f"{failure.reason}: {failure}"
    if failure is not None:
        raise failure
    return sent[0]


async def _tell(template: Template, transfer: Transfer, env: Env) -> None:
    held = lease.current()
    seen = deque([(env.clock.steady(), 0)], maxlen=_RATE_LOOKS)
    while True:
        status = template.status
        status.bytes_done, status.bytes_total = transfer.done, transfer.total
        now_at = env.clock.steady()
        if now_at > seen[0][0]:
            rate = (transfer.done - seen[0][1]) / (now_at - seen[0][0])
            status.bytes_per_second = max(0, round(rate))
        seen.append((now_at, transfer.done))
        if transfer.total:
            share = 100 * transfer.done // transfer.total
            said = (
                f"{transfer.done / _GIB:.2f} of {transfer.total / _GIB:.2f} GiB ({share} %) were "
                "sent to vCenter"
            )
        else:
            said = f"waits for {template.spec.source.shown()}"
        for condition in ("Present", "Ready"):
            status.set_condition(
                condition,
                "False",
                "Uploading",
                said,
                now=env.clock.now(),
                generation=template.metadata.generation,
            )
        now = await env.store.find(Template, *template.key)
        if now is None or now.is_deleting:
            transfer.stopped.set()
        elif held is not None:
            await env.store.put_status(template.copy_deep(), lease=held.lease)
        await anyio.sleep(_TELL_S)


def _open(template: Template, env: Env, transfer: Transfer) -> AbstractContextManager[Incoming]:
    source = template.spec.source
    if source.url is not None:
        return open_url(source.url, ca_bundle=source.ca_bundle, pause=transfer.stopped.wait)
    return open_file(env.imports_folder, str(source.file))


def _place(template: Template, vcenter: VCenter) -> ImportPlace:
    spec = template.spec
    target = Target(
        datacenter=spec.datacenter,
        folder=spec.folder or vcenter.originals.default_folder(spec.datacenter),
        template="",
        compute_cluster=str(spec.compute_cluster),
        resource_pool=spec.resource_pool,
        datastore=str(spec.datastore),
        network=str(spec.network),
        path="spec",
        shared_path="spec",
    )
    try:
        return vcenter.originals.place(target)
    except InvalidError as error:
        raise TerminalError("PlacementInvalid", str(error)) from error

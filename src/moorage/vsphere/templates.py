"""Templates: which there are, and what cloning one needs to know of it."""

import hashlib
import json
from collections.abc import Iterable
from typing import Any

from pyVmomi import vim

from moorage.kit.errors import ForbiddenError, NotFoundError
from moorage.vsphere.properties import Collector, Values, Want, keyed, moref, retrieve, text
from moorage.vsphere.session import Session
from moorage.vsphere.template import (
    Disk,
    NetworkBacking,
    Nic,
    Original,
    Template,
)
from moorage.vsphere.types import OWNER_KEY, Power

_TEMPLATE_PATHS = (
    "name",
    "config.changeVersion",
    "config.instanceUuid",
    "config.hardware.device",
    "config.hardware.numCoresPerSocket",
    "config.version",
    "config.firmware",
    "config.guestId",
    "config.keyId",
    "config.extraConfig",
    "config.vAppConfig.property",
    "snapshot",
    "summary.storage.committed",
)
STORAGE_DRS = (
    "podStorageDrsEntry.storageDrsConfig.podConfig.enabled",
    "podStorageDrsEntry.storageDrsConfig.podConfig.defaultVmBehavior",
)
"""Of a datastore cluster."""
_SEMVER = "KUBERNETES_SEMVER"
"""Key of the OVA property that image-builder writes (``images/capi/hack/image-build-ova.py``)."""
_INHERITED = ("guestinfo.", "moorage.")


def read_template_and_network(
    session: Session, template: str, network: str, network_kind: str, beside: Iterable[Want] = ()
) -> tuple[Template, NetworkBacking, dict[str, Values]]:
    """Fetch both in one call, and whatever else is wanted; inside ``Session.run``.

    Returns both, and what was found of everything, by moref.
    """
    wants = [
        *beside,
        Want(vim.VirtualMachine, [template], _TEMPLATE_PATHS),
        _network_want(network, network_kind),
    ]
    found = retrieve(session, wants)
    for name, what in ((template, "template"), (network, "network")):
        if name not in found:
            raise NotFoundError(f"{what} {name} is no longer in vCenter")
    return _template(template, found[template]), _network(network, found), found


def read_original(session: Session, vm: str) -> Original:
    """Fetch a template, or a VM that may become one; inside ``Session.run``.

    Raises ``NotFoundError`` when it is gone.
    """
    paths = (*_TEMPLATE_PATHS, "config.template", "runtime.powerState", keyed(OWNER_KEY))
    values = retrieve(session, [Want(vim.VirtualMachine, [vm], paths)]).get(vm)
    if not values:
        raise NotFoundError(f"virtual machine {vm} is no longer in vCenter")
    power = values.get("runtime.powerState")
    return Original(
        template=_template(vm, values),
        is_template=bool(values.get("config.template")),
        is_off=power == Power.OFF,
        owner=text(values.get(keyed(OWNER_KEY))),
    )


def read_network(session: Session, network: str, kind: str) -> NetworkBacking:
    """Fetch what a network card is plugged into; inside ``Session.run``."""
    found = retrieve(session, [_network_want(network, kind)])
    if network not in found:
        raise NotFoundError(f"network {network} is no longer in vCenter")
    return _network(network, found)


def _network_want(network: str, kind: str) -> Want:
    match kind:
        case "DistributedVirtualPortgroup":
            switch = Collector.TraversalSpec(
                name="switch",
                type=vim.dvs.DistributedVirtualPortgroup,
                path="config.distributedVirtualSwitch",
                skip=False,
            )
            return Want(
                vim.dvs.DistributedVirtualPortgroup,
                [network],
                ["name", "config.key", "config.distributedVirtualSwitch"],
                via=[switch],
                also={vim.DistributedVirtualSwitch: ["uuid"]},
            )
        case "OpaqueNetwork":
            return Want(vim.OpaqueNetwork, [network], ["name", "summary"])
    return Want(vim.Network, [network], ["name"])


def read_macs(session: Session, vm: str) -> tuple[str, ...]:
    """Fetch the MAC addresses of a VM's network cards, in the order of the cards."""
    paths = ["config.hardware.device"]
    values = retrieve(session, [Want(vim.VirtualMachine, [vm], paths)]).get(vm, {})
    cards = [
        one
        for one in values.get("config.hardware.device") or ()
        if isinstance(one, vim.vm.device.VirtualEthernetCard)
    ]
    return tuple(text(card.macAddress).lower() for card in sorted(cards, key=lambda one: one.key))


def moves_disks(pod: Values) -> bool:
    """Tell whether storage DRS moves disks between a cluster's datastores by itself.

    What the account may not read counts as such: a full clone is right in either case.
    """
    enabled, behaviour = (pod.get(path) for path in STORAGE_DRS)
    return enabled is None or (bool(enabled) and str(behaviour) != "manual")


def _template(moref_: str, values: Values) -> Template:
    devices = values.get("config.hardware.device") or []
    snapshot = values.get("snapshot")
    return Template(
        moref=moref_,
        name=text(values.get("name")),
        snapshot=moref(snapshot.currentSnapshot) if snapshot is not None else None,
        disks=tuple(_disk(one) for one in devices if isinstance(one, vim.vm.device.VirtualDisk)),
        nics=tuple(
            _nic(one) for one in devices if isinstance(one, vim.vm.device.VirtualEthernetCard)
        ),
        guestinfo_keys=tuple(
            sorted(
                option.key
                for option in values.get("config.extraConfig") or ()
                if option.key.startswith(_INHERITED)
            )
        ),
        firmware=text(values.get("config.firmware")),
        hardware_version=text(values.get("config.version")),
        guest_id=text(values.get("config.guestId")),
        digest=_digest(moref_, values),
        committed_bytes=int(values.get("summary.storage.committed") or 0),
        kubernetes_version=_semver(values.get("config.vAppConfig.property")),
        cores_per_socket=int(values.get("config.hardware.numCoresPerSocket") or 1),
        unfit=_unfit(devices, is_encrypted=values.get("config.keyId") is not None),
    )


def _unfit(devices: Iterable[Any], *, is_encrypted: bool) -> str:
    """Return why no machine can be made of a template with these devices, else ``""``."""
    devices = list(devices)
    disks = [one for one in devices if isinstance(one, vim.vm.device.VirtualDisk)]
    if not disks:
        return "has no disk"
    if is_encrypted or any(getattr(one.backing, "keyId", None) is not None for one in disks):
        return (
            "is encrypted: its clones would need a key provider and cryptographic privileges, "
            "which Moorage does not use. Give one that is not encrypted"
        )
    if any(isinstance(one, vim.vm.device.VirtualTPM) for one in devices):
        return (
            "has a virtual TPM: all machines would get the secrets in it, and an encrypted home. "
            "Remove the TPM from the template, or give another one"
        )
    return ""


def _digest(moref_: str, values: Values) -> str:
    """Return what changes with whatever a clone would get of the template.

    The content ID of a disk changes with what is written to it, the configuration's version with
    all else; a template that was made anew under the same name has another moref.
    """
    devices = values.get("config.hardware.device") or ()
    contents = [
        getattr(one.backing, "contentId", None)
        for one in devices
        if isinstance(one, vim.vm.device.VirtualDisk)
    ]
    who = [moref_, text(values.get("config.instanceUuid"))]
    what = [*who, text(values.get("config.changeVersion")), contents]
    return hashlib.sha256(json.dumps(what).encode()).hexdigest()


def _semver(properties: Iterable[Any] | None) -> str | None:
    for one in properties or ():
        if one.id == _SEMVER:
            return text(one.value) or text(one.defaultValue) or None
    return None


def _disk(device: Any) -> Disk:
    capacity = device.capacityInBytes or (device.capacityInKB or 0) * 1024
    return Disk(
        key=device.key,
        controller_key=device.controllerKey,
        unit_number=device.unitNumber,
        capacity_bytes=int(capacity),
        datastore=moref(getattr(device.backing, "datastore", None)),
        independent=text(getattr(device.backing, "diskMode", "")).startswith("independent"),
    )


def _nic(device: Any) -> Nic:
    return Nic(
        key=device.key,
        controller_key=device.controllerKey,
        unit_number=device.unitNumber,
        type_name=type(device).__name__.rpartition(".")[2],
    )


def _network(moref_: str, found: dict[str, Values]) -> NetworkBacking:
    values = found[moref_]
    name = text(values.get("name"))
    switch = moref(values.get("config.distributedVirtualSwitch"))
    if switch is not None:
        uuid = text(found.get(switch, {}).get("uuid"))
        if not uuid:
            raise ForbiddenError(
                f"the account cannot read the distributed switch of network {name} ({switch}): "
                "grant a role there (System.Read), it need not propagate"
            )
        return NetworkBacking(
            moref=moref_,
            name=name,
            portgroup_key=text(values.get("config.key")),
            switch_uuid=uuid,
        )
    summary = values.get("summary")
    if summary is not None:
        return NetworkBacking(
            moref=moref_,
            name=name,
            opaque_id=summary.opaqueNetworkId,
            opaque_type=summary.opaqueNetworkType,
        )
    return NetworkBacking(moref=moref_, name=name)

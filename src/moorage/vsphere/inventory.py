"""The VMs of one vCenter in memory: what the stream pushed, read by everybody.

Kept are VMs that bear an owner mark, templates, and what came after the first sync (a clone of
ours may get its mark a moment after it appears). Of all other VMs, only their addresses are kept.
"""

import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from ipaddress import ip_address
from itertools import islice
from typing import Any

from moorage.vsphere.properties import Values, keyed, lower, moref, text
from moorage.vsphere.reported import Reported
from moorage.vsphere.types import (
    OWNER_KEY,
    PROGRESS_KEY,
    REPLY_KEY,
    USERDATA_ENCODING_KEY,
    VM,
    OwnerMark,
    Power,
)

Fields = Callable[[VM, Any], Mapping[str, Any]]


_MOST_ADDRESSES = 32
_LONGEST_VALUE = 256 * 1024


def _usable(given: str) -> str | None:
    """Return an address that others can reach, in its one normal form; ``None`` for all else."""
    try:
        address = ip_address(given)
    except ValueError:
        return None
    return None if address.is_link_local else str(address)


def card_addresses(nics: Any) -> tuple[str, ...]:
    """Return the addresses in a ``guest.net``, of the VM's own cards and not link-local."""
    # Bridges and tunnels of a pod network have no card of the VM behind them: the API says -1.
    cards = [nic for nic in nics or () if nic.deviceConfigId >= 0]
    usable = (ip for nic in cards for one in nic.ipAddress or () if (ip := _usable(one)))
    return tuple(islice(usable, _MOST_ADDRESSES))


def _network(_: VM, nics: Any) -> Mapping[str, Any]:
    nics = nics or ()
    return {
        "addresses": card_addresses(nics),
        "macs": tuple(lower(nic.macAddress) for nic in nics if nic.macAddress)[:_MOST_ADDRESSES],
    }


def _guest_key(key: str) -> Fields:
    def fields(vm: VM, value: Any) -> Mapping[str, Any]:
        rest = {name: old for name, old in vm.extra.items() if name != key}
        said = text(value)[:_LONGEST_VALUE]
        return {"extra": {**rest, key: said} if said else rest}

    return fields


def vm_paths(owner_key: str = OWNER_KEY) -> dict[str, Fields]:
    """Return the watched paths of a VM, each with what it means for ``VM``."""
    return {
        "name": lambda _, v: {"name": text(v)},
        "config.instanceUuid": lambda _, v: {"instance_uuid": lower(v)},
        "config.uuid": lambda _, v: {"bios_uuid": lower(v)},
        "config.template": lambda _, v: {"template": bool(v)},
        "config.changeVersion": lambda _, v: {"change_version": text(v) or None},
        "runtime.powerState": lambda _, v: {"power": Power(v) if v else Power.OFF},
        "runtime.host": lambda _, v: {"host": moref(v)},
        "guest.net": _network,
        "guest.toolsRunningStatus": lambda _, v: {"tools_running": v == "guestToolsRunning"},
        "parent": lambda _, v: {"folder": moref(v)},
        "resourcePool": lambda _, v: {"resource_pool": moref(v)},
        keyed(owner_key): lambda _, v: {"owner": OwnerMark.parse(text(v))},
        keyed(PROGRESS_KEY): _guest_key(PROGRESS_KEY),
        keyed(REPLY_KEY): _guest_key(REPLY_KEY),
        "rootSnapshot": lambda _, v: {"has_snapshots": bool(v)},
        keyed(USERDATA_ENCODING_KEY): lambda _, v: {"has_user_data": bool(text(v))},
    }


def make_vm(moref_: str, values: Values, paths: Mapping[str, Fields]) -> VM:
    """Return a VM from fetched properties."""
    blank = VM(moref=moref_, name="", instance_uuid="", bios_uuid="", power=Power.OFF)
    fields: dict[str, Any] = {}
    extra: dict[str, str] = {}
    for path, value in values.items():
        if path in paths:
            new = paths[path](blank, value)
            extra.update(new.get("extra", {}))
            fields.update(new)
    return replace(blank, **{**fields, "extra": extra})


def changed_vm(vm: VM, values: Mapping[str, Any], paths: Mapping[str, Fields]) -> VM:
    """Return the VM after changes; a value of ``None`` means that the property was unset."""
    for path, value in values.items():
        if path in paths:
            vm = replace(vm, **paths[path](vm, value))
    return vm


@dataclass(slots=True)
class Model:
    """One consistent picture, filled by one run of the stream."""

    vms: dict[str, VM] = field(default_factory=dict)
    by_uid: dict[str, set[str]] = field(default_factory=dict)
    by_cluster: dict[str, set[str]] = field(default_factory=dict)
    templates: set[str] = field(default_factory=set)
    reported: Reported = field(default_factory=Reported)
    """Who has which address, strangers among them."""

    def put(self, vm: VM) -> None:
        """Insert or replace."""
        self.drop(vm.moref)
        self.vms[vm.moref] = vm
        if vm.template:
            self.templates.add(vm.moref)
        if vm.owner is not None and vm.owner.cluster:
            self.by_cluster.setdefault(vm.owner.cluster, set()).add(vm.moref)
        for key in keys_of(vm):
            self.by_uid.setdefault(key, set()).add(vm.moref)

    def drop(self, moref_: str) -> VM | None:
        """Remove, and return what was there."""
        old = self.vms.pop(moref_, None)
        self.templates.discard(moref_)
        if old is not None and old.owner is not None:
            siblings = self.by_cluster.get(old.owner.cluster, set())
            siblings.discard(moref_)
            if not siblings:
                self.by_cluster.pop(old.owner.cluster, None)
        for key in keys_of(old):
            at = self.by_uid.get(key)
            if at is not None:
                at.discard(moref_)
                if not at:
                    del self.by_uid[key]
        return old

    def of(self, uid: str) -> list[VM]:
        """Return the VMs that bear this UID, as mark or as instance UUID."""
        return [self.vms[moref_] for moref_ in sorted(self.by_uid.get(uid, ()))]


def _newest_first(vms: Iterable[VM]) -> list[VM]:
    """Sort by epoch, the highest first."""
    return sorted(vms, key=lambda vm: (-(vm.owner.epoch if vm.owner else 0), vm.moref))


def keys_of(vm: VM | None) -> frozenset[str]:
    """Return the UIDs under which a VM is looked for: its mark's, and its instance UUID."""
    if vm is None:
        return frozenset()
    keys = {vm.instance_uuid} if vm.instance_uuid else set()
    return frozenset(keys | {vm.owner.uid} if vm.owner else keys)


class Inventory:
    """What the stream saw last, and whether it is complete and live now."""

    def __init__(self, owner_key: str = OWNER_KEY) -> None:
        self.paths = vm_paths(owner_key)
        self.synced = threading.Event()
        """Set while a complete picture is there and the stream lives."""
        self.why_not = "the first complete sync is not done"
        self._lock = threading.Lock()
        self._model = Model()

    # For the stream

    def begin(self) -> Model:
        """Return an empty model for a new sync; what was seen before stays readable."""
        return Model()

    def complete(self, model: Model) -> frozenset[str]:
        """Take a completely synced model; return the UIDs for which it differs from the last."""
        with self._lock:
            before, self._model = self._model, model
            changed: set[str] = set()
            for moref_ in before.vms.keys() | model.vms.keys():
                old, new = before.vms.get(moref_), model.vms.get(moref_)
                if old != new:
                    changed |= keys_of(old) | keys_of(new)
        self.why_not = ""
        self.synced.set()
        return frozenset(changed)

    def lost(self, why: str) -> None:
        """Note that the stream is down: from now on nobody can tell."""
        self.why_not = why
        self.synced.clear()

    def enter(self, model: Model, moref_: str, values: Values, *, first: bool) -> frozenset[str]:
        """Take a VM that came into view."""
        vm = make_vm(moref_, values, self.paths)
        with self._lock:
            model.reported.put(moref_, vm.addresses)
            if first and vm.owner is None and not vm.template:
                return frozenset()
            old = model.vms.get(moref_)
            model.put(vm)
        return keys_of(vm) | keys_of(old)

    def modify(self, model: Model, moref_: str, values: Values) -> frozenset[str] | None:
        """Take changes; ``None`` asks for all properties of a VM of which nothing was kept."""
        with self._lock:
            old = model.vms.get(moref_)
            if old is None:
                fields: dict[str, Any] = {}
                blank = make_vm(moref_, {}, self.paths)
                for path, value in values.items():
                    if path in self.paths:
                        fields |= self.paths[path](blank, value)
                if "addresses" in fields:
                    model.reported.put(moref_, fields["addresses"])
                return None if fields.get("owner") or fields.get("template") else frozenset()
            new = changed_vm(old, values, self.paths)
            model.put(new)
            model.reported.put(moref_, new.addresses)
        return keys_of(old) | keys_of(new) if new != old else frozenset()

    def leave(self, model: Model, moref_: str) -> frozenset[str]:
        """Take the end of a VM."""
        with self._lock:
            model.reported.put(moref_, ())
            return keys_of(model.drop(moref_))

    # For everybody

    def of(self, uid: str) -> list[VM]:
        """Return the VMs that bear this UID, as mark or as instance UUID."""
        with self._lock:
            return self._model.of(uid)

    def of_cluster(self, uid: str) -> list[VM]:
        """Return the VMs whose marks name this cluster, those with the highest epoch first."""
        with self._lock:
            model = self._model
            return _newest_first(model.vms[one] for one in model.by_cluster.get(uid, ()))

    def clusters_on(self, hosts: Collection[str]) -> frozenset[str]:
        """Return the UIDs of the clusters that have a VM on some hosts, by their marks."""
        with self._lock:
            owners = [vm.owner for vm in self._model.vms.values() if vm.host in hosts]
        return frozenset(owner.cluster for owner in owners if owner is not None and owner.cluster)

    def get(self, moref_: str) -> VM | None:
        """Return a kept VM."""
        return self._model.vms.get(moref_)

    def seen_at(self, address: str) -> tuple[str, ...]:
        """Return the morefs of all VMs, strangers among them, that report an address."""
        with self._lock:
            return self._model.reported.at(address)

    def originals(self) -> list[VM]:
        """Return the templates that people made, by moref."""
        with self._lock:
            model = self._model
            kept = [model.vms[one] for one in sorted(model.templates)]
        return [vm for vm in kept if vm.is_original]

    def all(self) -> Iterator[VM]:
        """Return all kept VMs, by moref."""
        with self._lock:
            kept: Iterable[VM] = sorted(self._model.vms.values(), key=lambda vm: vm.moref)
        return iter(kept)

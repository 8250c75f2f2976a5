"""Secrets taken out of a VM's ``extraConfig`` once its node has joined: emptied, and read back."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial

import anyio

from moorage.kit.errors import NotFoundError
from moorage.vsphere import guestinfo
from moorage.vsphere.effects import Effects
from moorage.vsphere.inventory import Inventory
from moorage.vsphere.session import Session
from moorage.vsphere.types import VM, TaskRef, TaskState

_GATHER_S = 0.1
"""How long a read waits for others: machines of one cluster join within moments of each other."""


@dataclass(frozen=True, slots=True)
class _Begun:
    """The change that was started, and what the VM was like before."""

    task: str | None
    before: VM


@dataclass(slots=True, eq=False)
class _Ask:
    """Somebody who waits for the values of keys."""

    vm: VM
    keys: frozenset[str]
    answered: bool = False
    answer: dict[str, str] | None = None
    """None when the VM is gone."""


@dataclass(slots=True)
class Clearing:
    """Empties keys in two calls: one starts the change, one reads back when it has been made."""

    _session: Session
    _inventory: Inventory
    _effects: Effects
    _begun: dict[str, _Begun] = field(default_factory=dict)
    """By moref, of the VMs whose keys are being emptied."""
    _asks: list[_Ask] = field(default_factory=list)
    _turn: anyio.Lock = field(default_factory=anyio.Lock)

    async def clear(self, vm: VM, keys: Iterable[str]) -> list[str]:
        """Empty keys; returns those that may still be there. Ask again until there are none.

        The first call asks nobody what a guest may have redacted by itself. Nothing is read, and
        nothing started again, while vCenter is still at it.
        """
        names = list(keys)
        seen = self._inventory.get(vm.moref) or vm
        begun = self._begun.get(vm.moref)
        if begun is None:
            done = partial(self._has_no_user_data, vm.moref) if seen.has_user_data else None
            started = await self.set(seen, dict.fromkeys(names, ""), done, None)
            self._begun[vm.moref] = _Begun(started.moref, seen)
            return names
        if self._is_under_way(begun, seen):
            return names
        left = await self.read(vm, names)
        if not left:
            del self._begun[vm.moref]
        elif not self._runs(begun):
            started = await self.set(seen, dict.fromkeys(left, ""), None, None)
            self._begun[vm.moref] = _Begun(started.moref, seen)
        return list(left)

    async def set(
        self,
        vm: VM,
        values: Mapping[str, str],
        is_done: Callable[[], bool] | None,
        deadline_s: float | None,
    ) -> TaskRef:
        """Start to set keys; see ``VCenter.set_guestinfo`` and ``Effects.start``."""
        start = partial(guestinfo.set_extra_config, values=values)
        detail = frozenset(values.items())
        return await self._effects.start(
            "reconfigure", start, vm, is_done, deadline_s, detail=detail
        )

    async def read(self, vm: VM, keys: Iterable[str]) -> dict[str, str]:
        """Return the values of keys, read from vCenter now; unset and empty ones are left out.

        Who asks while a call is under way shares the next one with all others who do.

        Raises:
            NotFoundError: The VM is no longer there.
        """
        ask = _Ask(vm, frozenset(keys))
        self._asks.append(ask)
        try:
            async with self._turn:
                if not ask.answered:
                    await anyio.sleep(_GATHER_S)
                    await self._read_all([one for one in self._asks if not one.answered])
        finally:
            self._asks.remove(ask)
        if ask.answer is None:
            raise NotFoundError(f"VM {vm.name} ({vm.moref}) is no longer in vCenter")
        return ask.answer

    async def _read_all(self, asks: list[_Ask]) -> None:
        keys: dict[str, frozenset[str]] = {}
        for ask in asks:
            keys[ask.vm.moref] = keys.get(ask.vm.moref, frozenset()) | ask.keys
        names = ", ".join(sorted({ask.vm.name for ask in asks}))
        found = await self._session.call(
            f"read extraConfig of VM {names}",
            partial(guestinfo.read_extra_config, self._session, keys),
        )
        for ask in asks:
            ask.answered = True
            if (values := found.get(ask.vm.moref)) is not None:
                ask.answer = {key: values[key] for key in ask.keys & values.keys()}

    def _is_under_way(self, begun: _Begun, seen: VM) -> bool:
        """Tell whether nothing speaks for the change's end yet.

        Its effect may be in memory before its task's end is. Where there was nothing to see of it,
        any change of the VM is taken for it: a wrong guess costs a call that finds the keys there.
        """
        if begun.before.has_user_data:
            shows_it = not seen.has_user_data
        else:
            shows_it = seen.change_version != begun.before.change_version
        return self._runs(begun) and not shows_it

    def _runs(self, begun: _Begun) -> bool:
        task = self._effects.known_task(begun.task) if begun.task else None
        return task is not None and task.state is TaskState.RUNNING

    def _has_no_user_data(self, moref: str) -> bool:
        vm = self._inventory.get(moref)
        return vm is not None and not vm.has_user_data

"""Which VMs bear a cluster's mark, with which epoch: vCenter is the fence (design, 3.5)."""

import math
import time
from dataclasses import dataclass, field
from functools import partial

from moorage.vsphere.ownership import Ownership
from moorage.vsphere.power import read_marks
from moorage.vsphere.session import Session
from moorage.vsphere.stream import Stream
from moorage.vsphere.types import VM, OwnerMark


@dataclass(slots=True)
class Marks:
    """Reads the owner marks of one vCenter, from memory where that is new enough."""

    _session: Session
    _stream: Stream
    _ownership: Ownership
    _read_at: dict[str, float] = field(default_factory=dict)
    """Cluster UID -> when one of its marks was last read directly (``time.monotonic``)."""

    @property
    def is_complete(self) -> bool:
        """Tell whether every VM that the account can see is in memory now."""
        return self._stream.inventory.synced.is_set()

    def of_cluster(self, uid: str) -> list[VM]:
        """Return the VMs whose marks name this cluster, from memory, the highest epoch first.

        Copies are among them: a copy bears the mark of its original.
        """
        return [
            vm
            for vm in self._stream.inventory.of_cluster(uid)
            if vm.owner is not None and self._ownership.is_marked(vm, vm.owner.uid)
        ]

    def highest_seen(self, cluster: str) -> int:
        """Return the highest epoch in the marks of a cluster's VMs, from memory; 0 without VMs."""
        vms = self.of_cluster(cluster)
        return vms[0].owner.epoch if vms and vms[0].owner is not None else 0

    async def highest_epoch(self, cluster: str, *, max_age_s: float) -> int:
        """Return the same, reading the marks now (one call) if memory is older than ``max_age_s``.

        So a process that was stopped for a while does not act on what it remembers: whoever
        takes a cluster over writes its epoch into all of its VMs before anything else.
        """
        vms = self.of_cluster(cluster)
        seen = self.highest_seen(cluster)
        asked_at = time.monotonic()
        known_at = max(self._stream.true_at, self._read_at.get(cluster, -math.inf))
        if not vms or asked_at - known_at <= max_age_s:
            return seen
        read = await self._session.call(
            f"read the owner marks of {len(vms)} VMs", partial(read_marks, self._session, vms)
        )
        self._read_at[cluster] = asked_at
        return max(seen, *(mark.epoch for mark in read), 0)

    def shows(self, moref: str, mark: OwnerMark) -> bool:
        """Tell whether a VM is seen to bear exactly this mark, and the instance UUID in it."""
        vm = self._stream.inventory.get(moref)
        return vm is not None and vm.owner == mark and vm.identity_intact

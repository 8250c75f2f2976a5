"""Which VMs bear a cluster's mark, with which epoch: vCenter is the fence (design, 3.5)."""

import math
import time
from dataclasses import dataclass, field
from functools import partial

import anyio

from moorage.vsphere.ownership import Ownership
from moorage.vsphere.power import read_marks
from moorage.vsphere.session import Session
from moorage.vsphere.stream import Stream
from moorage.vsphere.types import VM, OwnerMark


@dataclass(frozen=True, slots=True)
class _Read:
    """What a cluster's marks said when they were read directly."""

    at: float
    """When the read began (``time.monotonic``)."""
    epoch: int


@dataclass(slots=True)
class Marks:
    """Reads the owner marks of one vCenter, from memory where that is new enough."""

    _session: Session
    _stream: Stream
    _ownership: Ownership
    _read: dict[str, _Read] = field(default_factory=dict)
    """By cluster UID."""
    _wanted: set[str] = field(default_factory=set)
    """Clusters whose marks the next read is to bring."""
    _turn: anyio.Lock = field(default_factory=anyio.Lock)

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
        """Return the same, reading the marks now if memory is older than ``max_age_s``.

        So a process that was stopped for a while does not act on what it remembers: whoever
        takes a cluster over writes its epoch into all of its VMs before anything else. One call
        reads for all clusters that were asked about while the one before was under way, and the
        stream is kept fresh for a while, so that the next effects find memory new enough.
        """
        self._stream.keep_fresh()
        asked_at = time.monotonic()
        if not self.of_cluster(cluster):
            return 0
        if not self._is_known(cluster, asked_at, max_age_s):
            self._wanted.add(cluster)
            async with self._turn:
                if not self._is_known(cluster, asked_at, max_age_s):
                    self._wanted.add(cluster)  # the read that was to bring it may have failed
                    await self._read_wanted()
        read = self._read.get(cluster)
        return max(self.highest_seen(cluster), read.epoch if read is not None else 0)

    def _is_known(self, cluster: str, asked_at: float, max_age_s: float) -> bool:
        """Tell whether what is known was true ``max_age_s`` ago, or since it was asked for."""
        read = self._read.get(cluster)
        known_at = max(self._stream.true_at, read.at if read is not None else -math.inf)
        return known_at >= asked_at or time.monotonic() - known_at <= max_age_s

    async def _read_wanted(self) -> None:
        """Read the marks of all clusters that somebody waits for, in one call."""
        clusters, self._wanted = self._wanted, set()
        vms = [vm for cluster in clusters for vm in self.of_cluster(cluster)]
        begun_at = time.monotonic()
        marks = await self._session.call(
            f"read the owner marks of {len(vms)} VMs", partial(read_marks, self._session, vms)
        )
        for cluster in clusters:
            epochs = (mark.epoch for mark in marks if mark.cluster == cluster)
            self._read[cluster] = _Read(begun_at, max(epochs, default=0))

    def shows(self, moref: str, mark: OwnerMark) -> bool:
        """Tell whether a VM is seen to bear exactly this mark, and the instance UUID in it."""
        vm = self._stream.inventory.get(moref)
        return vm is not None and vm.owner == mark and vm.identity_intact

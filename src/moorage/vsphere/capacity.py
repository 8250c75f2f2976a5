"""How much a vCenter has, and how much of it is used: read when somebody asks, never streamed."""

from datetime import datetime
from functools import partial
from typing import Any

from pyVmomi import vim

from moorage.resources.estate import EstateCapacity
from moorage.vsphere.places import Place
from moorage.vsphere.properties import Values, Want, retrieve
from moorage.vsphere.session import Session
from moorage.vsphere.stream import Stream

_MIB = 1024**2
_HOST = (
    "summary.hardware.cpuMhz",
    "summary.hardware.numCpuCores",
    "summary.quickStats.overallCpuUsage",
    "summary.hardware.memorySize",
    "summary.quickStats.overallMemoryUsage",
)
_DATASTORE = ("summary.capacity", "summary.freeSpace")


class Capacity:
    """Measures all hosts and datastores that the account sees, in one call."""

    def __init__(self, session: Session, stream: Stream) -> None:
        self._session = session
        self._stream = stream

    async def measure(self, now: datetime) -> EstateCapacity:
        """Add up what is usable now; what is out of service counts as not there.

        Figures that the account may not read count as nothing.
        """
        places = self._stream.places
        every = places.of_kind(("HostSystem",))
        hosts = [one for one in every if one.is_usable()]
        stores = [one for one in places.of_kind(("Datastore",)) if one.is_usable()]
        wants = [_want(vim.HostSystem, hosts, _HOST), _want(vim.Datastore, stores, _DATASTORE)]
        work = partial(retrieve, self._session, wants)
        found = await self._session.call("measure hosts and datastores", work)
        of_hosts = [_figures(found, one, _HOST) for one in hosts]
        of_stores = [_figures(found, one, _DATASTORE) for one in stores]
        return EstateCapacity(
            measured_at=now,
            hosts=len(every),
            hosts_usable=len(hosts),
            cpu_mhz=sum(mhz * cores for mhz, cores, *_ in of_hosts),
            cpu_used_mhz=sum(used for _, _, used, *_ in of_hosts),
            memory_mib=sum(size // _MIB for *_, size, _ in of_hosts),
            memory_used_mib=sum(used for *_, used in of_hosts),
            datastores=len(stores),
            storage_bytes=sum(capacity for capacity, _ in of_stores),
            storage_used_bytes=sum(capacity - free for capacity, free in of_stores),
        )


def _want(kind: type[Any], places: list[Place], paths: tuple[str, ...]) -> Want:
    return Want(kind, [one.moref for one in places], paths)


def _figures(found: dict[str, Values], place: Place, paths: tuple[str, ...]) -> list[int]:
    values = found.get(place.moref, {})
    return [int(values.get(path) or 0) for path in paths]

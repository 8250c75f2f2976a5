"""The estate as people choose from it: names and paths, from memory alone."""

from collections.abc import Collection, Iterable

from moorage.resources.estate import EstateCompute, EstateDatacenter
from moorage.vsphere.places import COMPUTE, FOLDERS, NETWORKS, POOLS, Place, Places
from moorage.vsphere.template import TemplateInfo

_MOST = 500
"""Names of one kind below one object: a longer list is no choice for people."""


def outline(places: Places, templates: Iterable[TemplateInfo]) -> list[EstateDatacenter]:
    """Return all datacenters, with what a placement can name in each. No call to vCenter."""
    known = list(templates)
    found = []
    for datacenter in places.of_kind(("Datacenter",)):
        vm_root = str(datacenter.facts.get("vmFolder") or "")
        host_root = str(datacenter.facts.get("hostFolder") or "")
        compute = places.below(host_root, COMPUTE, FOLDERS)
        found.append(
            EstateDatacenter(
                path=places.path(datacenter),
                folders=_paths(places, places.below(vm_root, ("Folder",), FOLDERS), vm_root),
                templates=[t.path for t in known if t.datacenter == datacenter.name][:_MOST],
                compute=[_compute(places, one, host_root) for one in compute[:_MOST]],
            )
        )
    return found


def _compute(places: Places, compute: Place, root: str) -> EstateCompute:
    hosts = places.hosts(compute.moref)
    pool_root = str(compute.facts.get("resourcePool") or "")
    stores = _reached(places, hosts, "datastore", ("Datastore",))
    pods = {pod.moref: pod for one in stores if (pod := places.get(one.parent)) is not None}
    return EstateCompute(
        path=places.path(compute, root),
        hosts=len(hosts),
        hosts_usable=sum(1 for host in hosts if host.is_usable()),
        resource_pools=_paths(places, places.below(pool_root, POOLS, POOLS), pool_root),
        datastores=sorted(one.name for one in stores if one.is_usable())[:_MOST],
        datastore_clusters=sorted(p.name for p in pods.values() if p.kind == "StoragePod")[:_MOST],
        networks=sorted(one.name for one in _reached(places, hosts, "network", NETWORKS))[:_MOST],
    )


def _reached(
    places: Places, hosts: Iterable[Place], fact: str, kinds: Collection[str]
) -> list[Place]:
    """Return the objects of these kinds that at least one host is connected to."""
    morefs = {moref for host in hosts for moref in host.morefs(fact)}
    found = [place for moref in morefs if (place := places.get(moref)) is not None]
    return [place for place in found if place.kind in kinds]


def _paths(places: Places, found: Iterable[Place], root: str) -> list[str]:
    return sorted(places.path(place, root) for place in found)[:_MOST]

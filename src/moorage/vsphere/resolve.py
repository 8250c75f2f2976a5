"""From a user's names and paths to morefs: all faults at once, each at the caller's field."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace

from moorage.kit.errors import FieldFault
from moorage.vsphere.places import (
    COMPUTE,
    FOLDERS,
    NETWORKS,
    POOLS,
    Place,
    Places,
    near,
    plain,
    split_path,
)
from moorage.vsphere.types import VM, Target

_STORES = "datastoreFolder"


@dataclass(slots=True)
class Chosen:
    """What the names stand for, as far as they stand for something."""

    datacenter: Place | None = None
    folder: Place | None = None
    template: VM | None = None
    compute_cluster: Place | None = None
    resource_pool: Place | None = None
    datastore: Place | None = None
    network: Place | None = None
    more_networks: tuple[Place | None, ...] = ()
    """Of further cards, in order."""


class Resolver:
    """Resolves one target; collects faults on the way."""

    def __init__(self, places: Places, templates: Iterable[VM], target: Target) -> None:
        self.places = places
        self.target = target
        self.faults: list[FieldFault] = []
        self._templates = {vm.moref: vm for vm in templates}

    def fault(self, field: str, message: str) -> None:
        """Note a fault of one field of the target."""
        self.faults.append(FieldFault(self.target.field_path(field), message))

    def replace_fault(self, field: str, message: str) -> None:
        """Say better what is wrong with one field."""
        path = self.target.field_path(field)
        self.faults = [fault for fault in self.faults if fault.path != path]
        self.fault(field, message)

    def resolve(self, *, template: bool = True) -> Chosen:
        """Look everything up, the template unless told otherwise, and check that it fits."""
        chosen = Chosen(datacenter=self.find_datacenter())
        if chosen.datacenter is None:
            return chosen
        chosen.folder = self._vm_folder(chosen.datacenter)
        chosen.template = self._template(chosen.datacenter) if template else None
        chosen.compute_cluster = self._one(
            "compute_cluster", "compute cluster", chosen.datacenter, "hostFolder", COMPUTE
        )
        chosen.datastore = self._datastore(chosen.datacenter)
        chosen.network = self._network(chosen.datacenter)
        chosen.more_networks = self._more_networks(chosen.datacenter)
        if chosen.compute_cluster is not None:
            chosen.resource_pool = self._pool(chosen.compute_cluster)
            self._check_reach(chosen)
        return chosen

    def resolve_folder(self) -> Place | None:
        """Look up the VM folder alone."""
        datacenter = self.find_datacenter()
        return None if datacenter is None else self._vm_folder(datacenter)

    def find_datacenter(self) -> Place | None:
        """Look up the datacenter alone."""
        wanted = split_path(self.target.datacenter)
        every = self.places.of_kind(("Datacenter",))
        paths = {self.places.path(place): place for place in every}
        found = [place for path, place in paths.items() if split_path(path) == wanted]
        if not found and len(wanted) == 1:
            found = [place for place in every if place.name == wanted[0]]
        return self._only("datacenter", "datacenter", found, list(paths), None)

    def _one(
        self, field: str, what: str, datacenter: Place, root_path: str, kinds: Collection[str]
    ) -> Place | None:
        root = datacenter.facts.get(root_path) or ""
        candidates = self.places.below(root, kinds, FOLDERS)
        wanted = self._relative(getattr(self.target, field), datacenter, root)
        return self._pick(field, what, candidates, root, wanted)

    def _network(self, datacenter: Place) -> Place | None:
        return self._one("network", "network", datacenter, "networkFolder", NETWORKS)

    def _more_networks(self, datacenter: Place) -> tuple[Place | None, ...]:
        cards = [Resolver(self.places, (), target) for target in _targets_of_cards(self.target)]
        found = tuple(card._network(datacenter) for card in cards)  # noqa: SLF001 - its own kind
        for card in cards:
            self.faults += card.faults
        return found

    def datastores_among(self, wanted: Collection[str]) -> list[Place]:
        """Return those of some datastores (morefs) that are here, and that hosts reach."""
        datacenter = self.find_datacenter()
        if datacenter is None:
            return []
        root = datacenter.facts.get(_STORES) or ""
        here = self.places.below(root, ("Datastore",), FOLDERS)
        reached = self._reached(datacenter)
        return [one for one in here if one.moref in wanted and one.moref in reached]

    def _reached(self, datacenter: Place) -> set[str]:
        """Return the datastores that hosts of the compute cluster reach."""
        compute = self._one("compute_cluster", "compute cluster", datacenter, "hostFolder", COMPUTE)
        hosts = self.places.hosts(compute.moref) if compute is not None else []
        return {moref for host in hosts for moref in host.morefs("datastore")}

    def datastores_of_cluster(self) -> list[Place]:
        """Look up the datastores of a datastore cluster alone: those that hosts reach, if any."""
        datacenter = self.find_datacenter()
        if datacenter is None:
            return []
        pod = self._one("datastore", "datastore cluster", datacenter, _STORES, ("StoragePod",))
        if pod is None:
            return []
        inside = [one for one in self.places.children(pod.moref) if one.kind == "Datastore"]
        if not inside:
            self.fault("datastore", f"datastore cluster {pod.name} has no datastore that is seen")
        reached = self._reached(datacenter)
        near_by = [one for one in inside if one.moref in reached]
        return sorted(near_by or inside, key=lambda one: one.name)

    def datastore_of_disk(self) -> Place | None:
        """Look up the datastore alone, which some host of the compute cluster has to reach."""
        datacenter = self.find_datacenter()
        place = self._datastore(datacenter) if datacenter is not None else None
        if datacenter is None or place is None or place.moref in self._reached(datacenter):
            return place
        self.fault(
            "datastore",
            f"no host of {self.target.compute_cluster} reaches datastore {place.name}",
        )
        return None

    def _datastore(self, datacenter: Place) -> Place | None:
        if self.target.datastore_is_cluster:
            return next(iter(self.datastores_of_cluster()), None)
        if not self.target.datastore:
            return None  # those of a policy: who asks for it says why there is none
        return self._one("datastore", "datastore", datacenter, _STORES, ("Datastore",))

    def _vm_folder(self, datacenter: Place) -> Place | None:
        root = datacenter.facts.get("vmFolder") or ""
        wanted = self._relative(self.target.folder, datacenter, root)
        if not wanted:
            return self.places.get(root)
        candidates = self.places.below(root, FOLDERS, FOLDERS)
        return self._pick("folder", "VM folder", candidates, root, wanted)

    def _template(self, datacenter: Place) -> VM | None:
        root = datacenter.facts.get("vmFolder") or ""
        candidates = [
            Place(vm.moref, "VirtualMachine", vm.name, vm.folder)
            for vm in self._templates.values()
            if self.places.datacenter_of(vm.folder) == datacenter
        ]
        wanted = self._relative(self.target.template, datacenter, root)
        found = self._pick("template", "template", candidates, root, wanted)
        return None if found is None else self._templates[found.moref]

    def _pool(self, compute_cluster: Place) -> Place | None:
        root = compute_cluster.facts.get("resourcePool") or ""
        if self.target.resource_pool is None:
            place = self.places.get(root)
            if place is None:
                self.fault(
                    "compute_cluster",
                    f"the account cannot see the root resource pool of {compute_cluster.name}",
                )
            return place
        wanted = split_path(self.target.resource_pool)
        if wanted[:1] == ("Resources",):
            wanted = wanted[1:]
        if not wanted:
            return self.places.get(root)
        candidates = self.places.below(root, POOLS, POOLS)
        what = f"resource pool in {compute_cluster.name}"
        return self._pick("resource_pool", what, candidates, root, wanted)

    def _relative(self, path: str, datacenter: Place, root: str) -> tuple[str, ...]:
        """Take off what an absolute path (``/dc1/vm/…``, as govc prints it) says before."""
        parts = split_path(path)
        place = self.places.get(root)
        if not path.startswith("/") or place is None:
            return parts
        above = (*split_path(self.places.path(datacenter)), place.name)
        return parts[len(above) :] if parts[: len(above)] == above else parts

    def _pick(
        self, field: str, what: str, candidates: list[Place], root: str, wanted: tuple[str, ...]
    ) -> Place | None:
        paths = {place.moref: self.places.path(place, root) for place in candidates}
        found = [place for place in candidates if split_path(paths[place.moref]) == wanted]
        if not found:
            # A bare name; of one with a slash in it too, as people see it.
            name = wanted[0] if len(wanted) == 1 else plain(getattr(self.target, field))
            found = [place for place in candidates if place.name == name]
        return self._only(field, what, found, list(paths.values()), root)

    def _only(
        self, field: str, what: str, found: list[Place], known: list[str], root: str | None
    ) -> Place | None:
        asked = getattr(self.target, field)
        if len(found) == 1:
            return found[0]
        if not found:
            self.fault(field, f"no {what} {asked!r}: {near(asked.strip('/'), known)}")
        else:
            paths = ", ".join(sorted(self.places.path(place, root) for place in found))
            self.fault(field, f"{what} {asked!r} is not unique: give one of {paths}")
        return None

    def _check_reach(self, chosen: Chosen) -> None:
        cluster = chosen.compute_cluster
        if cluster is None:
            return
        hosts = self.places.hosts(cluster.moref)
        usable = [host for host in hosts if host.is_usable()]
        if not usable:
            state = "has no host" if not hosts else "has no connected host outside maintenance"
            self.fault("compute_cluster", f"{cluster.name} {state}")
            return
        reach = [
            ("datastore", chosen.datastore, self.target),
            ("network", chosen.network, self.target),
            *(
                ("network", place, target)
                for place, target in zip(
                    chosen.more_networks, _targets_of_cards(self.target), strict=True
                )
            ),
        ]
        seen = True
        for field, place, target in reach:
            if place is None:
                continue
            if not any(place.moref in host.morefs(field) for host in usable):
                seen = False
                self.faults.append(
                    FieldFault(
                        target.field_path(field),
                        f"no usable host of {cluster.name} reaches {field} {place.name}: "
                        f"{self._reachable(field, usable)}",
                    )
                )
        together = [place.moref for _, place, _ in reach if place is not None]
        both = any(
            all(moref in (*host.morefs("datastore"), *host.morefs("network")) for moref in together)
            for host in usable
        )
        if seen and not both:
            self.fault(
                "network",
                f"no usable host of {cluster.name} reaches both datastore "
                f"{self.target.datastore} and network "
                f"{', '.join((self.target.network, *self.target.more_networks))}",
            )

    def _reachable(self, field: str, hosts: list[Place]) -> str:
        names = {
            place.name
            for host in hosts
            for moref in host.morefs(field)
            if (place := self.places.get(moref)) is not None
        }
        return f"they reach {', '.join(sorted(names))}" if names else "they reach none"


def _targets_of_cards(target: Target) -> tuple[Target, ...]:
    """Return the target once for each further card, with its network in place of the first's."""
    return tuple(
        replace(
            target,
            network=network,
            more_networks=(),
            network_field=f"moreNetworks[{index}].network",
        )
        for index, network in enumerate(target.more_networks)
    )


def each_datastore(
    places: Places, target: Target, fitting: Collection[str] | None = None
) -> list[Target]:
    """Return the target with each datastore that it may mean.

    These are those of the datastore cluster that it names, or else, where it names none, all that
    satisfy its storage policy. One that is not there, or has none, gives the target itself: who
    resolves it is told why.

    Args:
        places: The estate.
        target: What is looked for.
        fitting: Morefs of the datastores that satisfy the target's storage policy; ``None``:
            it has no policy, or that is not known.
    """
    resolver = Resolver(places, (), target)
    if target.datastore_is_cluster:
        found = resolver.datastores_of_cluster()
        if fitting is not None:
            found = [one for one in found if one.moref in fitting]
    elif not target.datastore and fitting is not None:
        found = resolver.datastores_among(fitting)
    else:
        return [target]
    return [
        replace(target, datastore=f"/{places.path(one)}", datastore_is_cluster=False)
        for one in found
    ] or [target]

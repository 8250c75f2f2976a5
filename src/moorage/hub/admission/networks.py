"""Do a cluster's own networks, its machines' and its endpoint fit together?"""

from collections.abc import Iterable, Iterator

from moorage.hub.admission.estate import Estate, cluster_key
from moorage.kit.errors import FieldFault
from moorage.resources import Cluster, IPPool
from moorage.resources.cluster import ClusterSpec, EndpointType, FailureDomain
from moorage.resources.gateway import GatewaySpec
from moorage.resources.spans import V4, Address, Subnet


def network_faults(cluster: Cluster, estate: Estate) -> list[FieldFault]:
    """Return every fault of networks and endpoint; pools that are missing are told elsewhere."""
    faults = [*_overlaps(cluster, estate), *_families(cluster.spec, estate)]
    faults += _routes(cluster.spec, estate)
    match cluster.spec.endpoint.type:
        case EndpointType.VIP:
            faults += _vip(cluster, estate)
        case EndpointType.DDNS:
            faults += _ddns(cluster.spec)
    return faults


def fill_search_domains(spec: ClusterSpec, gateway: GatewaySpec) -> None:
    """Put the gateway's DNS mappings where a cluster with DHCP says nothing itself."""

    def mapped(domain: FailureDomain) -> str | None:
        place = spec.placement.datacenter, domain.compute_cluster, domain.network
        return None if domain.pools() else gateway.search_domain_of(*place)

    for domain in spec.placement.failure_domains:
        if not domain.search and (found := mapped(domain)):
            domain.search = [found]
    endpoint = spec.endpoint
    if endpoint.type is EndpointType.DDNS and endpoint.host is None:
        endpoint.search_domain = endpoint.search_domain or mapped(_control_plane_domains(spec)[0])


def _overlaps(cluster: Cluster, estate: Estate) -> Iterator[FieldFault]:
    spec = cluster.spec
    fields = {"pods": spec.network.pods, "services": spec.network.services}
    pools = _known(sorted(spec.ip_pools()), estate)
    for path, inner in ((f"spec.network.{f}", one) for f, many in fields.items() for one in many):
        for pool in pools:
            if pool.spec.version == inner.version and pool.spec.network.overlaps(inner):
                yield FieldFault(
                    path,
                    f"{inner} overlaps {pool.spec.network}, the machines' network of IP pool "
                    f"{pool.metadata.name}: choose another range",
                )
        host = spec.endpoint.host
        if host is not None and not isinstance(host, str) and host in inner:
            yield FieldFault(path, f"{inner} holds the endpoint {host}: choose another range")


def _families(spec: ClusterSpec, estate: Estate) -> Iterator[FieldFault]:
    """A card has a static address of each family that the cluster speaks, or none at all."""
    for index, domain in enumerate(spec.placement.failure_domains):
        pools = _known(domain.pools(), estate)
        there = {pool.spec.version for pool in pools}
        for version in spec.network.versions:
            if pools and version not in there:
                yield FieldFault(
                    f"spec.placement.failureDomains[{index}].ipPools",
                    f"has no pool of IPv{version}, which spec.network.pods asks for: name one "
                    "beside the others, or no pool at all for DHCP",
                )


def _ddns(spec: ClusterSpec) -> Iterator[FieldFault]:
    """A leased VIP needs a DHCP server in the control plane's network, as the machines do."""
    static = {one.name for one in _control_plane_domains(spec) if one.pools()}
    for index, domain in enumerate(spec.placement.failure_domains):
        if domain.name in static:
            yield FieldFault(
                f"spec.placement.failureDomains[{index}].ipPools",
                "an endpoint of type DDNS is leased by DHCP, as control planes have to be: leave "
                "the pools out, or use type VIP",
            )
    if spec.endpoint.host is None and spec.endpoint.search_domain is None:
        yield FieldFault(
            "spec.endpoint.searchDomain",
            "is needed, or host: the gateway has no DNS mapping for the control plane's network",
        )
    if spec.network.versions[0] != V4:
        yield FieldFault("spec.endpoint.type", "DDNS leases addresses of IPv4 only: use type VIP")


def _routes(spec: ClusterSpec, estate: Estate) -> Iterator[FieldFault]:
    """A router that no address of the card reaches would leave the node without its network."""
    for index, domain in enumerate(spec.placement.failure_domains):
        for place, card in enumerate(domain.more_networks):
            networks = [pool.spec.network for pool in _known(card.ip_pools, estate)]
            for number, route in enumerate(card.routes):
                if networks and not any(route.via in network for network in networks):
                    yield FieldFault(
                        f"spec.placement.failureDomains[{index}].moreNetworks[{place}]"
                        f".routes[{number}].via",
                        f"{route.via} is not in {', '.join(map(str, networks))}, the card's own: "
                        "give a router there",
                    )


def _vip(cluster: Cluster, estate: Estate) -> Iterator[FieldFault]:
    spec = cluster.spec
    host, sources = spec.endpoint.host, _known(spec.vip_pools(), estate)
    assert not isinstance(host, str)  # noqa: S101 - Endpoint has seen to it
    path = "spec.endpoint.host" if host is not None else "spec.endpoint.ipPool"
    if host is None and not sources:
        return
    version = sources[0].spec.version if host is None else host.version
    yield from _without_family(spec, version, path, estate)
    networks = _control_plane_networks(spec, version, estate)
    if host is not None:
        yield from _given_vip(cluster, host, networks, estate)
        return
    for source in sources:
        for name, network in networks:
            if source.spec.version == version and network != source.spec.network:
                yield FieldFault(
                    path,
                    f"the VIP would come from {source.spec.network} (IP pool "
                    f"{source.metadata.name}), but failure domain {name} is in {network}: a VIP "
                    "moves inside one network only",
                )


def _without_family(
    spec: ClusterSpec, version: int, path: str, estate: Estate
) -> Iterator[FieldFault]:
    for domain in _control_plane_domains(spec):
        pools = _known(domain.pools(), estate)
        if pools and not any(pool.spec.version == version for pool in pools):
            yield FieldFault(
                path,
                f"the VIP is IPv{version}, but the machines of failure domain {domain.name} have "
                "no such address: a VIP moves inside one network only",
            )


def _given_vip(
    cluster: Cluster, host: Address, networks: list[tuple[str, Subnet]], estate: Estate
) -> Iterator[FieldFault]:
    path = "spec.endpoint.host"
    if host.is_multicast or host.is_loopback or host.is_unspecified or host.is_link_local:
        yield FieldFault(path, f"{host} cannot be an address of a machine")
    for name, network in networks:
        if host not in network:
            yield FieldFault(
                path,
                f"{host} is not in {network}, the network of failure domain {name}: a VIP moves "
                "inside one network only",
            )
    sources = cluster.spec.vip_pools()
    for pool in estate.ip_pools.values():
        if pool.metadata.name in sources:
            continue  # then exactly this address is claimed from it
        is_near = not networks or pool.spec.network in {network for _, network in networks}
        if is_near and host == pool.spec.router:
            yield FieldFault(path, f"{host} is the router of IP pool {pool.metadata.name}")
        if is_near and pool.spec.may_give(host):
            yield FieldFault(
                path,
                f"{host} lies in IP pool {pool.metadata.name}, which gives it to machines: "
                "exclude it there, or name that pool as endpoint.ipPool",
            )
    yield from _vip_taken(cluster, host, estate)


def _vip_taken(cluster: Cluster, host: Address, estate: Estate) -> Iterator[FieldFault]:
    path, key, gateway = "spec.endpoint.host", cluster_key(cluster), cluster.metadata.route
    for other in estate.tally.at_endpoint(str(host), gateway):
        if other != key:
            yield FieldFault(path, f"{host} is the endpoint of cluster {other}")
    for claim in estate.tally.claims_of(host, gateway):
        if claim.cluster != key:
            yield FieldFault(path, f"{host} is claimed by {claim.cluster}")


def _control_plane_networks(
    spec: ClusterSpec, version: int, estate: Estate
) -> list[tuple[str, Subnet]]:
    return [
        (domain.name, pool.spec.network)
        for domain in _control_plane_domains(spec)
        for pool in _known(domain.pools(), estate)
        if pool.spec.version == version
    ]


def _control_plane_domains(spec: ClusterSpec) -> list[FailureDomain]:
    allowed = set(spec.control_plane.failure_domains)
    return [one for one in spec.placement.failure_domains if not allowed or one.name in allowed]


def _known(names: Iterable[str], estate: Estate) -> list[IPPool]:
    return [estate.ip_pools[name] for name in names if name in estate.ip_pools]

"""Region and zone of a cluster's failure domains: named by the user, or read from tags."""

from collections.abc import Collection

from moorage.controllers.gateway.env import Env
from moorage.controllers.gateway.placement.place import targets_of_cluster
from moorage.kit.errors import DeferredError, ForbiddenError, TerminalError, UnavailableError
from moorage.resources import CloudAccount, Cluster
from moorage.resources.cluster import DomainTopology, FailureDomain
from moorage.resources.zones import TaggedObject, ZonesArguments, ZonesResult
from moorage.vsphere import Categories, Topology, VCenter

_KINDS = {
    "Datacenter": "datacenter",
    "ClusterComputeResource": "compute cluster",
    "HostSystem": "host",
}
_WITHOUT = "Name region and zone of each failure domain in the placement to do without tags"


async def located_domains(
    cluster: Cluster, env: Env, wanted: Collection[str]
) -> dict[str, FailureDomain]:
    """Return the cluster's failure domains with the region and zone that new nodes get.

    Asks nobody when all of them name both, or when the cloud provider labels the nodes; else
    once for all that do not, and not again for some minutes. What was found is noted in the
    cluster's status.

    Args:
        cluster: Whose placement.
        env: With the account's session.
        wanted: Names of those that machines are to be made in now.

    Raises:
        TerminalError: A wanted one has a tag that cannot be used.
        UnavailableError: vCenter cannot say now.
    """
    domains = {domain.name: domain for domain in cluster.spec.placement.failure_domains}
    unclear = [one for one in domains.values() if not (one.region and one.zone)]
    if not unclear or cluster.spec.cloud_provider != "none" or not wanted:
        return domains
    told = await _read(cluster, env, unclear)
    faults: list[str] = []
    cluster.status.topology = []
    for domain in domains.values():
        seen = told.get(domain.name)
        if seen is None:
            continue
        wrong = _faults(domain, seen)
        if domain.name in wanted:
            faults += wrong
        domains[domain.name] = domain.model_copy(
            update={
                "region": domain.region or seen.region.value,
                "zone": domain.zone or seen.zone.value,
            }
        )
        cluster.status.topology.append(_noted(domain, seen, wrong))
    if faults:
        raise TerminalError(
            "ZoneTagsInvalid", f"{'; '.join(dict.fromkeys(faults))}. Mend the tags. {_WITHOUT}"
        )
    return domains


async def _read(cluster: Cluster, env: Env, unclear: list[FailureDomain]) -> dict[str, Topology]:
    account = await env.store.get(CloudAccount, "", cluster.spec.account)
    vcenter = env.accounts.get(cluster.spec.account)
    if vcenter is None:
        raise UnavailableError(f"cloud account {cluster.spec.account} is not connected")
    wanted = {domain.name for domain in unclear}
    targets = {name: target for name, _, target in targets_of_cluster(cluster) if name in wanted}
    try:
        told = await vcenter.zones.read(list(targets.values()), categories_of(account))
    except DeferredError:
        raise  # vCenter as a whole is left alone for a while
    except ForbiddenError as error:
        raise ForbiddenError(f"{error}. {_WITHOUT}") from error
    except UnavailableError as error:
        raise UnavailableError(f"{error}. {_WITHOUT}") from error
    return dict(zip(targets, told, strict=True))


async def tag_zones(vcenter: VCenter, account: CloudAccount, asked: ZonesArguments) -> ZonesResult:
    """Show the region and zone tags of a vCenter, after making those that are asked for.

    Raises ``InvalidError`` before anything is changed, where something is in the way.
    """
    categories = categories_of(account)
    wishes = vcenter.zoning.wishes(asked.regions, asked.zones, categories)
    changes = await vcenter.zoning.change(wishes, apply=asked.apply)
    return ZonesResult(
        region_category=categories.region,
        zone_category=categories.zone,
        objects=[
            TaggedObject(
                kind=_KINDS.get(place.kind, place.kind),
                object=path,
                region=told.region.value,
                region_from=told.region.on,
                zone=told.zone.value,
                zone_from=told.zone.on,
                message="; ".join(
                    [
                        *dict.fromkeys(filter(None, (told.region.fault, told.zone.fault))),
                        *(f"the account may not read the tags of {one}" for one in told.unread),
                    ]
                ),
            )
            for place, path, told in await vcenter.zoning.survey(categories)
        ],
        changes=changes,
        applied=asked.apply,
    )


def categories_of(account: CloudAccount) -> Categories:
    """Return the names of the tag categories that an account's vCenter has."""
    return Categories(region=account.spec.region_category, zone=account.spec.zone_category)


def _faults(domain: FailureDomain, seen: Topology) -> list[str]:
    """Return what is wrong with the tags that count for a domain."""
    named = ((domain.region, seen.region), (domain.zone, seen.zone))
    return [told.fault for name, told in named if not name and told.fault]


def _noted(domain: FailureDomain, seen: Topology, wrong: list[str]) -> DomainTopology:
    notes = list(wrong)
    is_silent = not (domain.zone or seen.zone.on) or not (domain.region or seen.region.on)
    if is_silent and seen.unread:
        notes.append(f"the account may not read the tags of {', '.join(seen.unread)}")
    return DomainTopology(
        failure_domain=domain.name,
        region=domain.region or seen.region.value,
        region_from="" if domain.region else seen.region.on,
        zone=domain.zone or seen.zone.value or domain.name,
        zone_from="" if domain.zone else seen.zone.on,
        message="; ".join(notes),
    )

"""A cluster on one screen: facts, conditions, and the machines, those that wait first."""

import sys
from collections.abc import Sequence
from typing import Any

from moorage.cli.output import age, clip, console, describe_resource, print_table
from moorage.resources import Cluster, Machine, NodePool
from moorage.resources.cluster import DomainTopology
from moorage.resources.phase import phase

_CLUSTER_MESSAGE, _WAIT_MESSAGE, _ALL = 160, 400, 4000


def describe_cluster(
    cluster: Cluster, pools: Sequence[NodePool], machines: Sequence[Machine], limit: int
) -> None:
    """Print a cluster for people: facts, conditions, and at most ``limit`` machines."""
    facts: list[tuple[str, Any]] = [
        ("account", cluster.spec.account),
        ("version", cluster.status.kubernetes_version or cluster.spec.kubernetes_version),
        ("endpoint", cluster.status.endpoint),
        ("layers", ", ".join(cluster.status.layers.values())),
        ("nodes", f"{cluster.status.nodes_ready} of {cluster.status.nodes} Ready"),
        ("control plane", f"{founders(cluster)} Ready"),
    ]
    facts += [
        (f"pool {p.spec.pool}", f"{p.status.ready}/{p.spec.replicas} Ready, {phase(p)}")
        for p in pools
    ]
    facts += [(f"domain {one.failure_domain}", _topology(one)) for one in cluster.status.topology]
    # What each machine says stands below: the cluster's own message may be short.
    describe_resource(cluster, facts, limit=_CLUSTER_MESSAGE if machines else _ALL)
    if not machines:
        return
    ordered = sorted(machines, key=lambda m: (m.status.is_true("Ready"), m.metadata.name))
    rows, waits = [], []
    for machine in ordered[:limit]:
        ready = machine.status.condition("Ready")
        if ready is not None and ready.status != "True" and ready.message:
            waits.append(f"{machine.metadata.name} waits: {clip(ready.message, _WAIT_MESSAGE)}")
        rows.append(
            [
                machine.metadata.name,
                phase(machine),
                machine.spec.failure_domain.name,
                machine.status.addresses[0] if machine.status.addresses else "-",
                age(ready.last_transition_time) if ready else "-",
            ]
        )
    sys.stdout.write("\n")
    print_table(("MACHINE", "STATE", "DOMAIN", "ADDRESS", "SINCE"), rows)
    hidden = ordered[limit:]
    if hidden:
        ready_ones = sum(1 for machine in hidden if machine.status.is_true("Ready"))
        console().print(
            f"… and {len(hidden)} more, {ready_ones} of them Ready: add --all to see them"
        )
    if waits:
        sys.stdout.write("\n")
    for line in waits:
        console().print(line)


def _topology(domain: DomainTopology) -> str:
    """Say region and zone of a failure domain, and where each comes from."""
    said = ", ".join(
        f"{word} {value}{f' (tag on {source})' if source else ''}"
        for word, value, source in (
            ("region", domain.region, domain.region_from),
            ("zone", domain.zone, domain.zone_from),
        )
        if value
    )
    return f"{said}; {domain.message}" if domain.message else said


def founders(cluster: Cluster) -> str:
    """Return how many control-plane nodes are Ready, of how many."""
    return f"{cluster.status.control_plane_ready}/{cluster.spec.control_plane.replicas}"

"""Where the time of a new cluster went: the milestones of its timelines, with their shares."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from moorage.resources import Cluster, Machine

_CLUSTER = {
    "EndpointClaimed": "endpoint claimed",
    "MachinesCreated": "machines planned",
    "APIReachable": "API answers",
    "LayersApplied": "layers applied",
    "Ready": "cluster Ready",
}
_MACHINES = {
    "CloneStarted": "clones started",
    "VMCreated": "VMs made",
    "PoweredOn": "VMs on",
    "AddressSeen": "addresses seen",
    "NodePreparingNode": "nodes prepare",
    "NodeRunningKubeadm": "kubeadm begins",
    "Joined": "nodes joined",
    "Ready": "nodes Ready",
}


class Milestone(NamedTuple):
    """Something that was reached, and how long after the one before."""

    name: str
    at_s: float
    """Seconds after the cluster was asked for."""
    took_s: float
    share: float
    """Of the whole time, 0 to 1."""


def milestones(cluster: Cluster, machines: Sequence[Machine]) -> list[Milestone]:
    """Return what was reached, in order of time; of the machines the last to get there counts.

    The times are the gateway's, the beginning is the hub's: their clocks should agree.
    """
    began = cluster.metadata.created_at
    if began is None:
        return []
    reached: dict[str, datetime] = {}
    for key, name in _CLUSTER.items():
        if key in cluster.status.timeline:
            reached[name] = datetime.fromisoformat(cluster.status.timeline[key])
    for key, name in _MACHINES.items():
        times = [m.status.timeline[key] for m in machines if key in m.status.timeline]
        if times:
            reached[name] = max(datetime.fromisoformat(time) for time in times)
    ordered = sorted(reached.items(), key=lambda item: item[1])
    if not ordered:
        return []
    total = max(0.001, (ordered[-1][1] - began).total_seconds())
    result, before = [], began
    for name, moment in ordered:
        took = max(0.0, (moment - before).total_seconds())
        at = max(0.0, (moment - began).total_seconds())
        result.append(Milestone(name, at, took, took / total))
        before = max(before, moment)
    return result


def summary(cluster: Cluster, machines: Sequence[Machine]) -> list[str]:
    """Return the lines that tell how long a cluster took, and where the time went."""
    found = milestones(cluster, machines)
    if not found:
        return []
    lines = [f"{cluster.metadata.name}: {len(machines)} nodes in {found[-1].at_s:.1f} s"]
    lines += [f"  {m.at_s:7.1f} s  {m.took_s:+7.1f} s  {m.share:4.0%}  {m.name}" for m in found]
    return lines

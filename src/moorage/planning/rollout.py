"""Which machines a pool gains and loses to become what is asked."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from moorage.resources.machine import Machine


@dataclass(frozen=True, slots=True)
class PoolPlan:
    """How many machines to make, and which to delete; at most one of the two."""

    create: int = 0
    delete: tuple[Machine, ...] = ()


def plan_pool(replicas: int, machines: Sequence[Machine]) -> PoolPlan:
    """Plan a worker pool.

    A machine that is being deleted no longer counts. When there are too many, those go first
    that never became nodes, then those in the fullest failure domain, then the youngest.
    """
    staying = [machine for machine in machines if not machine.is_deleting]
    lacking = replicas - len(staying)
    if lacking >= 0:
        return PoolPlan(create=lacking)
    return PoolPlan(delete=_surplus(staying, -lacking))


def plan_control_plane(replicas: int, machines: Sequence[Machine]) -> int:
    """Return how many machines the control plane lacks: it grows only."""
    return max(0, replicas - sum(1 for machine in machines if not machine.is_deleting))


def founds(machines: Sequence[Machine]) -> bool:
    """Tell whether the next control-plane machine founds the cluster.

    As long as any is known, no second one may: a cluster that lost its founder is repaired by
    joining, never by starting a new etcd.
    """
    return not machines


def _surplus(staying: list[Machine], count: int) -> tuple[Machine, ...]:
    doomed: list[Machine] = []
    load = Counter(machine.spec.failure_domain.name for machine in staying)
    rest = list(staying)
    for _ in range(count):
        victim = max(
            rest,
            key=lambda machine: (
                machine.status.node_name is None,
                load[machine.spec.failure_domain.name],
                machine.metadata.created_at.timestamp() if machine.metadata.created_at else 0.0,
                machine.metadata.name,
            ),
        )
        load[victim.spec.failure_domain.name] -= 1
        rest.remove(victim)
        doomed.append(victim)
    return tuple(doomed)

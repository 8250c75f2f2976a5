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


def plan_control_plane(
    replicas: int, machines: Sequence[Machine], *, is_founded: bool = True
) -> int:
    """Return how many machines the control plane lacks: it grows only.

    A founder that never founded anything has to be gone before another one is made.
    """
    if not is_founded and any(one.is_deleting and _is_founder(one) for one in machines):
        return 0
    return max(0, replicas - sum(1 for machine in machines if not machine.is_deleting))


def founds(machines: Sequence[Machine], *, is_founded: bool = True) -> bool:
    """Tell whether the next control-plane machine founds the cluster.

    As long as any is known, no second one may: a cluster that lost its founder is repaired by
    joining, never by starting a new etcd. Only where there has never been one, and the founder is
    gone, another takes its place before those that wait to join.

    Args:
        machines: Of the control plane, those being deleted among them.
        is_founded: Whether the cluster's API has ever answered.
    """
    if not machines:
        return True
    return not is_founded and not any(
        _is_founder(one) or one.status.node_name is not None for one in machines
    )


def _is_founder(machine: Machine) -> bool:
    return machine.spec.bootstrap == "init"


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

"""Which machines a pool gains and loses to become what is asked."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from moorage.planning.placement import choose_failure_domains
from moorage.resources.machine import Machine


@dataclass(frozen=True, slots=True)
class NewMachine:
    """A machine to be made."""

    failure_domain: str
    bootstrap: Literal["init", "join"] = "join"


@dataclass(frozen=True, slots=True)
class PoolPlan:
    """Machines to make and to delete; either is empty when nothing is to be done."""

    create: tuple[NewMachine, ...] = ()
    delete: tuple[Machine, ...] = ()


def plan_pool(replicas: int, allowed: Sequence[str], machines: Sequence[Machine]) -> PoolPlan:
    """Plan a worker pool.

    A machine that is being deleted no longer counts. When there are too many, those go first
    that never became nodes, then those in the fullest failure domain, then the youngest.
    """
    staying = [machine for machine in machines if not machine.is_deleting]
    domains = [machine.spec.failure_domain.name for machine in staying]
    lacking = replicas - len(staying)
    if lacking > 0:
        chosen = choose_failure_domains(allowed, domains, lacking)
        return PoolPlan(create=tuple(NewMachine(name) for name in chosen))
    return PoolPlan(delete=_surplus(staying, -lacking))


def plan_control_plane(
    replicas: int, allowed: Sequence[str], machines: Sequence[Machine]
) -> PoolPlan:
    """Plan the control plane. It grows only; the first machine of all founds the cluster.

    As long as any control-plane machine is known, no second one may found: a cluster that
    lost its founder is repaired by joining, never by starting a new etcd.
    """
    staying = [machine for machine in machines if not machine.is_deleting]
    lacking = max(0, replicas - len(staying))
    domains = [machine.spec.failure_domain.name for machine in staying]
    chosen = choose_failure_domains(allowed, domains, lacking)
    founds = not machines
    return PoolPlan(
        create=tuple(
            NewMachine(name, "init" if founds and index == 0 else "join")
            for index, name in enumerate(chosen)
        )
    )


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

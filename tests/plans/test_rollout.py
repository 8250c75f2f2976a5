"""Which machines a pool gains and loses."""

from datetime import timedelta

import pytest

from moorage.planning import PoolPlan, founds, plan_control_plane, plan_pool
from tests.builders import EARLY, a_machine


def test_a_new_pool_lacks_all() -> None:
    assert plan_pool(3, []) == PoolPlan(create=3)


def test_a_pool_that_is_as_asked_is_left_alone() -> None:
    assert plan_pool(2, [a_machine(domain="a"), a_machine(domain="b")]) == PoolPlan()


def test_a_machine_being_deleted_is_replaced() -> None:
    leaving = a_machine(domain="a")
    leaving.metadata.deletion_requested_at = EARLY

    assert plan_pool(2, [leaving, a_machine(domain="b")]) == PoolPlan(create=1)


def test_scaling_down_takes_what_never_became_a_node_first() -> None:
    node = a_machine("node")
    node.status.node_name = "node"
    young = a_machine("young", created_at=EARLY - timedelta(days=1))

    assert [m.metadata.name for m in plan_pool(1, [node, young]).delete] == ["young"]


def test_scaling_down_evens_out_the_domains_and_then_takes_the_youngest() -> None:
    machines = [
        a_machine("a1", domain="a", created_at=EARLY),
        a_machine("a2", domain="a", created_at=EARLY + timedelta(hours=1)),
        a_machine("a3", domain="a", created_at=EARLY + timedelta(hours=2)),
        a_machine("b1", domain="b", created_at=EARLY + timedelta(hours=3)),
    ]
    for machine in machines:
        machine.status.node_name = machine.metadata.name

    assert [m.metadata.name for m in plan_pool(2, machines).delete] == ["a3", "a2"]


@pytest.mark.parametrize("deleting", [False, True])
def test_no_second_machine_ever_founds_while_one_is_known(deleting: bool) -> None:
    old = a_machine("old", pool=None)
    if deleting:
        old.metadata.deletion_requested_at = EARLY

    assert founds([])
    assert not founds([old])
    assert plan_control_plane(3, [old]) == (3 if deleting else 2)


def test_a_control_plane_never_shrinks() -> None:
    machines = [a_machine(f"cp{n}", pool=None) for n in range(3)]

    assert plan_control_plane(1, machines) == 0


def test_a_founder_that_never_founded_is_replaced_once_it_is_gone() -> None:
    founder = a_machine("founder", pool=None, bootstrap="init")
    founder.metadata.deletion_requested_at = EARLY
    waiting = [a_machine(f"cp{n}", pool=None) for n in range(2)]

    assert plan_control_plane(3, [founder, *waiting], is_founded=False) == 0
    assert plan_control_plane(3, waiting, is_founded=False) == 1
    assert founds(waiting, is_founded=False)
    assert not founds([founder, *waiting], is_founded=False)
    assert not founds(waiting), "it was founded once: whoever comes now joins"
    waiting[0].status.node_name = "cp0"
    assert not founds(waiting, is_founded=False)

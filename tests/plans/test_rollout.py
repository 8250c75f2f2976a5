"""Which machines a pool gains and loses."""

from datetime import timedelta

import pytest

from moorage.planning import plan_control_plane, plan_pool
from moorage.planning.rollout import NewMachine
from tests.builders import EARLY, a_machine


def test_a_new_pool_is_spread() -> None:
    plan = plan_pool(3, ["a", "b"], [])

    assert plan.create == (NewMachine("a"), NewMachine("b"), NewMachine("a"))
    assert plan.delete == ()


def test_a_pool_that_is_as_asked_is_left_alone() -> None:
    plan = plan_pool(2, ["a", "b"], [a_machine(domain="a"), a_machine(domain="b")])

    assert plan.create == plan.delete == ()


def test_a_machine_being_deleted_is_replaced() -> None:
    leaving = a_machine(domain="a")
    leaving.metadata.deletion_requested_at = EARLY

    plan = plan_pool(2, ["a", "b"], [leaving, a_machine(domain="b")])

    assert plan.create == (NewMachine("a"),)
    assert plan.delete == ()


def test_scaling_down_takes_what_never_became_a_node_first() -> None:
    node = a_machine("node")
    node.status.node_name = "node"
    young = a_machine("young", created_at=EARLY - timedelta(days=1))

    assert [m.metadata.name for m in plan_pool(1, ["a"], [node, young]).delete] == ["young"]


def test_scaling_down_evens_out_the_domains_and_then_takes_the_youngest() -> None:
    machines = [
        a_machine("a1", domain="a", created_at=EARLY),
        a_machine("a2", domain="a", created_at=EARLY + timedelta(hours=1)),
        a_machine("a3", domain="a", created_at=EARLY + timedelta(hours=2)),
        a_machine("b1", domain="b", created_at=EARLY + timedelta(hours=3)),
    ]
    for machine in machines:
        machine.status.node_name = machine.metadata.name

    assert [m.metadata.name for m in plan_pool(2, ["a", "b"], machines).delete] == ["a3", "a2"]


def test_only_the_first_machine_of_all_founds_the_cluster() -> None:
    plan = plan_control_plane(3, ["a", "b"], [])

    assert [new.bootstrap for new in plan.create] == ["init", "join", "join"]


@pytest.mark.parametrize("deleting", [False, True])
def test_no_second_machine_ever_founds_while_one_is_known(deleting: bool) -> None:
    old = a_machine("old", pool=None)
    if deleting:
        old.metadata.deletion_requested_at = EARLY

    plan = plan_control_plane(3, ["a", "b"], [old])

    assert {new.bootstrap for new in plan.create} == {"join"}


def test_a_control_plane_never_shrinks() -> None:
    machines = [a_machine(f"cp{n}", pool=None) for n in range(3)]

    plan = plan_control_plane(1, ["a"], machines)

    assert plan.create == plan.delete == ()

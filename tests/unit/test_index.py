"""Which keys a change makes due at a gateway."""

from moorage.controllers.gateway.index import Index
from moorage.engine import Change


def a_change(kind: str, uid: str, *, owner: str = "", spec_changed: bool = True) -> Change:
    return Change(kind, "default", f"{kind}-{uid}".lower(), uid, 1, False, "", spec_changed, owner)


def an_index() -> Index:
    index = Index()
    for change in (
        a_change("Cluster", "c"),
        a_change("Machine", "m", owner="c"),
        a_change("Machine", "n", owner="c"),
        a_change("Machine", "o", owner="other"),
    ):
        index.learn(change)
    return index


def test_machines_look_when_their_cluster_is_changed() -> None:
    assert an_index().machines_of(a_change("Cluster", "c")) == [
        "default/machine-m",
        "default/machine-n",
    ]


def test_machines_look_at_a_status_only_at_a_milestone_and_once() -> None:
    index, counted = an_index(), a_change("Cluster", "c", spec_changed=False)
    assert index.machines_of(counted) == []

    index.milestones.add("c")

    assert index.machines_of(counted) == ["default/machine-m", "default/machine-n"]
    assert index.machines_of(counted) == []

"""A cluster belongs to one gateway at a time, and outlives each of them."""

from pathlib import Path

import pytest

from tests.ownership.world import NEW, OLD, Pair

pytestmark = [pytest.mark.long, pytest.mark.timeout(420)]


def test_a_cluster_moves_is_scaled_and_deleted_by_its_new_gateway(tmp_path: Path) -> None:
    with Pair.start(tmp_path) as pair:
        site = pair.site
        site.apply("web", 1)
        pair.await_ready("web", 2, OLD)
        before = pair.vms()

        site.moorage("clusters", "move", "web", "--to", NEW, "--recovery-key", pair.recovery_key)
        pair.await_ready("web", 2, NEW)
        pair.until(lambda: not pair.left(pair.old), "the old gateway has dropped its copies")
        assert pair.vms() == before
        assert {mark["epoch"] for mark in pair.marks().values()} == {2}

        site.apply("web", 3)
        pair.await_ready("web", 4, NEW)
        assert before < pair.vms()
        pair.end("web", at=pair.new)


def test_a_gateway_that_stood_still_while_it_was_replaced_does_nothing_more(
    tmp_path: Path,
) -> None:
    with Pair.start(tmp_path) as pair:
        site = pair.site
        site.apply("web", 1)
        pair.await_ready("web", 2, OLD)

        pair.stop(pair.old)
        site.apply("web", 3)  # the wish reaches the old one's socket, and waits there
        pair.declare_old_dead()
        pair.await_ready("web", 4, NEW)
        made = pair.vms()
        pair.go_on(pair.old)
        pair.until(lambda: not pair.left(pair.old), "the old gateway has dropped its copies")

        assert pair.vms() == made
        assert {mark["epoch"] for mark in pair.marks().values()} == {2}
        claims = pair.gateway(OLD)["status"]["conditions"]
        assert "DeclaredDead" in {one["type"] for one in claims}
        pair.end("web", at=pair.new)


def test_a_gateway_without_hub_reads_in_vcenter_that_it_was_replaced(tmp_path: Path) -> None:
    with Pair.start(tmp_path) as pair:
        site = pair.site
        site.apply("web", 2)
        pair.await_ready("web", 3, OLD)

        pair.cut_link(pair.old)
        pair.until(lambda: not pair.gateway(OLD)["status"]["connected"], "the link is cut")
        pair.declare_old_dead()
        pair.await_ready("web", 3, NEW)
        claim = pair.until(
            lambda: pair.condition(pair.old, "web", "Superseded"), "the old gateway says why"
        )
        assert (claim["status"], claim["reason"]) == ("True", "HigherEpoch")

        site.apply("web", 0)  # nobody may delete these twice, or miss one
        pair.await_ready("web", 1, NEW)
        kept = pair.vms()
        assert len(pair.machines(pair.old, "web")) == 3
        pair.mend_link(pair.old)
        pair.until(lambda: not pair.left(pair.old), "the old gateway has dropped its copies")
        assert pair.vms() == kept
        pair.await_ready("web", 1, NEW)
        pair.end("web", at=pair.new)


def test_a_gateway_with_an_empty_disk_scales_its_clusters_again(tmp_path: Path) -> None:
    with Pair.start(tmp_path) as pair:
        site = pair.site
        site.apply("web", 1)
        pair.await_ready("web", 2, OLD)
        before = pair.vms()

        pair.lose_disk(pair.old)
        pair.enrol(site.moorage("-o", "table", "gateways", "token", OLD, "--replace"), pair.old)
        pair.until(lambda: pair.gateway(OLD)["status"]["connected"], "it is connected again")
        site.moorage("gateways", "trust", OLD)
        site.moorage("gateways", "recover", OLD, "--recovery-key", pair.recovery_key)
        site.apply("web", 2)
        pair.await_ready("web", 3, OLD)

        assert before < pair.vms()
        pair.end("web", at=pair.old)


@pytest.mark.parametrize("victim", ["old", "new", "hub"])
def test_a_move_ends_well_whoever_is_killed_on_the_way(tmp_path: Path, victim: str) -> None:
    with Pair.start(tmp_path) as pair:
        site = pair.site
        site.apply("web", 1)
        pair.await_ready("web", 2, OLD)
        before = pair.vms()
        child = {"old": pair.old, "new": pair.new, "hub": site.hub}[victim]

        site.moorage("clusters", "move", "web", "--to", NEW, "--recovery-key", pair.recovery_key)
        for _ in range(4):
            child.kill()
            pair.until(lambda: pair.cluster("web"), "the hub answers")
        pair.await_ready("web", 2, NEW)
        pair.until(lambda: not pair.left(pair.old), "the old gateway has dropped its copies")

        assert pair.vms() == before
        site.apply("web", 2)
        pair.await_ready("web", 3, NEW)
        pair.end("web", at=pair.new)


def test_a_replaced_gateway_with_work_to_do_and_no_hub_makes_nothing(tmp_path: Path) -> None:
    with Pair.start(tmp_path) as pair:
        site = pair.site
        site.apply("web", 1)
        pair.await_ready("web", 2, OLD)

        pair.stop(pair.old)
        pair.declare_old_dead()
        pair.await_ready("web", 2, NEW)
        made = site.vcenter.control.ledger().of_kind("VirtualMachine")
        # As if the wish for more, and for an end, had come before the way to the hub was lost.
        pair.cut_link(pair.old)
        pair.wish(pair.old, workers=5)
        claim = pair.until(
            lambda: pair.condition(pair.old, "web", "Superseded"), "the old gateway says why"
        )

        assert claim["status"] == "True"
        ledger = site.vcenter.control.ledger()
        assert [one.id for one in ledger.of_kind("VirtualMachine", alive=True)] == [
            one.id for one in made
        ]
        pair.wish(pair.old, workers=0)
        pair.old.kill()
        site.apply("web", 2)
        pair.await_ready("web", 3, NEW)
        assert pair.machines(pair.new, "web") == pair.vms()
        pair.mend_link(pair.old)
        pair.until(lambda: not pair.left(pair.old), "the old gateway has dropped its copies")
        pair.end("web", at=pair.new)

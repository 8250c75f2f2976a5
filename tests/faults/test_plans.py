"""Whoever dies while a plan is applied, what comes is what the plan says."""

import json

import pytest
import yaml

from moorage_lab.api import cluster_document
from tests.faults.conftest import Place
from tests.faults.judge import Verdict
from tests.faults.kills import Kill, Step, Victim
from tests.faults.kinds import a_kill
from tests.faults.lives import PATIENCE_S, await_ready, breaking
from tests.faults.points import Point

KILLS = [
    Kill(Step.CREATE, Victim.GATEWAY, Point.COMMIT_BEFORE, 4),
    Kill(Step.CREATE, Victim.GATEWAY, Point.COMMIT_AFTER, 8),
    Kill(Step.CREATE, Victim.GATEWAY, Point.VCENTER_AFTER, 3),
    Kill(Step.CREATE, Victim.HUB, Point.COMMIT_BEFORE, 1),
    Kill(Step.CREATE, Victim.HUB, Point.COMMIT_AFTER, 1),
    Kill(Step.CREATE, Victim.GATEWAY_FIRST, Point.COMMIT_BEFORE, 6),
]


@pytest.mark.timeout(900)
@pytest.mark.parametrize("kill", KILLS, ids=str)
def test_a_plan_is_carried_out_whoever_dies(place: Place, kill: Kill) -> None:
    site, name = place.get(), f"planned-{KILLS.index(kill)}"
    file = site.folder / f"{name}.yaml"
    file.write_text(yaml.safe_dump(cluster_document(name, workers=2)))
    plan = json.loads(site.moorage("clusters", "plan", "-f", str(file)))
    found = Verdict(runs=1)

    with breaking(site, [a_kill(site, kill)], found):
        site.ask("clusters", "apply", "--plan", plan["metadata"]["name"])
        await_ready(site, name, 3)

    came = {
        (vm["name"], vm["instanceUuid"], vm["datastore"].rpartition("/")[2], *vm["guestIps"][:1])
        for vm in site.listed()
    }
    planned = {
        (one["machine"], one["uid"], one["datastore"], one["addresses"][0].rpartition("/")[2])
        for one in plan["status"]["actions"]
    }
    assert came == planned
    assert found.reached, "nobody came to the point where it should die"
    site.ask("clusters", "delete", name, "--yes")
    site.until(lambda: not site.machines() and not site.listed(), "all are gone", PATIENCE_S)

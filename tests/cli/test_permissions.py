"""What an account may do, and the roles that it needs."""

from moorage.permissions import On
from moorage.resources import Operation
from moorage.resources.check import Check
from moorage.resources.permission import (
    CheckedObject,
    CheckResult,
    CheckTarget,
    Finding,
    FindingState,
)
from tests.cli.world import Mouth, World, a_document

FLAGS = (
    "--datacenter dc1 --folder clusters --template templates/ubuntu --compute-cluster cc1 "
    "--datastore ds1 --network nodes"
)
MISSING = Finding(
    state=FindingState.MISSING,
    kind=On.DATASTORE.value,
    object="/dc1/datastore/ds1",
    moref="datastore-7",
    privilege="Datastore.AllocateSpace",
    shown="Datastore > Allocate space",
    needed_for=["clone"],
)
UNKNOWN = Finding(
    state=FindingState.UNKNOWN,
    kind=On.NETWORK.value,
    object="nodes",
    privilege="System.Read",
    shown="Read-only (in every role)",
    needed_for=["follow the inventory", "clone"],
    message="no network 'nodes': there is VM Network",
)


def answering(
    *findings: Finding, checks: list[Check] | None = None
) -> tuple[Mouth, list[list[CheckTarget]]]:
    asked: list[list[CheckTarget]] = []

    def answer(operation: Operation) -> None:
        targets = operation.spec.arguments["targets"]
        asked.append([CheckTarget.model_validate(target) for target in targets])
        operation.status.result = CheckResult(
            api_version="8.0.3.0",
            objects=[CheckedObject(kind="network", object="nodes")],
            checked=21,
            findings=list(findings),
            checks=checks or [],
        ).document()

    return answer, asked


def test_an_account_with_everything_is_told_so(site: World) -> None:
    answer, asked = answering()

    with site.answering(answer):
        said = site.ok(f"accounts check lab {FLAGS} -o table")

    assert "account lab has all privileges that are needed (21 privileges on 1 objects" in said.err
    ((target,),) = asked
    assert (target.compute_cluster, target.resource_pool) == ("cc1", None)


def test_what_is_missing_is_named_by_object_id_and_name(site: World) -> None:
    answer, _ = answering(MISSING, UNKNOWN)

    with site.answering(answer):
        said = site.cli(f"accounts check lab {FLAGS} -o table")
        as_json = site.cli(f"accounts check lab {FLAGS} -o json")

    assert said.code == as_json.code == 1
    for words in (
        "missing  /dc1/datastore/ds1",
        "datastore datastore-7",
        "Datastore.AllocateSpace",
        "Datastore > Allocate space",
        "unknown  nodes",
        "there is VM Network",
    ):
        assert words in said.out
    assert "1 missing, 1 unknown" in said.err
    assert "does not exist, or the account lacks System.Read" in said.err
    assert [one["state"] for one in as_json.data["findings"]] == ["missing", "unknown"]
    assert as_json.data["findings"][0]["neededFor"] == ["clone"]


def test_a_check_that_fails_ends_with_one_and_one_that_warns_does_not(site: World) -> None:
    file = site.file("c.yaml", a_document())
    room = Check(name="Room", ok=False, message="datastore ds1 is full")
    warns = Check(name="AddressHeadRoom", ok=False, message="none is left", blocking=False)
    clock = Check(name="Clock", ok=True)
    failing, _ = answering(checks=[clock, room])
    warning, _ = answering(checks=[clock, warns])

    with site.answering(failing):
        failed = site.cli(f"accounts check lab -o table -f {file}")
    with site.answering(warning):
        warned = site.ok(f"accounts check lab -o table -f {file}")

    assert failed.code == 1
    assert "Room   failed  datastore ds1 is full" in failed.out
    assert "ok: Clock" in failed.err
    assert "AddressHeadRoom  warns  none is left" in warned.out


def test_the_places_come_from_a_file_or_from_the_accounts_clusters(site: World) -> None:
    answer, asked = answering()
    file = site.file("c.yaml", a_document())

    with site.answering(answer):
        site.ok(f"accounts check lab -f {file}")
        none = site.refused("accounts check lab", code=2)
        site.ok(f"clusters apply -f {file}")
        site.ok("accounts check lab")

    assert "no cluster in project default uses account lab" in none
    assert asked[0] == asked[1]
    assert asked[0][0].datacenter == "dc1"
    assert "not both" in site.refused(f"accounts check lab -f {file} --datacenter dc1", code=2)
    assert "uses account lab, not other" in site.refused(f"accounts check other -f {file}", code=2)
    assert "network" in site.refused("accounts check lab --datacenter dc1", code=2)


def test_roles_are_written_for_places_of_an_account_or_of_anybody(site: World) -> None:
    file = site.file("c.yaml", a_document())

    script = site.ok(f"accounts roles lab -f {file} --switch dvs1")
    module = site.ok(f"accounts roles --user x@y.z -f {file} --format terraform")
    other = site.ok(f"accounts roles lab --user x@y.z {FLAGS} --format powercli").out

    assert script.out.startswith("#!/bin/sh\n")
    assert "user=moorage@vsphere.local" in script.out
    assert "allow moorage-vm-folder true /dc1/vm/clusters\n" in script.out
    assert "allow moorage-read false /dc1/network/dvs1\n" in script.out
    assert 'moorage_user = "Y.Z\\\\x"' in module.out
    assert "add --switch NAME" in module.err
    assert "$user = 'Y.Z\\x'" in other
    assert "--user and places" in site.refused(f"accounts roles -f {file}", code=2)
    assert "no cluster in project" in site.refused("accounts roles lab", code=2)

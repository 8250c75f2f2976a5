"""What the ledger tells an oracle."""

import json
from typing import Any

from lab.tests.vsphere import connected
from moorage_lab.api import Ledger, VCenterProcess

KEY = "moorage.owner"


def mark(uid: str, instance: str, seq: int) -> dict[str, Any]:
    value = json.dumps({"uid": uid, "instanceUuid": instance})
    return {"key": KEY, "value": value, "seq": seq}


def vm(moref: str, uid: str, made: int, gone: int | None = None, **more: Any) -> dict[str, Any]:
    instance = more.pop("instance", moref)
    return {
        "kind": "VirtualMachine",
        "id": moref,
        "made": {"seq": made},
        "gone": {"seq": gone} if gone else None,
        "instanceUuid": more.pop("has", instance),
        "marks": [mark(uid, instance, made)],
        "disks": [f"[ds1] {moref}/{moref}.vmdk"],
        **more,
    }


def test_two_lives_of_one_owner_are_a_duplicate_only_when_they_overlap() -> None:
    after = Ledger.of({"entries": [vm("vm-1", "a", 1, 5), vm("vm-2", "a", 6)], "files": []})
    beside = Ledger.of({"entries": [vm("vm-1", "a", 1, 5), vm("vm-2", "a", 4)], "files": []})

    assert after.duplicates(KEY) == []
    assert beside.duplicates(KEY) == [("a", "vm-1", "vm-2")]


def test_a_copy_made_by_hand_is_no_duplicate() -> None:
    copy = vm("vm-2", "a", 2, instance="vm-1", has="vm-2")

    assert Ledger.of({"entries": [vm("vm-1", "a", 1), copy], "files": []}).duplicates(KEY) == []


def test_orphans_are_alive_and_wanted_by_nobody() -> None:
    entries = [vm("vm-1", "a", 1), vm("vm-2", "b", 2), vm("vm-3", "c", 3, 4)]

    assert Ledger.of({"entries": entries, "files": []}).orphans(KEY, {"a"}) == [("b", "vm-2")]


def test_stray_files_belong_to_no_machine_that_lives() -> None:
    entries = [vm("vm-1", "a", 1), vm("vm-2", "b", 2, 3)]
    files = ["[ds1] vm-1/vm-1.vmdk", "[ds1] vm-2/vm-2.vmdk"]

    assert Ledger.of({"entries": entries, "files": files}).stray_files() == [files[1]]


def test_the_ledger_of_a_vcenter_is_read() -> None:
    with VCenterProcess.start() as vc:
        with connected(vc.host, vc.port, vc.ca_file, vc.user, vc.password):
            pass
        ledger = vc.control.ledger()

    assert [one.by for one in ledger.of_kind("Session")] == [vc.user]
    assert ledger.of_kind("VirtualMachine") == []
    assert ledger.stray_files() == []

"""VM documents and what the hypervisor remembers of them."""

from pathlib import Path
from typing import Any

import pytest

from moorage_lab.document import Document, InvalidDocumentError, Record, guestinfo_of
from moorage_lab.network import Nic, port

UUID = "42df8e87-760e-4c58-b766-accf957774c2"


def a_body(**changes: Any) -> dict[str, Any]:
    return {
        "uuid": UUID,
        "instanceUuid": UUID,
        "moref": "vm-7",
        "name": "Team A/cp 1",
        "image": "1.34.4",
        "cpus": 2,
        "memoryMib": 3072,
        "diskMib": 20480,
        "nics": [{"mac": "00:50:56:AA:BB:01", "network": "VM Network", "connected": True}],
    } | changes


def test_document_of_the_protocol_is_read() -> None:
    document = Document.parse(UUID, a_body())

    assert document.nics == (Nic("00:50:56:aa:bb:01"),)
    assert document.memory_mib == 3072
    assert document.hostname == "team-a-cp-1"
    assert Document.parse(UUID, document.dump()) == document


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"cpus": "2"}, "cpus"),
        ({"memoryMib": 0}, "memoryMib"),
        ({"image": ""}, "image"),
        ({"name": None}, "name"),
        ({"nics": [{"network": "VM Network"}]}, r"nics\[0\]"),
        ({"nics": {"mac": "x"}}, "nics"),
        ({"uuid": "another"}, "uuid"),
    ],
)
def test_broken_document_names_its_field(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidDocumentError, match=words):
        Document.parse(UUID, a_body(**changes))


@pytest.mark.parametrize("uuid", ["../../etc", UUID.upper(), "", f"{UUID}/x"])
def test_uuid_that_is_no_directory_name_is_refused(uuid: str) -> None:
    with pytest.raises(InvalidDocumentError, match="UUID"):
        Document.parse(uuid, a_body(uuid=uuid))


def test_guestinfo_is_text_or_nothing() -> None:
    with pytest.raises(InvalidDocumentError, match=r"guestinfo\.a"):
        guestinfo_of({"guestinfo.a": 1})


def test_record_survives_the_daemon(tmp_path: Path) -> None:
    record = Record(Document.parse(UUID, a_body()), {"guestinfo.a": "1"}, on=True)
    record.guestinfo["guestinfo.b"] = "from the guest"
    record.told.add("guestinfo.b")
    record.save(tmp_path / "vm.json")

    assert Record.load(tmp_path / "vm.json") == record
    assert [path.name for path in tmp_path.iterdir()] == ["vm.json"]


def test_new_document_keeps_what_the_guest_said_and_drops_the_rest() -> None:
    document = Document.parse(UUID, a_body())
    record = Record(document, {"guestinfo.old": "1", "guestinfo.mine": "guest"})
    record.told.add("guestinfo.mine")

    record.accept(document, {"guestinfo.new": "2", "guestinfo.gone": None})

    assert record.guestinfo == {"guestinfo.new": "2", "guestinfo.mine": "guest"}


def test_vcenters_change_overrides_the_guest() -> None:
    record = Record(Document.parse(UUID, a_body()), {"guestinfo.a": "guest"}, told={"guestinfo.a"})

    record.change({"guestinfo.a": "vcenter", "guestinfo.b": None})

    assert record.guestinfo == {"guestinfo.a": "vcenter"}
    assert record.told == set()


def test_port_names_fit_and_differ() -> None:
    names = {port(f"{n:08x}-760e-4c58-b766-accf957774c2", i) for n in range(200) for i in range(3)}

    assert len(names) == 600
    assert max(len(name) for name in names) <= 15

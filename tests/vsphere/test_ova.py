"""OVAs read as they pass by: whatever the size of the pieces, the same judgement."""

import hashlib

import pytest

from moorage.kit.errors import TerminalError
from moorage.vsphere.ova import Descriptor, OvaReader
from tests.ova import DISK, an_ova, archive, descriptor, manifest


def read(ova: bytes, piece: int = 1 << 20) -> Descriptor:
    reader = OvaReader()
    for start in range(0, len(ova), piece):
        reader.feed(ova[start : start + piece])
    assert reader.sha256.hexdigest() == hashlib.sha256(ova).hexdigest()
    return reader.finish()


@pytest.mark.parametrize("piece", [1, 511, 512, 513, 10_000, 1 << 20])
@pytest.mark.parametrize("algorithm", ["SHA1", "SHA256", "SHA512"])
def test_a_good_ova_is_read_in_pieces_of_any_size(piece: int, algorithm: str) -> None:
    found = read(an_ova(DISK[:2000], algorithm=algorithm), piece)

    assert found == Descriptor("template.ovf", ("nic0",), ("disk.vmdk",))


def test_a_manifest_may_come_last_or_be_left_out() -> None:
    files = {"a.ovf": descriptor(), "disk.vmdk": DISK}

    assert read(archive({**files, "a.mf": manifest(files)})).networks == ("nic0",)
    assert read(archive(files)).networks == ("nic0",)


BOMB = b'<!DOCTYPE x [<!ENTITY a "aaaa">]><Envelope/>'
GOOD = {"a.ovf": descriptor(), "disk.vmdk": DISK}


@pytest.mark.parametrize(
    ("ova", "reason", "word"),
    [
        (an_ova(damaged=True), "ChecksumMismatch", "disk.vmdk"),
        (an_ova(damaged=True, algorithm="SHA1"), "ChecksumMismatch", "sha1"),
        (an_ova()[:-40_000], "OVAInvalid", "cut off"),
        (an_ova()[:300], "OVAInvalid", "cut off"),
        (b"<html>not here</html>" * 100, "OVAInvalid", "no tar"),
        (b"", "OVAInvalid", "one OVF descriptor"),
        (archive({"disk.vmdk": DISK}), "OVAInvalid", "one OVF descriptor"),
        (archive({**GOOD, "b.ovf": descriptor()}), "OVAInvalid", "one OVF descriptor"),
        (archive({"a.ovf": descriptor()}), "OVAInvalid", "disk.vmdk"),
        (archive({**GOOD, "a.mf": manifest({**GOOD, "no": b""})}), "OVAInvalid", "not in the OVA"),
        (archive({**GOOD, "a.ovf": b"<a>"}), "OVAInvalid", "no XML"),
        (archive({**GOOD, "a.ovf": b"<a/>"}), "OVAInvalid", "no OVF"),
        (archive({**GOOD, "a.ovf": BOMB}), "OVAInvalid", "document type"),
        (
            archive({**GOOD, "a.ovf": descriptor().replace(b"VirtualSystem ", b"Other ")}),
            "OVAInvalid",
            "",
        ),
    ],
)
def test_what_is_wrong_is_told(ova: bytes, reason: str, word: str) -> None:
    with pytest.raises(TerminalError) as told:
        read(ova, 4096)

    assert told.value.reason == reason
    assert word in str(told.value)

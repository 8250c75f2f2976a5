"""Notes of vCenter sessions: sealed, one process at a time, never in the way."""

from pathlib import Path

from moorage.gateway.session_notes import SessionNotes
from moorage.kit.seal import PrivateSealingKey

KEY = PrivateSealingKey.generate()


def test_the_next_process_reads_what_the_last_one_wrote(tmp_path: Path) -> None:
    first = SessionNotes(tmp_path / "sessions", KEY).open("prod")
    assert first is not None
    assert first.read() == ""
    first.write("a longer session than the next")
    first.write("session")
    assert SessionNotes(tmp_path / "sessions", KEY).open("prod") is None, "it is in use"
    first.close()

    second = SessionNotes(tmp_path / "sessions", KEY).open("prod")
    other = SessionNotes(tmp_path / "sessions", KEY).open("../test")

    assert second is not None
    assert other is not None
    assert second.read() == "session"
    assert other.read() == ""
    second.write("")
    assert second.read() == ""
    second.close()
    other.close()
    assert list((tmp_path / "sessions").iterdir()) == [], "both were ended in order"


def test_only_the_owner_can_read_a_session(tmp_path: Path) -> None:
    folder = tmp_path / "sessions"
    note = SessionNotes(folder, KEY).open("prod")
    assert note is not None
    note.write("vmware_soap_session=secret")
    note.close()

    (file,) = folder.iterdir()
    assert (folder.stat().st_mode & 0o777, file.stat().st_mode & 0o777) == (0o700, 0o600)
    assert b"secret" not in file.read_bytes()
    stolen = SessionNotes(folder, PrivateSealingKey.generate()).open("prod")
    assert stolen is not None
    assert stolen.read() == ""
    stolen.close()


def test_a_torn_note_and_a_folder_that_cannot_be_made_are_no_hindrance(tmp_path: Path) -> None:
    folder = tmp_path / "sessions"
    note = SessionNotes(folder, KEY).open("prod")
    assert note is not None
    note.write("session")
    (file,) = folder.iterdir()
    file.write_bytes(file.read_bytes()[:40])
    assert note.read() == ""
    note.close()

    (tmp_path / "taken").touch()
    assert SessionNotes(tmp_path / "taken", KEY).open("prod") is None

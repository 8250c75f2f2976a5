"""The node's helper as a process of its own, and the gateway's end of the mailbox."""

import base64
import gzip
import hashlib
import hmac
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import pytest

from moorage.bootstrap import helper_key, parse_progress, parse_reply, render_request
from moorage.bootstrap.mailbox import Reply
from moorage.kit.errors import InvalidError

from .builders import UID, a_pki

SCRIPT = (files("moorage.bootstrap") / "files" / "helper.py").read_text()
TOKEN = "abcdef.0123456789abcdef"
KEY = "-----BEGIN EC PRIVATE KEY-----\nMHcCAQEEIIr\n-----END EC PRIVATE KEY-----"

RPCTOOL = """#!/bin/bash
case "$1" in
    "info-get "*) cat "$T/request" 2>/dev/null ;;
    "info-set guestinfo.moorage.reply "*)
        printf '%s' "${1#info-set guestinfo.moorage.reply }" > "$T/reply.new"
        mv "$T/reply.new" "$T/reply" ;;
esac
"""


@dataclass
class Guest:
    """One node with a running helper."""

    root: Path
    process: subprocess.Popen[bytes]

    def put(self, request: str) -> None:
        (self.root / "reply").unlink(missing_ok=True)
        new = self.root / "request.new"
        new.write_text(request)
        new.replace(self.root / "request")

    def ask(self, counter: int, verb: str = "collect-logs", machine: str = UID) -> None:
        self.put(render_request(a_pki(), machine, counter, verb, {"lines": 50}))

    def reply(self) -> Reply:
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            if (self.root / "reply").exists():
                return parse_reply((self.root / "reply").read_text())
            time.sleep(0.02)
        pytest.fail(f"no reply; the helper said {self.said()}")

    def refuses(self, why: str) -> None:
        deadline = time.monotonic() + 20
        while why not in self.said():
            assert time.monotonic() < deadline, self.said()
            time.sleep(0.02)
        assert not (self.root / "reply").exists()

    def said(self) -> str:
        return (self.root / "stderr").read_text()


def start(root: Path) -> subprocess.Popen[bytes]:
    with (root / "stderr").open("ab") as stderr:
        return subprocess.Popen(
            [sys.executable, str(root / "helper")],
            env={"PATH": f"{root}/bin:{os.environ['PATH']}", "T": str(root)},
            stderr=stderr,
        )


@pytest.fixture
def guest(tmp_path: Path) -> Iterator[Guest]:
    script = SCRIPT.replace("POLL_S = 3.0", "POLL_S = 0.02")
    for path in ("/etc/moorage", "/var/lib/moorage", "/var/log"):
        script = script.replace(f'"{path}/', f'"{tmp_path}{path}/')
    (tmp_path / "helper").write_text(script)
    (tmp_path / "bin").mkdir()
    for name, body in {
        "vmware-rpctool": RPCTOOL,
        "journalctl": '#!/bin/bash\necho "journal of $*"\n',
        "systemctl": "#!/bin/bash\nexit 0\n",
    }.items():
        (tmp_path / "bin" / name).write_text(body)
        (tmp_path / "bin" / name).chmod(0o755)
    configuration = tmp_path / "etc/moorage/helper.json"
    configuration.parent.mkdir(parents=True)
    key = helper_key(a_pki(), UID).hex()
    configuration.write_text(json.dumps({"machine": UID, "key": key}))
    logs = tmp_path / "var/log/moorage"
    logs.mkdir(parents=True)
    (logs / "kubeadm.log").write_text(f"first\ntoken {TOKEN} used\n{KEY}\n{'ab' * 32}\nit failed\n")
    guest = Guest(tmp_path, start(tmp_path))
    yield guest
    guest.process.kill()  # a test may have started it anew
    guest.process.wait(10)


def test_logs_come_back_without_secrets(guest: Guest) -> None:
    guest.ask(1)

    reply = guest.reply()

    assert (reply.machine, reply.counter, reply.verb, reply.ok) == (UID, 1, "collect-logs", True)
    assert (
        "==> kubeadm <==\nfirst\ntoken (redacted) used\n(redacted)\nabababab(redacted)\nit failed\n"
        in reply.text
    )
    assert "journal of --no-pager -n 50 -u kubelet.service" in reply.text
    assert TOKEN not in reply.text
    assert "MHcCAQEE" not in reply.text


def test_counter_must_rise_also_after_a_restart(guest: Guest) -> None:
    guest.ask(5)
    guest.reply()

    guest.ask(4)
    guest.refuses("counter was used")
    guest.process.kill()
    guest.process.wait(10)
    guest.process = start(guest.root)
    guest.ask(5)
    guest.refuses("counter was used")
    guest.ask(6)
    assert guest.reply().counter == 6


def test_spoiled_counter_refuses_everything(guest: Guest) -> None:
    counter = guest.root / "var/lib/moorage/helper.counter"
    counter.parent.mkdir(parents=True)
    counter.write_text("?")

    guest.ask(10)

    guest.refuses("counter was used")


def test_request_for_another_machine_is_refused(guest: Guest) -> None:
    guest.ask(1, machine="another")
    guest.refuses("the signature is wrong")


def test_request_named_for_another_machine_but_signed_with_this_key(guest: Guest) -> None:

    request = {"args": {}, "counter": 1, "machine": "another", "verb": "collect-logs"}
    text = json.dumps(request, sort_keys=True, separators=(",", ":"))
    digest = hmac.new(helper_key(a_pki(), UID), text.encode(), hashlib.sha256).hexdigest()

    guest.put(json.dumps({**request, "hmac": digest}))

    guest.refuses("for another machine")


@pytest.mark.parametrize(
    "change",
    [{"counter": 2}, {"verb": "reboot"}, {"args": {"lines": 9}}, {"hmac": "0" * 64}],
    ids=lambda change: str(next(iter(change))),
)
def test_changed_request_is_refused(guest: Guest, change: dict[str, object]) -> None:
    request = json.loads(render_request(a_pki(), UID, 1, "collect-logs", {}))

    guest.put(json.dumps({**request, **change}))

    guest.refuses("the signature is wrong")


@pytest.mark.parametrize("text", ["nonsense", "[]", "{}", '{"hmac": 1}', "null"])
def test_anything_else_is_refused(guest: Guest, text: str) -> None:
    guest.put(text)

    guest.refuses("not a signed request")


def test_unknown_verb_is_answered_with_those_that_are_known(guest: Guest) -> None:
    guest.ask(1, verb="format-disk")

    reply = guest.reply()

    assert not reply.ok
    assert reply.message == "unknown verb; this helper knows collect-logs"


def test_long_logs_are_cut_to_what_a_guest_can_send(guest: Guest) -> None:
    log = guest.root / "var/log/moorage/kubeadm.log"
    lines = [base64.b64encode(os.urandom(60)).decode() for _ in range(4000)]
    log.write_text("\n".join([*lines, "the very last line"]) + "\n")

    guest.put(render_request(a_pki(), UID, 1, "collect-logs", {"lines": 4000}))
    reply = guest.reply()

    assert len((guest.root / "reply").read_bytes()) <= 60 * 1024
    assert "the very last line" in reply.text
    assert "journal of" in reply.text
    assert reply.text.count("==> ") >= 10


def a_reply(text: str = "logs", **change: object) -> str:
    data = base64.b64encode(gzip.compress(text.encode())).decode()
    document = {"machine": UID, "counter": 1, "verb": "v", "ok": True, "message": "", "data": data}
    return json.dumps({**document, **change})


def test_replies_cannot_drive_a_terminal() -> None:
    assert parse_reply(a_reply("a\x1b[31mb\nc\x07")).text == "a[31mb\nc"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "null",
        "{}",
        a_reply(data="!"),
        a_reply(data=base64.b64encode(b"not gzip").decode()),
        a_reply(data=base64.b64encode(gzip.compress(b"x")[:-4]).decode()),
        a_reply(counter="one"),
        a_reply("0" * (9 * 1024 * 1024)),
    ],
    ids=["empty", "null", "object", "base64", "gzip", "short", "counter", "bomb"],
)
def test_what_is_no_reply_is_refused(text: str) -> None:
    with pytest.raises(InvalidError, match="does not hold a helper's reply"):
        parse_reply(text)


@pytest.mark.parametrize("text", ["", "{}", "[]", "null", "1", '{"phase": "X"}'])
def test_what_is_no_progress_is_none(text: str) -> None:
    assert parse_progress(text) is None


def test_progress_is_cut_and_cleaned() -> None:
    said = {"phase": "P" * 500, "at": "now", "detail": "\x1b[2J" + "d" * 5000, "failed": "yes"}

    progress = parse_progress(json.dumps(said))

    assert progress is not None
    assert (len(progress.phase), len(progress.detail)) == (64, 1024)
    assert "\x1b" not in progress.detail
    assert not progress.failed


def test_requests_too_large_for_a_guest_are_refused() -> None:
    with pytest.raises(InvalidError, match="65536"):
        render_request(a_pki(), UID, 1, "collect-logs", {"x": "y" * 70_000})

#!/usr/bin/python3
"""Answer requests that the Moorage gateway puts into this VM's guestinfo.

Runs on the node, on the standard library of Python 3.8 or later, and shares no code with
Moorage. A request is obeyed only when it is signed with this machine's key, names this machine,
and has a higher counter than any before it; the verbs are fixed.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import hmac
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Sequence  # noqa: TC003 - a plain script
from pathlib import Path
from typing import Any

CONFIGURATION = Path("/etc/moorage/helper.json")
COUNTER = Path("/var/lib/moorage/helper.counter")
REQUEST = "guestinfo.moorage.request"
REPLY = "guestinfo.moorage.reply"
POLL_S = 3.0
COMMAND_TIMEOUT_S = 20
MAX_REPLY_BYTES = 60 * 1024
MIN_LINES = 5

SECRETS = (
    re.compile(
        r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL
    ),
    re.compile(r"\b[a-z0-9]{6}\.[a-z0-9]{16}\b"),  # bootstrap tokens
    re.compile(r"(?<=[Bb]earer )\S+"),
    re.compile(r"\beyJ[\w-]{10,}\.[\w-]+\.[\w-]+"),  # service-account tokens
    re.compile(r"(?<=-key-data: )\S+"),
    re.compile(r"(?<=://)[^/\s:@]+:[^/\s@]+(?=@)"),  # a proxy's user and password
)

LONG_HEX = re.compile(r"\b([0-9a-f]{8})[0-9a-f]{56}\b")
"""Certificate keys look like the names of containers: enough is left to tell these apart."""

SOURCES: dict[str, Sequence[str]] = {
    "progress": ("tail", "-n", "{lines}", "/var/log/moorage/boot.log"),
    "kubeadm": ("tail", "-n", "{lines}", "/var/log/moorage/kubeadm.log"),
    "pre-kubeadm": ("tail", "-n", "{lines}", "/var/log/moorage/pre-kubeadm.log"),
    "post-kubeadm": ("tail", "-n", "{lines}", "/var/log/moorage/post-kubeadm.log"),
    "cloud-init": ("tail", "-n", "{lines}", "/var/log/cloud-init-output.log"),
    "boot": ("journalctl", "--no-pager", "-n", "{lines}", "-u", "moorage-boot.service"),
    "kubelet": ("journalctl", "--no-pager", "-n", "{lines}", "-u", "kubelet.service"),
    "containerd": ("journalctl", "--no-pager", "-n", "{lines}", "-u", "containerd.service"),
    "units": ("systemctl", "--no-pager", "--failed"),
    "addresses": ("ip", "-brief", "address"),
    "routes": ("ip", "route"),
    "disks": ("df", "-h", "/", "/var", "/run"),
    "memory": ("free", "-m"),
    "containers": ("crictl", "ps", "-a"),
}


def rpc(command: str) -> str | None:
    """Run one guest RPC; ``None`` when it fails, as for a value that is not there."""
    for program in (["vmware-rpctool"], ["vmtoolsd", "--cmd"]):
        try:
            done = subprocess.run(
                [*program, command],
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                timeout=COMMAND_TIMEOUT_S,
                check=False,
            )
        except FileNotFoundError:
            continue
        except subprocess.TimeoutExpired:
            return None
        return done.stdout.decode("utf-8", "replace") if done.returncode == 0 else None
    return None


def redact(text: str) -> str:
    """Blot out whatever looks like a secret."""
    for pattern in SECRETS:
        text = pattern.sub("(redacted)", text)
    return LONG_HEX.sub(r"\1(redacted)", text)


def run(arguments: Sequence[str], lines: int) -> str:
    """Return what a command prints, or why it printed nothing."""
    command = [argument.format(lines=lines) for argument in arguments]
    try:
        done = subprocess.run(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=COMMAND_TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"({error})"
    return done.stdout.decode("utf-8", "replace")


def collect_logs(arguments: dict[str, Any]) -> str:
    """Gather the ends of the logs that tell why a node does not join."""
    asked = arguments.get("lines", 400)
    lines = max(MIN_LINES, min(int(asked), 5000))
    return "\n".join(f"==> {name} <==\n{run(what, lines)}" for name, what in SOURCES.items())


VERBS: dict[str, Callable[[dict[str, Any]], str]] = {"collect-logs": collect_logs}


def signature(key: bytes, request: dict[str, Any]) -> str:
    """Return the HMAC of a request: over its canonical JSON, without the signature itself."""
    signed = {name: request.get(name) for name in ("args", "counter", "machine", "verb")}
    text = json.dumps(signed, sort_keys=True, separators=(",", ":"))
    return hmac.new(key, text.encode(), hashlib.sha256).hexdigest()


def last_counter() -> int:
    """Return the highest counter that was ever obeyed."""
    try:
        return int(COUNTER.read_text())
    except FileNotFoundError:
        return 0
    except ValueError:
        # Refusing everything is safer than obeying an old request again.
        return sys.maxsize


def store_counter(counter: int) -> None:
    """Write the counter so that it survives a crash right after."""
    COUNTER.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    new = COUNTER.with_suffix(".new")
    with new.open("w") as file:
        file.write(str(counter))
        file.flush()
        os.fsync(file.fileno())
    new.replace(COUNTER)


def refusal(key: bytes, machine: str, request: object) -> str | None:
    """Return why a request is not obeyed, or ``None``."""
    if not isinstance(request, dict) or not isinstance(request.get("hmac"), str):
        return "not a signed request"
    if not hmac.compare_digest(signature(key, request), request["hmac"]):
        return "the signature is wrong"
    if request["machine"] != machine:
        return "it is for another machine"
    counter = request["counter"]
    if not isinstance(counter, int) or counter <= last_counter():
        return "its counter was used before"
    return None


def render_reply(request: dict[str, Any], ok: bool, message: str, text: str) -> str:
    """Render a reply that fits: the text is shortened until it does."""
    reply = {
        "counter": request["counter"],
        "machine": request["machine"],
        "verb": request["verb"],
        "ok": ok,
        "message": message,
        "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }
    while True:
        data = base64.b64encode(gzip.compress(text.encode())).decode()
        rendered = json.dumps({**reply, "data": data}, sort_keys=True)
        if len(rendered) <= MAX_REPLY_BYTES:
            return rendered
        text = shorten(text)


def shorten(text: str) -> str:
    """Halve the longest section of a report, keeping its end: short sections stay whole."""
    sections = text.split("==> ")
    longest = max(range(len(sections)), key=lambda index: len(sections[index]))
    head, _, body = sections[longest].partition("\n")
    _, _, end = body[len(body) // 2 + 1 :].partition("\n")
    sections[longest] = f"{head}\n(shortened)\n{end}"
    if len(sections[longest]) >= len(head) + len(body):
        return text[len(text) // 2 + 1 :]
    return "==> ".join(sections)


def obey(request: dict[str, Any]) -> str:
    """Do what a verified request asks, and render the reply."""
    verb = VERBS.get(str(request["verb"]))
    if verb is None:
        known = ", ".join(sorted(VERBS))
        return render_reply(request, False, f"unknown verb; this helper knows {known}", "")
    try:
        text = redact(verb(request.get("args") or {}))
    except Exception as error:  # noqa: BLE001 - the gateway must hear of it, whatever it is
        return render_reply(request, False, f"{type(error).__name__}: {error}", "")
    return render_reply(request, True, "", text)


def handle(key: bytes, machine: str, text: str) -> None:
    """Look at one request, and answer it if it is genuine and new."""
    try:
        request = json.loads(text)
    except ValueError:
        request = None
    why = refusal(key, machine, request)
    if why is not None:
        print(f"request refused: {why}", file=sys.stderr, flush=True)  # noqa: T201
        return
    # Before the deed: a request is obeyed once at most, also when this process dies in it.
    store_counter(request["counter"])
    rpc(f"info-set {REPLY} {obey(request)}")


def main() -> None:
    """Look for requests until the machine goes down."""
    configuration = json.loads(CONFIGURATION.read_text())
    key, machine = bytes.fromhex(configuration["key"]), configuration["machine"]
    seen = None
    while True:
        text = rpc(f"info-get {REQUEST}")
        if text and text.strip() and text != seen:
            seen = text
            handle(key, machine, text)
        time.sleep(POLL_S)


if __name__ == "__main__":
    main()

"""Debian's Chromium, spoken to over its own debugging protocol: no driver to install."""

import base64
import json
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from websockets.sync.client import ClientConnection, connect

_FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--hide-scrollbars",
    "--ignore-certificate-errors",
    "--remote-debugging-port=0",
    "--remote-allow-origins=*",
)
_PATIENCE_S = 120.0


class Tab:
    """One page in a real browser."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket
        self._number = 0
        self.complaints: list[str] = []
        """What the browser's console said: refused scripts, uncaught errors."""
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.say(f"{domain}.enable")

    def say(self, method: str, **params: Any) -> dict[str, Any]:
        """Send one command and return its result."""
        self._number += 1
        self._socket.send(json.dumps({"id": self._number, "method": method, "params": params}))
        while True:
            got = json.loads(self._socket.recv(timeout=_PATIENCE_S))
            if got.get("id") == self._number:
                assert "error" not in got, f"{method}: {got['error']}"
                result: dict[str, Any] = got["result"]
                return result
            self._note(got)

    def _note(self, event: dict[str, Any]) -> None:
        params = event.get("params", {})
        if event["method"] == "Log.entryAdded" and params["entry"]["level"] == "error":
            self.complaints.append(params["entry"]["text"])
        if event["method"] == "Runtime.exceptionThrown":
            self.complaints.append(str(params["exceptionDetails"].get("exception")))

    def run(self, script: str) -> Any:
        """Evaluate an expression in the page and return its value."""
        got = self.say("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in got, f"{script}: {got['exceptionDetails']}"
        return got["result"].get("value")

    def wait(self, script: str, what: str) -> Any:
        """Wait until an expression is true in whatever page is shown then."""
        end = time.monotonic() + _PATIENCE_S
        while time.monotonic() < end:
            try:
                if found := self.run(script):
                    return found
            except AssertionError:  # the page is just being replaced
                pass
            time.sleep(0.2)
        text = self.run("document.body.innerText")
        raise AssertionError(f"{what} did not come; {self.run('location.href')} says:\n{text}")

    def open(self, address: str) -> None:
        """Go to a page and wait until it is there."""
        self.say("Page.navigate", url=address)
        self.wait("document.readyState === 'complete'", address)

    def fill(self, **fields: str) -> None:
        """Type into fields, found by their names."""
        for name, value in fields.items():
            self.run(
                f"(() => {{ const f = document.querySelector('[name={name}]:not([type=hidden])');"
                f"f.value = {json.dumps(value)};"
                "for (const kind of f.tagName === 'SELECT' ? ['input', 'change'] : ['input'])"
                "f.dispatchEvent(new Event(kind, {bubbles: true})); })()"
            )

    def press(self, label: str) -> None:
        """Press the button or link that is called like this."""
        found = self.run(
            "(() => { const all = [...document.querySelectorAll('button, a, summary')];"
            f"const one = all.find((e) => e.innerText.trim() === {json.dumps(label)});"
            "if (one) { window.pressed = true; one.click(); } return !!one; })()"
        )
        assert found, f"there is nothing called {label}: {self.run('document.body.innerText')}"

    def go(self, label: str) -> None:
        """Press what leads to another page, and wait for it."""
        self.press(label)
        self.wait("!window.pressed && document.readyState === 'complete'", f"what {label} leads to")

    def picture(self, file: Path, *, width: int = 1200, dark: bool = False) -> None:
        """Keep a small picture of the page."""
        scheme = [
            {"name": "prefers-color-scheme", "value": "dark" if dark else "light"},
            {"name": "prefers-reduced-motion", "value": "reduce"},  # no colour half-way
        ]
        self.say("Emulation.setEmulatedMedia", features=scheme)
        height = 860
        self.say(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=False,
        )
        got = self.say("Page.captureScreenshot", format="jpeg", quality=55)
        file.write_bytes(base64.b64decode(got["data"]))


@contextmanager
def chromium(program: str = "chromium") -> Iterator[Tab]:
    """Start a browser with an empty profile; it ends with the block."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        command = [program, *_FLAGS, f"--user-data-dir={profile}", "about:blank"]
        with subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        ) as process:
            try:
                with connect(_page_of(Path(profile)), max_size=None) as socket:
                    yield Tab(socket)
            finally:
                process.terminate()
                process.wait()


def _page_of(profile: Path) -> str:
    """Return the address of the first page's debugging socket, once the browser is there."""
    file = profile / "DevToolsActivePort"
    end = time.monotonic() + _PATIENCE_S
    while time.monotonic() < end:
        if file.exists() and (lines := file.read_text().splitlines()):
            with urllib.request.urlopen(f"http://127.0.0.1:{lines[0]}/json/list") as answer:
                for page in json.load(answer):
                    if page["type"] == "page":
                        return str(page["webSocketDebuggerUrl"])
        time.sleep(0.1)
    raise AssertionError("the browser did not start")

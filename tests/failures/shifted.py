"""Hub or gateway as installed, with a wall clock that is off: libfaketime sets it, and no other.

Every read of that clock is met, those of OpenSSL and SQLite too. The product knows nothing of it.
"""

import contextlib
import os
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path

from tests.faults.children import Child
from tests.faults.site import Site

LIBRARY = next(iter(sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))), None)
WHY_NOT = "libfaketime is not installed: lab/install-packages tests"
_CACHED_S = 1
"""How long a process may go on with the shift that it has read last."""


class _Program:
    """A program that runs, as ``Child`` handles what it has forked."""

    def __init__(self, running: subprocess.Popen[bytes]) -> None:
        self._running = running
        self.pid = running.pid
        self.kill = running.kill

    @property
    def exitcode(self) -> int | None:
        return self._running.returncode

    def is_alive(self) -> bool:
        return self._running.poll() is None

    def join(self, timeout: float | None = None) -> None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._running.wait(timeout)


class Shifted(Child):
    """A process whose clock is set by ``shift``; it may be set again while it runs."""

    def __init__(self, like: Child, shift: timedelta) -> None:
        super().__init__(like.name, like.data, like._port)
        self._file = like.data.parent / f"{like.name}.clock"
        self.set(shift)

    def set(self, shift: timedelta) -> None:
        """Set the clock; what runs has seen it on return."""
        new = self._file.with_suffix(".new")
        new.write_text(f"{shift.total_seconds():+.0f}\n")
        new.replace(self._file)
        if self._process is not None:
            time.sleep(2 * _CACHED_S)

    def start(self) -> None:
        words = [sys.executable, "-m", f"moorage.{self.name}", "run", "--data", str(self.data)]
        if self.name == "hub":
            where = f"127.0.0.1:{self._port}"
            words += ["--listen", where, "--name", "127.0.0.1", "--public-url", f"https://{where}"]
        else:
            words += ["--health", "off"]
        faketime = {
            "LD_PRELOAD": str(LIBRARY),
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_CACHE_DURATION": str(_CACHED_S),
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "FAKETIME_DISABLE_SHM": "1",
            "NO_FAKE_STAT": "1",
        }
        with (self.data.parent / f"{self.name}.log").open("ab") as log:
            self._process = _Program(
                subprocess.Popen(
                    words, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                    env=os.environ | faketime,
                )
            )  # fmt: skip


def restart_hub(site: Site, shift: timedelta) -> Shifted:
    """Stop the hub, and start it again with a clock that is off."""
    assert site.hub.stop(30)
    site.hub = shifted = Shifted(site.hub, shift)
    shifted.start()
    return shifted


def restart_gateway(site: Site, shift: timedelta) -> Shifted:
    """Stop the gateway, and start it again with a clock that is off."""
    assert site.gateway.stop(30)
    site.gateway = shifted = Shifted(site.gateway, shift)
    shifted.start()
    return shifted

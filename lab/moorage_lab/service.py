"""The lab's own long-running processes: each in its own session, known by a file.

They outlive the daemon that started them, so that a new daemon takes them over.
"""

import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from moorage_lab.errors import LabError
from moorage_lab.places import State
from moorage_lab.process import Identity


@dataclass(frozen=True, slots=True)
class Service:
    """One process, its log and its file."""

    name: str
    state: State

    @property
    def identity(self) -> Path:
        return self.state.processes / f"{self.name}.json"

    @property
    def log(self) -> Path:
        return self.state.logs / f"{self.name}.log"

    def running(self) -> Identity | None:
        return Identity.load(self.identity)

    def start(self, command: Sequence[str], *, stdin: int = subprocess.DEVNULL) -> Identity:
        """Start the process unless it runs. It inherits the caller's control groups."""
        if (running := self.running()) is not None:
            return running
        with self.log.open("ab") as log:
            child = subprocess.Popen(
                command,
                stdin=stdin,
                stdout=log,
                stderr=log,
                start_new_session=True,
                cwd="/",
                env={**os.environ, "PYTHONUNBUFFERED": "1"},
            )
        identity = Identity.of(child.pid)
        if identity is None:
            raise LabError(f"{self.name} ended at once: {self.tail()}")
        identity.save(self.identity)
        return identity

    def stop(self, *, grace_s: float = 5) -> None:
        if (running := self.running()) is not None and not running.stop(grace_s=grace_s):
            raise LabError(f"{self.name} (process {running.pid}) survives SIGKILL")
        self.identity.unlink(missing_ok=True)

    def tail(self, lines: int = 5) -> str:
        """The log's last words."""
        try:
            text = self.log.read_text(errors="replace")
        except FileNotFoundError:
            return "(no log)"
        return " / ".join(text.strip().splitlines()[-lines:]) or "(empty log)"

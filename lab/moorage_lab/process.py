"""Processes that outlive the one that started them.

A process is known by its id and its start time, so that an id which the kernel has given
to somebody else is never signalled.
"""

import json
import os
import select
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

_STATE, _START = 0, 19  # fields of /proc/PID/stat after the command's name


def _stat(pid: int) -> list[str] | None:
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return text.rpartition(")")[2].split()


@dataclass(frozen=True, slots=True)
class Identity:
    """One process of this boot, and never its successor under the same id."""

    pid: int
    start: int

    @classmethod
    def of(cls, pid: int) -> "Identity | None":
        """The process that has this id now; `None` if there is none or it is a zombie."""
        fields = _stat(pid)
        if fields is None or fields[_STATE] in "ZX":
            return None
        return cls(pid, int(fields[_START]))

    def is_alive(self) -> bool:
        return Identity.of(self.pid) == self

    @contextmanager
    def open(self) -> Iterator[int | None]:
        """A descriptor of the process, readable once it has ended; `None` if it is gone."""
        try:
            descriptor = os.pidfd_open(self.pid)
        except ProcessLookupError:
            yield None
            return
        try:
            yield descriptor if self.is_alive() else None
        finally:
            os.close(descriptor)

    def send(self, number: int) -> bool:
        """Signal the process; false if it is gone."""
        with self.open() as descriptor:
            if descriptor is None:
                return False
            try:
                signal.pidfd_send_signal(descriptor, number)
            except ProcessLookupError:
                return False
            return True

    def wait(self, timeout_s: float) -> bool:
        """Wait for the end of the process, which need not be our child; false if it stays."""
        deadline = time.monotonic() + timeout_s
        with self.open() as descriptor:
            if descriptor is None:
                return True
            poller = select.poll()
            poller.register(descriptor, select.POLLIN)
            left = max(0.0, deadline - time.monotonic())
            return bool(poller.poll(left * 1000))

    def stop(self, *, grace_s: float = 5, kill_s: float = 10) -> bool:
        """Ask the process to end, then make it; false if it is still there."""
        if grace_s > 0 and self.send(signal.SIGTERM) and self.wait(grace_s):
            return True
        self.send(signal.SIGKILL)
        return self.wait(kill_s)

    def save(self, path: Path) -> None:
        write_atomically(path, json.dumps(asdict(self)))

    @classmethod
    def load(cls, path: Path) -> "Identity | None":
        """The process written to a file, if it still runs."""
        try:
            found = cls(**json.loads(path.read_text()))
        except (FileNotFoundError, ValueError, TypeError):
            return None
        return found if found.is_alive() else None


def write_atomically(path: Path, text: str) -> None:
    """Replace a file so that a reader, or a crash, sees the old text or the new one."""
    new = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}.new")
    new.write_text(text)
    new.rename(path)

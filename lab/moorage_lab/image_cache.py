"""A cache of slow builds: entries are keyed by contents, made whole or not at all.

An entry is a directory. It is built under a temporary name and renamed when it is complete, so
whatever stands under an entry's name is finished, also after ``kill -9`` in the middle of a build.
One file lock keeps two builds apart; whoever holds it may remove what a dead build left.
"""

import fcntl
import hashlib
import os
import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from moorage_lab.errors import LabError

Progress = Callable[[str], None]

PARTIAL = ".partial-"


class ImageError(LabError):
    """A build cannot start or has failed; the message says what to do about it."""


def contents_key(paths: Iterable[Path], *facts: str) -> str:
    """Hash files and whole directories by relative name, mode and contents, with other facts.

    Times, owners and the place of the checkout do not count. Neither do caches of Python and
    files of editors, which come and go without meaning.
    """
    digest = hashlib.sha256()
    for fact in facts:
        digest.update(f"fact {len(fact)} {fact}\n".encode())
    for top in paths:
        for path in _files(top):
            name = path.relative_to(top.parent).as_posix()
            executable = "x" if path.stat().st_mode & 0o100 else "-"
            data = path.read_bytes()
            digest.update(f"file {len(name)} {name} {executable} {len(data)}\n".encode())
            digest.update(data)
    return digest.hexdigest()[:20]


def _files(top: Path) -> Iterator[Path]:
    if top.is_file():
        yield top
        return
    for path in sorted(top.rglob("*")):
        ignored = "__pycache__" in path.parts or path.name.startswith(".") or path.suffix == ".md"
        if path.is_file() and not ignored:
            yield path


@dataclass(slots=True)
class Stages:
    """Counts and times the stages of one build and tells a person about them."""

    total: int
    progress: Progress
    started: float = field(default_factory=time.monotonic)
    number: int = 0

    def next(self, what: str) -> None:
        self.number += 1
        self.progress(f"[{self.number:2}/{self.total}] {self.elapsed():6.1f} s  {what}")

    def elapsed(self) -> float:
        return time.monotonic() - self.started


@dataclass(frozen=True, slots=True)
class Cache:
    """The entries of the node image and of its parts."""

    top: Path

    def entry(self, kind: str, key: str) -> Path:
        return self.top / kind / key

    def find(self, kind: str, key: str) -> Path | None:
        entry = self.entry(kind, key)
        return entry if entry.is_dir() else None

    def make(
        self, kind: str, key: str, build: Callable[[Path], None], stages: Stages, what: str
    ) -> Path:
        """Return the entry, built first if it is not there. Call it while holding the lock."""
        entry = self.entry(kind, key)
        if entry.is_dir():
            os.utime(entry)  # prune keeps what was used last
            stages.next(f"{what}: cached")
            return entry
        stages.next(what)
        before = stages.elapsed()
        entry.parent.mkdir(parents=True, exist_ok=True)
        partial = entry.with_name(PARTIAL + key)
        _remove(partial)
        partial.mkdir()
        try:
            build(partial)
            partial.rename(entry)
        finally:
            _remove(partial)
        stages.progress(f"        {what}: {stages.elapsed() - before:.1f} s")
        return entry

    def prune(self, kind: str, keep: int) -> None:
        """Remove all but the entries used last. Only for parts, which no running VM uses."""
        entries = [path for path in (self.top / kind).iterdir() if path.is_dir()]
        entries.sort(key=lambda path: path.stat().st_mtime, reverse=True)
        for path in entries[keep:]:
            doomed = path.with_name(PARTIAL + path.name)
            path.rename(doomed)
            _remove(doomed)

    @contextmanager
    def locked(self, progress: Progress) -> Iterator[None]:
        """Hold the only right to build; what dead builds left is removed first."""
        self.top.mkdir(parents=True, exist_ok=True)
        with (self.top / "node-image.lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                progress("another build of the node image is running; waiting for it to end")
                fcntl.flock(lock, fcntl.LOCK_EX)
            for kind in self.top.glob("node-*/"):
                for partial in kind.glob(PARTIAL + "*"):
                    _remove(partial)
            yield


def _remove(directory: Path) -> None:
    if directory.is_dir():
        shutil.rmtree(directory)

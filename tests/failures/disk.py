"""A small disk of a test's own: a tmpfs, mounted inside a namespace that the test runs in."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_MIB = 1024 * 1024
UNSHARE = ("unshare", "--user", "--map-root-user", "--mount")
"""No root is needed where users may have namespaces; what is mounted ends with the process."""


def why_no_disk() -> str:
    """Say why this machine lets nobody mount a file system of their own; empty when it does."""
    command = [*UNSHARE, "mount", "-t", "tmpfs", "-o", "size=1m", "small", "/mnt"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError as error:
        return str(error)
    return done.stderr if done.returncode else ""


class SmallDisk:
    """A file system that can be filled and freed."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._ballast = path / "ballast"

    def fill(self) -> None:
        """Leave not one free block."""
        with self._ballast.open("ab", buffering=0) as file:
            for size in (_MIB, 4096):
                try:
                    while True:
                        file.write(b"\0" * size)
                except OSError:
                    continue

    def free(self) -> None:
        """Take away what filled it."""
        self._ballast.unlink()


@contextmanager
def small_disk(path: Path, mib: int = 64) -> Iterator[SmallDisk]:
    """Mount one at a folder; for a process inside ``UNSHARE``."""
    options = f"size={mib}m,mode=700"
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "small", str(path)], check=True)
    try:
        yield SmallDisk(path)
    finally:
        subprocess.run(["umount", "--lazy", str(path)], check=True)

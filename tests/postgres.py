"""A PostgreSQL server of our own: from the system's binaries, in a temporary folder, no TCP."""

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_USER = "moorage"


class NoPostgresError(Exception):
    """The binaries are not installed."""


@contextmanager
def postgres_server() -> Iterator[str]:
    """Run a server and yield the start of its URLs; a database's name replaces ``{}``."""
    binaries = _find_binaries()
    folder = Path(tempfile.mkdtemp(prefix="moorage-pg-"))
    owner = _unprivileged()
    if owner is not None:
        os.chown(folder, owner.pw_uid, owner.pw_gid)
    data = folder / "data"
    try:
        _run(
            owner,
            binaries / "initdb",
            *("--pgdata", data, "--username", _USER, "--auth", "trust"),
            *("--encoding", "UTF8", "--locale", "C", "--no-sync"),
        )
        options = f"-c listen_addresses='' -c unix_socket_directories='{folder}' -c fsync=off"
        log = folder / "log"
        try:
            _run(
                owner,
                binaries / "pg_ctl",
                *("start", "-w", "-t", "60", "-D", data, "-l", log, "-o", options),
            )
            yield f"postgresql+psycopg://{_USER}@/{{}}?host={folder}"
        finally:
            _run(owner, binaries / "pg_ctl", "stop", "-w", "-m", "immediate", "-D", data)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _find_binaries() -> Path:
    """Return the folder of the newest server that is installed."""
    candidates = sorted(
        Path("/usr/lib/postgresql").glob("*/bin/initdb"),
        key=lambda path: int(path.parts[-3]) if path.parts[-3].isdigit() else 0,
    )
    found = str(candidates[-1]) if candidates else shutil.which("initdb")
    if found is None:
        raise NoPostgresError("--postgres needs a PostgreSQL server: apt-get install postgresql")
    return Path(found).resolve().parent


def _unprivileged() -> pwd.struct_passwd | None:
    """Return who shall run the server when we are root, which PostgreSQL refuses to be."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    raise NoPostgresError("--postgres as root needs a user named postgres or nobody")


def _run(owner: pwd.struct_passwd | None, *command: object) -> None:
    done = subprocess.run(
        [str(word) for word in command],
        stdout=subprocess.DEVNULL,  # a pipe would stay open in the server
        stderr=subprocess.PIPE if "start" not in command else subprocess.DEVNULL,
        text=True,
        check=False,
        cwd="/",
        user=owner.pw_uid if owner else None,
        group=owner.pw_gid if owner else None,
        extra_groups=[] if owner else None,
    )
    if done.returncode:
        raise RuntimeError(f"{command[0]} ended with {done.returncode}: {done.stderr}")

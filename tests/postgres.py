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

_SCRIPT = """
"$1/initdb" --pgdata "$2/data" --username "$3" --auth trust \\
    --encoding UTF8 --locale C --no-sync > "$2/log" 2>&1 \\
&& "$1/pg_ctl" start -w -t 60 -D "$2/data" -l "$2/log" \\
    -o "-c listen_addresses='' -c unix_socket_directories='$2' -c fsync=off" > /dev/null 2>&1 \\
|| { cat "$2/log"; exit 1; }
echo ready
read -r _  # until the tests close their end, or are killed
"$1/pg_ctl" stop -w -m immediate -D "$2/data" > /dev/null 2>&1
rm -rf "$2"
"""


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
    try:
        with subprocess.Popen(
            ["/bin/sh", "-c", _SCRIPT, "sh", str(binaries), str(folder), _USER],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd="/",
            user=owner.pw_uid if owner else None,
            group=owner.pw_gid if owner else None,
            extra_groups=[] if owner else None,
            start_new_session=True,  # an interrupt is for the tests, not for the server
        ) as shell:
            assert shell.stdout is not None
            said = shell.stdout.readline()
            if said.strip() != "ready":
                raise NoPostgresError(f"PostgreSQL did not start: {said}{shell.stdout.read()}")
            yield f"postgresql+psycopg://{_USER}@/{{}}?host={folder}"
            shell.communicate()
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

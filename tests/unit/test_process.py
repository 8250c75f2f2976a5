"""The services' processes: what they load, and how the command line becomes them."""

import json
import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from moorage.kit.errors import InvalidError
from moorage.kit.process import hidden, settings

SQLITE_ONLY = {"psycopg", "sqlalchemy.orm", "sqlalchemy.dialects.postgresql", "alembic", "mako"}
COMMAND_LINE = {"cyclopts", "attr", "rich", "pygments"}

LOADED = """
import anyio, json, sys
from moorage.{part}.service import load
load()
from moorage.store import open_store

async def use():
    store = await open_store(sys.argv[1], exclusive=True)
    await store.set_value("a", "b")
    await store.close()
    if "httpx2" in sys.modules:
        import httpx2
        await httpx2.AsyncClient().aclose()

anyio.run(use)
json.dump(sorted(sys.modules), sys.stdout)
"""

BECOMES = """
import os, sys
from moorage.kit.process import become
print(os.getpid(), flush=True)
become("service", {"url": "postgresql://user:secret@host/db"})
"""

SERVICE = """
import json, os
from pathlib import Path
from moorage.kit.process import settings
given = settings()
words = Path("/proc/self/cmdline").read_text().split(chr(0))
print(json.dumps([os.getpid(), given, words]))
"""

LOGINS = """
from pathlib import Path
from moorage.auth import hash_password, verify_password

def resident():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS:")) / 1024

stored = hash_password("long enough for this")
before = resident()
for _ in range(4):
    assert verify_password("long enough for this", stored).ok
print(resident() - before)
"""


def python(code: str, *words: str, cwd: Path | None = None) -> str:
    path = os.pathsep.join([*sys.path, str(cwd or "")])
    return subprocess.run(
        [sys.executable, "-c", code, *words],
        check=True,
        capture_output=True,
        text=True,
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": path},
        timeout=60,
    ).stdout


@pytest.mark.parametrize(
    ("part", "foreign"),
    [
        ("hub", {"pyVmomi", "lightkube", "httpx2"}),
        ("gateway", {"fastapi", "starlette", "uvicorn", "h2"}),
    ],
)
def test_a_service_on_sqlite_loads_nothing_that_it_does_not_use(
    tmp_path: Path, part: str, foreign: set[str]
) -> None:
    url = f"sqlite:///{tmp_path}/new.db"

    loaded = set(json.loads(python(LOADED.replace("{part}", part), url)))

    assert loaded & (SQLITE_ONLY | COMMAND_LINE | foreign) == set()


@pytest.mark.parametrize("part", ["hub", "gateway"])
def test_a_command_line_loads_little_before_it_becomes_the_service(part: str) -> None:
    code = f"import json, sys, moorage.{part}.main; json.dump(sorted(sys.modules), sys.stdout)"

    loaded = set(json.loads(python(code)))

    assert loaded & {"sqlalchemy", "pydantic", "cryptography", "structlog", "httpx2"} == set()


def test_settings_of_the_service_are_not_on_its_command_line(tmp_path: Path) -> None:
    (tmp_path / "service.py").write_text(SERVICE)

    before, after = python(BECOMES, "run", "--data", "x", cwd=tmp_path).splitlines()

    pid, given, words = json.loads(after)
    assert pid == int(before)
    assert given == {"url": "postgresql://user:secret@host/db"}
    assert words[1:] == ["-m", "service", "run", "--data", "x", ""]


def test_a_service_started_by_hand_names_its_command() -> None:
    with pytest.raises(InvalidError, match="moorage-hub run"):
        settings()


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="how glibc keeps memory")
def test_logins_leave_no_memory_behind(tmp_path: Path) -> None:
    (tmp_path / "service.py").write_text(LOGINS)

    grown = float(python(BECOMES, cwd=tmp_path).splitlines()[1])

    assert grown < 8  # one verification takes 19 MiB


def test_a_hidden_library_is_back_after_the_block() -> None:
    name = "colorsys"  # small, and nobody else's
    sys.modules.pop(name, None)
    with hidden(name), pytest.raises(ImportError):
        _load(name)

    assert _load(name).hsv_to_rgb(0, 0, 1) == (1, 1, 1)


def _load(name: str) -> Any:
    return __import__(name)

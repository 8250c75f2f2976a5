"""How a command line becomes the process that serves: by ``exec``, in one place.

A service lives for months on little memory, so it does not keep what only its command line needed,
and it starts with settings that the C library and some libraries read but once, at their start.
"""

import gc
import json
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NoReturn

from moorage.kit.errors import InvalidError, MoorageError

_HANDLE = "MOORAGE_SETTINGS_HANDLE"

_ENVIRONMENT = {
    # Without a fixed threshold glibc, once a large block was freed, keeps the next ones of that
    # size in its heap for good: 19 MiB after the second password that is verified.
    "MALLOC_MMAP_THRESHOLD_": "262144",
    # Else each thread may get a heap of its own; Python's threads take turns anyway.
    "MALLOC_ARENA_MAX": "1",
    # Pydantic would look through all installed packages for plugins of others.
    "PYDANTIC_DISABLE_PLUGINS": "true",
    # These are Python's own places; to ask for them it would load all of its build's settings.
    "PYTHONTZPATH": "/usr/share/zoneinfo:/usr/lib/zoneinfo:/usr/share/lib/zoneinfo:/etc/zoneinfo",
}
"""Where the user has set one of these, that stands."""


def become(module: str, settings: Mapping[str, Any]) -> NoReturn:
    """Replace this process by ``python -m module``, which asks for the ``settings()``.

    The process id stays. Settings go through a pipe: others can read a command line, and a
    database's URL may hold a password.
    """
    reader, writer = os.pipe()
    with os.fdopen(writer, "w", encoding="utf-8") as pipe:
        json.dump(settings, pipe)  # small: a pipe holds 64 KiB that nobody reads yet
    os.set_inheritable(reader, True)
    environment = {**_ENVIRONMENT, **os.environ, _HANDLE: str(reader)}
    # The user's words stay behind the module's name, for those who look at the process table.
    os.execve(sys.executable, [sys.executable, "-m", module, *sys.argv[1:]], environment)  # noqa: S606


def settings() -> dict[str, Any]:
    """Return what ``become`` was given, once; raises ``InvalidError``."""
    handle = os.environ.pop(_HANDLE, None)
    if handle is None:
        raise InvalidError("this module is no command: use `moorage-hub run` or moorage-gateway's")
    with os.fdopen(int(handle), encoding="utf-8") as pipe:
        found: dict[str, Any] = json.load(pipe)
    return found


DAMAGED_STORE = 65
"""Exit code of a process that stopped for its damaged database: to start it again is no help."""


def exit_code(error: MoorageError) -> int:
    """Return what a service ends with when this error ends it."""
    return DAMAGED_STORE if getattr(error, "reason", "") == "StoreCorrupt" else 1


@contextmanager
def one_error() -> Iterator[None]:
    """Raise an error meant for people alone, without the group that a task group puts around it."""
    try:
        yield
    except BaseExceptionGroup as group:
        ours, others = group.split(MoorageError)
        if ours is None or others is not None:
            raise
        first: BaseException = ours
        while isinstance(first, BaseExceptionGroup):
            first = first.exceptions[0]
        raise first from None


_COLLECT_AFTER = 10_000
"""Objects made and not yet gone after which the collector looks at the youngest. A page of a list
is several thousand, all of which go by themselves."""


def settle() -> None:
    """Let the garbage collector leave alone what is there by now: it is there to stay.

    Modules and routes are a hundred thousand objects. To look through them all took 0.1 s, in a
    busy hub several times a second, while nobody was answered. What comes later is collected as
    ever. Call it once, when all is composed.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_COLLECT_AFTER)


@contextmanager
def hidden(*names: str) -> Iterator[None]:
    """Let what is imported in the block do without some optional libraries.

    structlog takes up rich, and rich pygments, wherever they are installed: 3 MiB for tracebacks
    in colour, which a service never draws.
    """
    ours = [name for name in names if name not in sys.modules]
    sys.modules.update(dict.fromkeys(ours))  # type: ignore[arg-type] # None: the import fails
    try:
        yield
    finally:
        for name in ours:
            del sys.modules[name]

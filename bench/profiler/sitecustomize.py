"""Sample where a process of ours spends its processor time; Python loads this by its name.

``python -m bench --profile DIR`` puts this folder on the path of hub and gateway, so the product
has no door for it. A signal comes after each few milliseconds of processor time of all threads;
the stacks of that moment are counted and written, one line each with its count, when the process
ends: the format that flame graph tools read.
"""

import atexit
import linecache
import os
import signal
import sys
import threading
from collections import defaultdict
from pathlib import Path
from types import FrameType

INTERVAL_S = 0.004
FOLDER = "MOORAGE_BENCH_PROFILE"
_WAITS = {"select", "wait", "get", "acquire", "poll", "_worker", "accept", "readinto"}
"""Functions in which a thread does nothing: it is not what used the time."""

_stacks: dict[str, float] = defaultdict(float)


def _service() -> str | None:
    words = [word for word in sys.orig_argv if word.startswith("moorage.")]
    return words[0] if "-m" in sys.orig_argv and words and words[0].endswith("service") else None


def _line(frame: FrameType) -> str:
    return linecache.getline(frame.f_code.co_filename, frame.f_lineno or 0).strip()


def _waits(frame: FrameType) -> bool:
    return frame.f_code.co_name in _WAITS or ".get()" in _line(frame)


def _frames(frame: FrameType) -> list[str]:
    names = [_line(frame).replace(";", ",")]
    above: FrameType | None = frame
    while above is not None:
        module = str(above.f_globals.get("__name__", "?"))
        names.append(f"{module}:{above.f_code.co_qualname}")
        above = above.f_back
    return names[::-1]


def _sample(_: int, frame: FrameType | None) -> None:
    if frame is not None and not _waits(frame):
        _stacks[";".join(_frames(frame))] += 1
        return
    mine = threading.get_ident()
    busy = [
        _frames(other)
        for thread, other in sys._current_frames().items()  # noqa: SLF001 - made for this
        if thread != mine and not _waits(other)
    ]
    for names in busy or [["(not Python)"]]:
        _stacks[";".join(["thread", *names])] += 1 / max(1, len(busy))


def _write(file: Path) -> None:
    signal.setitimer(signal.ITIMER_PROF, 0)
    lines = [f"{stack} {count:.2f}" for stack, count in _stacks.items()]
    file.write_text("\n".join(lines) + "\n")


def _begin(folder: str, service: str) -> None:
    atexit.register(_write, Path(folder) / f"{service}-{os.getpid()}.stacks")
    signal.signal(signal.SIGPROF, _sample)
    signal.setitimer(signal.ITIMER_PROF, INTERVAL_S, INTERVAL_S)


if (_folder := os.environ.get(FOLDER)) and (_name := _service()):
    _begin(_folder, _name)

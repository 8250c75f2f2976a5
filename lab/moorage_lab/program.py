"""The lab's Go programs: where they are, how they are built, how tests run them."""

import json
import os
import select
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from moorage_lab.errors import LabError
from moorage_lab.image_binaries import GO_ENVIRONMENT, LDFLAGS
from moorage_lab.image_cache import contents_key
from moorage_lab.places import cache_dir, lab_dir

Progress = Callable[[str], None]

_BUILD_TIMEOUT_S = 1800

_GUARD = """
exec 3<&0
"$@" </dev/null 3<&- & child=$!
{ cat <&3 >/dev/null; kill $child; } 2>/dev/null & guard=$!
wait $child
kill $guard 2>/dev/null
"""
"""Ends the program when our end of the pipe closes: also when the tests are killed."""


def find_or_build(name: str, folder: str, variable: str, progress: Progress) -> Path:
    """The binary: the one that the variable names, or the cache's for these sources.

    Args:
        name: Of the program.
        folder: Of its Go module under ``lab/``.
        variable: Environment variable with the path of a ready binary.
        progress: Told when a build begins.
    """
    if own := os.environ.get(variable):
        if not os.access(own, os.X_OK):
            raise LabError(f"{variable} is {own}: no program is there")
        return Path(own)
    source = lab_dir() / folder
    binary = cache_dir() / name / contents_key([source]) / name
    if not binary.exists():
        _build(name, source, binary, progress)
    return binary


def _build(name: str, source: Path, binary: Path, progress: Progress) -> None:
    if (go := shutil.which("go")) is None:
        raise LabError(f"Go is not installed: it is needed to build {name} from {source}")
    progress(f"building {name} from {source} (about 2 minutes when nothing is cached)")
    binary.parent.mkdir(parents=True, exist_ok=True)
    new = binary.with_name(f".{binary.name}.{os.getpid()}")
    command = [go, "build", "-ldflags", LDFLAGS, "-o", str(new), "."]
    try:
        subprocess.run(
            command,
            cwd=source,
            env={**os.environ, **GO_ENVIRONMENT},
            check=True,
            capture_output=True,
            text=True,
            timeout=_BUILD_TIMEOUT_S,
        )
        new.rename(binary)
    except subprocess.CalledProcessError as error:
        raise LabError(f"`go build` in {source} failed:\n{error.stderr.strip()}") from error
    except subprocess.TimeoutExpired as error:
        raise LabError(f"`go build` in {source} took over {_BUILD_TIMEOUT_S} s") from error
    finally:
        new.unlink(missing_ok=True)


@contextmanager
def running(command: list[str], log_file: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run a program for the length of a `with` block; it ends with us, however we end."""
    with log_file.open("wb") as log:
        process = subprocess.Popen(
            ["sh", "-c", _GUARD, "guard", *command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            start_new_session=True,
        )
    with process:
        try:
            yield process
        finally:
            if process.stdin is not None:
                process.stdin.close()
            try:
                process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                process.kill()


def first_line(
    name: str, process: subprocess.Popen[bytes], timeout_s: float, log_file: Path
) -> dict[str, str]:
    """What the program says once it serves; on its end, why it did not."""
    output = process.stdout
    deadline = time.monotonic() + timeout_s
    while output is not None and time.monotonic() < deadline:
        if select.select([output], [], [], 0.1)[0]:
            line = output.readline()
            if not line:
                break
            said: dict[str, str] = json.loads(line)
            return said
    raise LabError(f"{name} did not start: {log_file.read_text().strip() or '(no words)'}")

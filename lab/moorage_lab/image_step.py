"""Run one step of an image build so that nothing of it outlives the build."""

import subprocess
from pathlib import Path

from moorage_lab.image_cache import ImageError

_TIED = ("setpriv", "--pdeathsig", "KILL", "--")
"""The step dies with the build: else it would write into a directory that is made anew."""

_APART = ("unshare", "--mount", "--pid", "--fork", "--kill-child", "--")
"""Mounts and processes of the step are gone when it ends, however it ends."""


def run_step(
    command: list[str],
    *,
    cwd: Path | None = None,
    env: dict[str, str] | None = None,
    apart: bool = False,
) -> str:
    """Run a command; its output is returned, or becomes the error's text.

    Args:
        command: Program and arguments.
        cwd: Folder to run it in.
        env: Its whole environment; the build's own if not given.
        apart: Run it in mount and process namespaces of its own.
    """
    done = subprocess.run(
        [*_TIED, *(_APART if apart else ()), *command],
        cwd=cwd,
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
    )
    if done.returncode != 0:
        tail = "\n".join(done.stdout.strip().splitlines()[-25:])
        shown = " ".join(command)
        raise ImageError(f"`{shown[:400]}` ended with {done.returncode}:\n{tail}")
    return done.stdout

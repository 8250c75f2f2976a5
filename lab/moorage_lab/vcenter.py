"""The program lab-vcenter: where it is, how it is built, how it is started."""

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

from moorage_lab.errors import LabError
from moorage_lab.image_binaries import GO_ENVIRONMENT, LDFLAGS
from moorage_lab.image_cache import contents_key
from moorage_lab.places import cache_dir, lab_dir

Progress = Callable[[str], None]

_BUILD_TIMEOUT_S = 1800


def find_or_build(progress: Progress = lambda _: None) -> Path:
    """The binary: $MOORAGE_LAB_VCENTER, or the cache's for these sources, built if missing."""
    if own := os.environ.get("MOORAGE_LAB_VCENTER"):
        if not os.access(own, os.X_OK):
            raise LabError(f"MOORAGE_LAB_VCENTER is {own}: no program is there")
        return Path(own)
    source = lab_dir() / "vcenter"
    key = contents_key([source])
    binary = cache_dir() / "lab-vcenter" / key / "lab-vcenter"
    if not binary.exists():
        _build(source, binary, progress)
    return binary


def _build(source: Path, binary: Path, progress: Progress) -> None:
    if (go := shutil.which("go")) is None:
        raise LabError(f"Go is not installed: it is needed to build lab-vcenter from {source}")
    progress(f"building lab-vcenter from {source} (about 2 minutes when nothing is cached)")
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


def vcenter_command(
    binary: Path,
    *,
    listen: str,
    inventory: Path,
    state_dir: Path,
    control: Path,
    hypervisor: Path | None = None,
) -> list[str]:
    """The command line of lab-vcenter; it makes `ca.crt` in the state directory."""
    command = [str(binary), "--listen", listen, "--inventory", str(inventory)]
    command += ["--state-dir", str(state_dir), "--control", str(control)]
    if hypervisor is not None:
        command += ["--hypervisor", str(hypervisor)]
    return command

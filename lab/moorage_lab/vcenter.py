"""The program lab-vcenter: where it is, how it is built, how it is started."""

from pathlib import Path

from moorage_lab import program
from moorage_lab.program import Progress


def find_or_build(progress: Progress = lambda _: None) -> Path:
    """The binary: $MOORAGE_LAB_VCENTER, or the cache's for these sources, built if missing."""
    return program.find_or_build("lab-vcenter", "vcenter", "MOORAGE_LAB_VCENTER", progress)


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

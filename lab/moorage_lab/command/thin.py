"""`moorage-lab thin`: a vCenter with thin guests on the loopback, without root."""

import json
import signal
from pathlib import Path

from moorage_lab.command import output
from moorage_lab.vcenter_process import VCenterProcess


def thin(directory: Path, *, inventory: Path | None = None) -> None:
    """Run a vCenter whose VMs behave like Kubernetes nodes and boot nothing, until a signal.

    It needs no root and no network of its own: guests have addresses of 127.0.0.0/8. What a
    client must know (address, CA, user, an IP pool) lies in DIRECTORY/lab.json once it serves.

    Example: `moorage-lab thin .lab`

    Args:
        directory: Made if missing; lab.json is removed at the end.
        inventory: YAML file of the vCenter's inventory (default: lab/inventories/default.yaml).
    """
    signals = {signal.SIGTERM, signal.SIGINT}
    # Before the children start: the signal is then held back until it is waited for.
    signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    directory.mkdir(parents=True, exist_ok=True)
    file = directory / "lab.json"
    with VCenterProcess.start(inventory, guests="thin") as vcenter:
        found = {
            "server": vcenter.address,
            "ca": str(vcenter.ca_file),
            "user": vcenter.user,
            "password": vcenter.password,
            "control": str(vcenter.control.socket),
            "hypervisor": str(vcenter.guests.socket),
            "pool": vcenter.guests.pool(),
        }
        new = file.with_suffix(".new")
        new.write_text(json.dumps(found, indent=2) + "\n")
        new.rename(file)
        output.progress(f"vCenter https://{vcenter.address}/sdk with thin guests; see {file}")
        try:
            signal.sigwait(signals)
        finally:
            file.unlink(missing_ok=True)

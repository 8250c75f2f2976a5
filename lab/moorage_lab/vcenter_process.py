"""A simulated vCenter for tests: on loopback, without root, with thin guests or none."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self
from urllib.parse import urlsplit

import yaml

from moorage_lab.control import Control
from moorage_lab.errors import LabError
from moorage_lab.inventory import default_inventory, users_of
from moorage_lab.program import first_line, running
from moorage_lab.thin import ThinGuests
from moorage_lab.vcenter import find_or_build, vcenter_command


@dataclass(frozen=True, slots=True)
class VCenterProcess:
    """A running lab-vcenter. Each test may have its own: port and files are its own."""

    url: str
    """Where SOAP is served."""
    host: str
    port: int
    ca_file: Path
    user: str
    password: str
    control: Control
    log_file: Path
    thin: ThinGuests | None = None
    """What is behind the VMs, if it was asked for."""

    @property
    def address(self) -> str:
        """`host:port`."""
        return f"{self.host}:{self.port}"

    @property
    def guests(self) -> ThinGuests:
        """The thin guests; raises ``LabError`` when none were asked for."""
        if self.thin is None:
            raise LabError('this vCenter has no guests: start it with guests="thin"')
        return self.thin

    @classmethod
    @contextmanager
    def start(
        cls,
        inventory: Path | dict[str, Any] | None = None,
        *,
        hypervisor: Path | None = None,
        guests: Literal["none", "thin"] = "none",
        timeout_s: float = 30,
        arguments: tuple[str, ...] = (),
    ) -> Iterator[Self]:
        """Run a vCenter on a free port of 127.0.0.1 for the length of a `with` block.

        Args:
            inventory: Inventory file, or its contents; the default inventory if left out.
            hypervisor: Unix socket of a hypervisor; without it VMs power on alone.
            guests: `thin` puts a process of thin guests behind the VMs.
            timeout_s: How long the vCenter may take until it listens.
            arguments: More arguments of lab-vcenter, such as `("--task-seconds", "2")`.

        Raises:
            LabError: It cannot be built or does not start; the text has its last words.
        """
        binary = find_or_build()
        directory = Path(tempfile.mkdtemp(prefix="lab-vc-"))
        try:
            with ExitStack() as stack:
                socket = directory / "control.sock"
                thin = None
                if guests == "thin":
                    thin = stack.enter_context(ThinGuests.start(directory, socket))
                    hypervisor = thin.socket
                file = _inventory_file(inventory, directory)
                user, password = users_of(file)[0]
                log_file = directory / "vcenter.log"
                command = vcenter_command(
                    binary,
                    listen="127.0.0.1:0",
                    inventory=file,
                    state_dir=directory,
                    control=socket,
                    hypervisor=hypervisor,
                )
                process = stack.enter_context(running([*command, *arguments], log_file))
                said = first_line("lab-vcenter", process, timeout_s, log_file)
                url = urlsplit(said["url"])
                yield cls(
                    url=said["url"],
                    host=str(url.hostname),
                    port=int(url.port or 443),
                    ca_file=Path(said["ca"]),
                    user=user,
                    password=password,
                    control=stack.enter_context(Control(socket)),
                    log_file=log_file,
                    thin=thin,
                )
        finally:
            shutil.rmtree(directory, ignore_errors=True)


def _inventory_file(inventory: Path | dict[str, Any] | None, directory: Path) -> Path:
    if isinstance(inventory, dict):
        file = directory / "inventory.yaml"
        file.write_text(yaml.safe_dump(inventory))
        return file
    return inventory or default_inventory()

"""A simulated vCenter for tests: on loopback, without root, without nodes."""

import json
import select
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml

from moorage_lab.control import Control
from moorage_lab.errors import LabError
from moorage_lab.inventory import default_inventory, users_of
from moorage_lab.vcenter import find_or_build, vcenter_command

_GUARD = """
exec 3<&0
"$@" </dev/null 3<&- & child=$!
{ cat <&3 >/dev/null; kill $child; } 2>/dev/null & guard=$!
wait $child
kill $guard 2>/dev/null
"""
"""Ends the vCenter when our end of the pipe closes: also when the tests are killed."""


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

    @property
    def address(self) -> str:
        """`host:port`."""
        return f"{self.host}:{self.port}"

    @classmethod
    @contextmanager
    def start(
        cls,
        inventory: Path | dict[str, Any] | None = None,
        *,
        hypervisor: Path | None = None,
        timeout_s: float = 30,
        arguments: tuple[str, ...] = (),
    ) -> "Iterator[VCenterProcess]":
        """Run a vCenter on a free port of 127.0.0.1 for the length of a `with` block.

        Args:
            inventory: Inventory file, or its contents; the default inventory if left out.
            hypervisor: Unix socket of a hypervisor; without it VMs power on alone.
            timeout_s: How long the vCenter may take until it listens.
            arguments: More arguments of lab-vcenter, such as `("--task-seconds", "2")`.

        Raises:
            LabError: It cannot be built or does not start; the text has its last words.
        """
        binary = find_or_build()
        directory = Path(tempfile.mkdtemp(prefix="lab-vc-"))
        try:
            file = _inventory_file(inventory, directory)
            user, password = users_of(file)[0]
            log_file = directory / "vcenter.log"
            command = vcenter_command(
                binary,
                listen="127.0.0.1:0",
                inventory=file,
                state_dir=directory,
                control=directory / "control.sock",
                hypervisor=hypervisor,
            )
            with _running([*command, *arguments], log_file) as process:
                said = _first_line(process, timeout_s, log_file)
                url = urlsplit(said["url"])
                with Control(directory / "control.sock") as control:
                    yield cls(
                        url=said["url"],
                        host=str(url.hostname),
                        port=int(url.port or 443),
                        ca_file=Path(said["ca"]),
                        user=user,
                        password=password,
                        control=control,
                        log_file=log_file,
                    )
        finally:
            shutil.rmtree(directory, ignore_errors=True)


def _inventory_file(inventory: Path | dict[str, Any] | None, directory: Path) -> Path:
    if isinstance(inventory, dict):
        file = directory / "inventory.yaml"
        file.write_text(yaml.safe_dump(inventory))
        return file
    return inventory or default_inventory()


@contextmanager
def _running(command: list[str], log_file: Path) -> Iterator[subprocess.Popen[bytes]]:
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


def _first_line(
    process: subprocess.Popen[bytes], timeout_s: float, log_file: Path
) -> dict[str, str]:
    """What lab-vcenter says once it serves; on its end, why it did not."""
    output = process.stdout
    deadline = time.monotonic() + timeout_s
    while output is not None and time.monotonic() < deadline:
        if select.select([output], [], [], 0.1)[0]:
            line = output.readline()
            if not line:
                break
            said: dict[str, str] = json.loads(line)
            return said
    raise LabError(f"lab-vcenter did not start: {log_file.read_text().strip() or '(no words)'}")

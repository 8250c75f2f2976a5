"""One virtual machine: its record, disk, network and container. Blocking, not thread-safe.

The hypervisor calls it in threads, one call at a time for each VM. Every operation may be
repeated, and picks up what a killed predecessor left half done.
"""

from collections.abc import Callable
from pathlib import Path

from moorage_lab import cgroup, network
from moorage_lab.container import POWEROFF_SIGNAL, REBOOT, REBOOT_SIGNAL, Container
from moorage_lab.disk import Disk, Image
from moorage_lab.document import Document, Record
from moorage_lab.errors import ConflictError, LabError
from moorage_lab.process import Identity

FindImage = Callable[[str], Image]


class VM:
    """A VM below `<state>/vms/<uuid>`."""

    def __init__(self, path: Path, record: Record, find_image: FindImage, stores: Path) -> None:
        self.path = path
        self.record = record
        self.disk = Disk(path)
        self.container = Container(f"vm-{record.document.uuid}", path)
        self._find_image = find_image
        self._stores = stores

    @property
    def document(self) -> Document:
        return self.record.document

    @property
    def rpc_socket(self) -> Path:
        return self.disk.guestinfo / "rpc.sock"

    def save(self) -> None:
        self.path.mkdir(parents=True, exist_ok=True)
        self.record.save(self.path / "vm.json")

    @classmethod
    def load(cls, path: Path, find_image: FindImage, stores: Path) -> "VM":
        return cls(path, Record.load(path / "vm.json"), find_image, stores)

    def accept(self, document: Document, guestinfo: dict[str, str | None]) -> None:
        """Take vCenter's configuration; cables change at once, size at the next power on."""
        nics = self.document.nics
        self.record.accept(document, guestinfo)
        self.save()
        if document.nics != nics and len(document.nics) == len(nics) and self.running():
            network.set_links(document.uuid, document.nics)

    def running(self) -> Identity | None:
        """The supervisor of the running container."""
        return self.container.running()

    def prepare(self) -> None:
        """Make the disk, so that the guest's socket has its directory."""
        self.disk.make(self._find_image(self.document.image), self._stores)
        (self.disk.guestinfo / ".bios-uuid").write_text(f"{self.document.uuid}\n")

    def power_on(self) -> Identity:
        """Boot the guest, unless it runs; answer its supervisor."""
        if (supervisor := self.running()) is not None:
            return supervisor
        self.clean()
        self.prepare()
        document = self.document
        try:
            self.disk.mount(self._find_image(document.image))
            network.connect(document.uuid, self.container.netns, document.nics)
            cgroup.make(self.container.name)
            cgroup.limit(self.container.name, memory_mib=document.memory_mib, cpus=document.cpus)
            supervisor = self.container.start(document.hostname)
        except (LabError, OSError):
            self.clean()
            raise
        self.record.tools = None
        self.record.on = True
        self.save()
        return supervisor

    def power_off(self) -> None:
        """Pull the plug."""
        self.record.on = False
        self.record.tools = None
        self.save()
        self.clean()

    def clean(self) -> None:
        """Leave no process, control group, port, namespace or mount of this VM."""
        self.container.kill()
        network.disconnect(self.document.uuid, self.container.netns)
        self.disk.unmount()

    def shutdown(self) -> None:
        self._signal(POWEROFF_SIGNAL)

    def reboot(self) -> None:
        self._signal(REBOOT_SIGNAL)

    def _signal(self, number: int) -> None:
        if self.running() is None:
            raise ConflictError(f"VM {self.document.name} is not powered on")
        self.container.signal(number)

    def wants_reboot(self) -> bool:
        """Whether the container that has ended asked to be started again."""
        return self.container.exit_code() == REBOOT

    def destroy(self) -> None:
        """Leave nothing at all of this VM. From its record's end on it counts as torn."""
        self.clean()
        (self.path / "vm.json").unlink(missing_ok=True)
        self.disk.remove()

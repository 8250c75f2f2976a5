"""Size of a virtual machine, with its disks: shared by control plane and node pools."""

from pydantic import Field

from moorage.resources.meta import Model


class ExtraDisk(Model):
    """A disk beside the template's: empty, unformatted, gone with the machine."""

    size_gib: int = Field(ge=1, le=62 * 1024)
    thin: bool = True
    """Takes space as it is written; else all of it when the machine is made."""


class MachineSize(Model):
    """Size of the virtual machines of a pool."""

    cpus: int = Field(default=2, ge=1, le=128)
    memory_mib: int = Field(default=4096, ge=1024, le=4 * 1024 * 1024)
    disk_gib: int | None = Field(default=None, ge=1, le=62 * 1024)
    """System disk; ``None`` keeps the template's size (linked clones stay possible)."""
    extra_disks: list[ExtraDisk] = Field(default_factory=list, max_length=8)
    """On the machine's datastore, in this order after the template's disks."""

    def extra_bytes(self) -> int:
        """Return the size of all extra disks."""
        return sum(disk.size_gib for disk in self.extra_disks) * 1024**3

"""Size of a virtual machine, with its disks: shared by control plane and node pools."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from moorage.resources.meta import InventoryPath, Model

Shares = Literal["low", "normal", "high"] | Annotated[int, Field(ge=1, le=1_000_000)]
"""How much a machine gets where there is not enough for all, beside others of its resource pool:
a level, by which larger machines get more, or a number."""


class ExtraDisk(Model):
    """A disk beside the template's: empty, unformatted, gone with the machine."""

    size_gib: int = Field(ge=1, le=62 * 1024)
    thin: bool = True
    """Takes space as it is written; else all of it when the machine is made."""
    datastore: InventoryPath | None = None
    """It lies on this datastore; without it and ``storagePolicy``, on the machine's, by the
    failure domain's policy."""
    storage_policy: InventoryPath | None = None
    """Name (or identifier) of the storage policy that it follows. Without a datastore, it lies on
    the machine's if that satisfies the policy, else on the one with most space of those that do."""

    @property
    def has_own_place(self) -> bool:
        """Tell whether it says itself where it lies."""
        return self.datastore is not None or self.storage_policy is not None


class CPUAllocation(Model):
    """What a machine gets of its host's processors."""

    reservation_mhz: int = Field(default=0, ge=0)
    """Kept for it while it runs: it is powered on only where so much is free."""
    limit_mhz: int | None = Field(default=None, ge=1)
    """Never more than this. ``None``: as much as its processors are."""
    shares: Shares | None = None
    """``None``: as the template has it."""

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.limit_mhz is not None and self.reservation_mhz > self.limit_mhz:
            raise ValueError("reservationMhz must not be more than limitMhz")
        return self


class MemoryAllocation(Model):
    """What a machine gets of its host's memory."""

    reservation_mib: int = Field(default=0, ge=0)
    """Kept for it while it runs; the swap file on its datastore is smaller by it."""
    limit_mib: int | None = Field(default=None, ge=1)
    """Never more than this. ``None``: as much as it has."""
    shares: Shares | None = None
    """``None``: as the template has it."""

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.limit_mib is not None and self.reservation_mib > self.limit_mib:
            raise ValueError("reservationMib must not be more than limitMib")
        return self


class MachineSize(Model):
    """Size of the virtual machines of a pool."""

    cpus: int = Field(default=2, ge=1, le=128)
    memory_mib: int = Field(default=4096, ge=1024, le=4 * 1024 * 1024)
    disk_gib: int | None = Field(default=None, ge=1, le=62 * 1024)
    """System disk; ``None`` keeps the template's size (linked clones stay possible)."""
    extra_disks: list[ExtraDisk] = Field(default_factory=list, max_length=8)
    """In this order after the template's disks."""
    cpu_allocation: CPUAllocation | None = None
    """Reservation, limit and shares of processor time; ``None``: as the template has it."""
    memory_allocation: MemoryAllocation | None = None
    """The same of memory."""

    @model_validator(mode="after")
    def _reserves_what_it_has(self) -> Self:
        asked, size = self.memory_allocation, self.memory_mib
        if asked is None:
            return self
        if asked.reservation_mib > size:
            raise ValueError(
                f"memoryAllocation.reservationMib must not be more than memoryMib ({size})"
            )
        if asked.limit_mib is not None and asked.limit_mib < size:
            raise ValueError(
                f"memoryAllocation.limitMib must be memoryMib ({size}) or more: the host would "
                "swap what the node takes for memory"
            )
        return self

"""Which VM is ours: by mark and instance UUID, or by mark and our own clone task (design, 3.4)."""

from dataclasses import dataclass, field

from moorage.kit.errors import ForbiddenError
from moorage.vsphere.inventory import Inventory
from moorage.vsphere.types import VM


@dataclass(slots=True)
class Ownership:
    """Decides over the VMs in memory. Nothing here asks vCenter."""

    inventory: Inventory
    installation: str | None = None
    """``None`` takes marks of any installation: a UID is not chosen twice."""
    made: dict[str, str] = field(default_factory=dict)
    """UID -> moref that our clone task reported, now or as it was recorded earlier."""

    def is_marked(self, vm: VM, uid: str) -> bool:
        """Tell whether the VM bears our mark for this UID, as original or as copy."""
        mark = vm.owner
        if mark is None or mark.uid != uid:
            return False
        return self.installation is None or mark.installation == self.installation

    def is_ours(self, vm: VM, uid: str, moref: str | None) -> bool:
        """Tell whether this is the VM that was made for the UID."""
        if not self.is_marked(vm, uid):
            return False
        return vm.identity_intact or vm.moref in (moref, self.made.get(uid))

    def find(self, uid: str, moref: str | None) -> VM | None:
        """Return our VM for a UID, if it is in memory."""
        mine = [vm for vm in self.inventory.of(uid) if self.is_ours(vm, uid, moref)]
        # The recorded one first: a copy restored with the same UUID must not take its place.
        recorded = (moref, self.made.get(uid))
        return next(iter(sorted(mine, key=lambda vm: (vm.moref not in recorded, vm.moref))), None)

    def unmarked(self, uid: str) -> VM | None:
        """Return a VM that has the UID as instance UUID but bears no mark (yet)."""
        return next((vm for vm in self.inventory.of(uid) if vm.owner is None), None)

    def copies(self) -> list[VM]:
        """Return VMs that bear our mark without being what it says."""
        found = []
        for vm in self.inventory.all():
            mark = vm.owner
            if mark is None or not self.is_marked(vm, mark.uid):
                continue
            original = self.find(mark.uid, None)
            if original is None or original.moref != vm.moref:
                found.append(vm)
        return found

    def owned(self) -> list[VM]:
        """Return every VM that is what its mark says."""
        return [
            vm
            for vm in self.inventory.all()
            if vm.owner is not None and self.is_ours(vm, vm.owner.uid, None)
        ]

    def check(self, vm: VM) -> None:
        """Raise ``ForbiddenError`` unless a VM is what its mark says: it is not touched then."""
        what = f"VM {vm.name} ({vm.moref})"
        if vm.owner is None or not self.is_marked(vm, vm.owner.uid):
            raise ForbiddenError(f"{what} does not bear our owner mark: it is not touched")
        if not self.is_ours(vm, vm.owner.uid, None):
            raise ForbiddenError(
                f"{what} is a copy of {vm.owner.kind} {vm.owner.uid}, not ours: it is not touched"
            )

"""Disks of VMs: an overlay on the image's root, and a hard-linked containerd store.

The store stands beside the overlay, on the host's own file system, because containerd's
snapshotter is an overlay itself and does not work on one. Its blobs and committed snapshots
never change, so links are enough; its databases are copied.
"""

import errno
import os
import shutil
import threading
from dataclasses import dataclass
from pathlib import Path

from moorage_lab.errors import LabError
from moorage_lab.network import is_mount
from moorage_lab.run import run

_COPIES = threading.BoundedSemaphore(2)
"""Many VMs power on at once; their disks are made two by two."""
_STORE = threading.Lock()


@dataclass(frozen=True, slots=True)
class Image:
    """A built node image: never changed while a VM uses it."""

    root: Path
    store: Path

    @classmethod
    def at(cls, path: Path) -> "Image":
        image = cls((path / "root").resolve(), (path / "store").resolve())
        if not (image.root / "sbin" / "init").is_symlink() or not image.store.is_dir():
            raise LabError(
                f"{path} is no node image (root/sbin/init and store/ are needed): "
                "build it with `moorage-lab build image`"
            )
        return image


@dataclass(frozen=True, slots=True)
class Disk:
    """The files of one VM, below its directory."""

    path: Path

    @property
    def root(self) -> Path:
        return self.path / "root"

    @property
    def upper(self) -> Path:
        return self.path / "upper"

    @property
    def work(self) -> Path:
        return self.path / "work"

    @property
    def containerd(self) -> Path:
        return self.path / "containerd"

    @property
    def guestinfo(self) -> Path:
        """Seen by the guest as /opt/vmware/guestinfo."""
        return self.path / "guestinfo"

    def make(self, image: Image, stores: Path) -> None:
        """Make the disk from the image if it is not there yet; a torn one is made again."""
        done = self.path / "disk.done"
        if done.exists():
            return
        with _COPIES:
            store = _linkable(image.store, stores)
            for path in (self.upper, self.work, self.containerd, self.guestinfo):
                shutil.rmtree(path, ignore_errors=True)
            for path in (self.upper, self.work, self.root, self.guestinfo):
                path.mkdir(exist_ok=True)
            run("cp", "-alT", store, self.containerd, timeout_s=300)
            for database in store.rglob("*.db"):
                copy = self.containerd / database.relative_to(store)
                copy.unlink()
                shutil.copy2(database, copy)
        done.touch()

    def mount(self, image: Image) -> None:
        """Mount the root; what was written before is there again.

        Volatile: the guest's fsync does not reach the machine's disk. The data outlive every
        process, which is what a VM's crash means here; only the host's own crash loses them,
        and the lab with them.
        """
        if is_mount(self.root):
            return
        shutil.rmtree(self.work / "work" / "incompat", ignore_errors=True)
        layers = f"lowerdir={image.root},upperdir={self.upper},workdir={self.work}"
        run("mount", "-t", "overlay", "overlay", "-o", f"{layers},volatile", self.root)

    def unmount(self) -> None:
        """Unmount the root; may be repeated."""
        while is_mount(self.root):
            run("umount", self.root)

    def remove(self) -> None:
        """Remove the VM's whole directory: first out of the way, then file by file."""
        self.unmount()
        if not self.path.exists():
            return
        gone = self.path.with_name(f"{self.path.name}.gone")
        if gone.exists():
            shutil.rmtree(gone)
        self.path.rename(gone)
        shutil.rmtree(gone)


def _linkable(store: Path, stores: Path) -> Path:
    """The store itself, or its copy when hard links cannot reach it from the state directory."""
    with _STORE:
        stores.mkdir(exist_ok=True)
        probe = stores / ".probe"
        probe.unlink(missing_ok=True)
        sample = next((path for path in store.rglob("*") if path.is_file()), None)
        if sample is None:
            return store
        try:
            os.link(sample, probe)
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
        else:
            probe.unlink()
            return store
        copy = stores / store.parent.name
        if not copy.exists():
            new = copy.with_suffix(".new")
            shutil.rmtree(new, ignore_errors=True)
            run("cp", "-a", store, new, timeout_s=600)
            new.rename(copy)
        return copy

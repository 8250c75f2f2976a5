"""Disks of VMs, as far as no mount is needed."""

import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from moorage_lab.disk import Disk, Image
from moorage_lab.errors import LabError
from moorage_lab.network import dhcp_config


@pytest.fixture
def image(tmp_path: Path) -> Image:
    top = tmp_path / "image"
    (top / "root" / "sbin").mkdir(parents=True)
    (top / "root" / "sbin" / "init").symlink_to("/lib/systemd/systemd")
    (top / "store" / "bolt").mkdir(parents=True)
    (top / "store" / "bolt" / "meta.db").write_text("database")
    (top / "store" / "blob").write_text("never changes")
    return Image.at(top)


@pytest.fixture
def elsewhere() -> Iterator[Path]:
    """A directory that hard links from the image cannot reach."""
    path = Path(tempfile.mkdtemp(prefix="lab-t-", dir="/dev/shm"))
    yield path
    shutil.rmtree(path)


def test_blobs_are_linked_and_databases_copied(image: Image, tmp_path: Path) -> None:
    disk = Disk(tmp_path / "vm")
    disk.path.mkdir()

    disk.make(image, tmp_path / "stores")

    assert (disk.containerd / "blob").samefile(image.store / "blob")
    assert not (disk.containerd / "bolt" / "meta.db").samefile(image.store / "bolt" / "meta.db")
    (disk.containerd / "bolt" / "meta.db").write_text("of this VM")
    assert (image.store / "bolt" / "meta.db").read_text() == "database"


def test_disk_is_made_once_and_a_torn_one_again(image: Image, tmp_path: Path) -> None:
    disk = Disk(tmp_path / "vm")
    disk.path.mkdir()
    disk.make(image, tmp_path / "stores")
    (disk.containerd / "bolt" / "meta.db").write_text("of this VM")
    (disk.upper / "etc").mkdir()

    disk.make(image, tmp_path / "stores")
    assert (disk.containerd / "bolt" / "meta.db").read_text() == "of this VM"
    assert (disk.upper / "etc").exists()

    (disk.path / "disk.done").unlink()
    disk.make(image, tmp_path / "stores")
    assert (disk.containerd / "bolt" / "meta.db").read_text() == "database"
    assert not (disk.upper / "etc").exists()


def test_store_on_another_file_system_is_copied_once(image: Image, elsewhere: Path) -> None:
    for name in ("a", "b"):
        disk = Disk(elsewhere / name)
        disk.path.mkdir()
        disk.make(image, elsewhere / "stores")

    assert (elsewhere / "a/containerd/blob").samefile(elsewhere / "b/containerd/blob")
    assert [path.name for path in (elsewhere / "stores").iterdir()] == ["image"]


def test_removed_disk_leaves_nothing(image: Image, tmp_path: Path) -> None:
    disk = Disk(tmp_path / "vms" / "vm")
    disk.path.mkdir(parents=True)
    disk.make(image, tmp_path / "stores")
    (tmp_path / "vms" / "vm.gone").mkdir()

    for _ in range(2):
        disk.remove()

    assert list((tmp_path / "vms").iterdir()) == []
    assert (image.store / "blob").read_text() == "never changes"


def test_what_is_no_image_is_refused_with_a_remedy(tmp_path: Path) -> None:
    with pytest.raises(LabError, match="moorage-lab build image"):
        Image.at(tmp_path)


@pytest.mark.skipif(shutil.which("dnsmasq", path="/usr/sbin") is None, reason="no dnsmasq here")
def test_dnsmasq_understands_its_configuration(tmp_path: Path) -> None:
    file = tmp_path / "dnsmasq.conf"
    file.write_text(dhcp_config(tmp_path))

    ran = subprocess.run(
        ["/usr/sbin/dnsmasq", "--test", f"--conf-file={file}"],
        check=False,
        capture_output=True,
        text=True,
    )

    assert ran.returncode == 0, ran.stderr

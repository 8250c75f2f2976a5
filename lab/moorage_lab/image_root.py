"""The Debian root of the node image and containerd's store with the images in it."""

import shutil
from collections.abc import Mapping
from pathlib import Path

from moorage_lab.image_cache import ImageError
from moorage_lab.image_step import run_step

SUITE = "bookworm"
_FIRST = "systemd,systemd-sysv,dbus,udev,iproute2,iptables,ca-certificates,procps,kmod"
_THEN = (
    *("cloud-init", "containerd", "runc", "containernetworking-plugins"),
    *("conntrack", "ipset", "ethtool", "socat", "nftables", "iputils-ping", "curl", "openssl"),
    *("openssh-server", "sudo", "systemd-resolved", "systemd-timesyncd", "busybox-static"),
)
BASE_FACTS = (SUITE, _FIRST, " ".join(_THEN), "recipe 1")
"""What the key of the base root depends on; raise the recipe's number when its steps change."""

_DROPPED = (
    *("usr/share/doc", "usr/share/man", "usr/share/info", "usr/share/locale"),
    *("usr/share/lintian", "var/lib/apt/lists", "var/cache/apt", "var/log"),
)
_MASKED = (
    *("apt-daily.timer", "apt-daily-upgrade.timer", "dpkg-db-backup.timer"),
    *("e2scrub_all.timer", "e2scrub_reap.service", "fstrim.timer", "systemd-pstore.service"),
    *("console-getty.service", "getty@tty1.service", "cloud-init-hotplugd.socket"),
)
_ENABLED = (
    *("systemd-networkd.service", "systemd-resolved.service", "ssh.service"),
    *("containerd.service", "kubelet.service", "vm-prepare.service", "lab-tools.service"),
)

_BOOTSTRAP = r"""
set -eu
suite=$1 mirror=$2 root=$3 first=$4
shift 4
debootstrap --variant=minbase --include="$first" "$suite" "$root" "$mirror"
printf '#!/bin/sh\nexit 101\n' >"$root/usr/sbin/policy-rc.d"
chmod 755 "$root/usr/sbin/policy-rc.d"
mountpoint -q "$root/proc" || mount -t proc proc "$root/proc"
chroot "$root" env -i PATH="$PATH" DEBIAN_FRONTEND=noninteractive LC_ALL=C \
    apt-get install -y --no-install-recommends "$@"
rm "$root/usr/sbin/policy-rc.d"
umount "$root/proc"
"""

# The root is only lent: containerd works on an overlay of it. Its store is bound from outside,
# because a snapshotter that is an overlay itself does not work on one.
_IMPORT = r"""
set -eu
base=$1 store=$2 archives=$3 work=$4
mkdir -p "$work/upper" "$work/work" "$work/root"
mount -t overlay overlay -o "lowerdir=$base,upperdir=$work/upper,workdir=$work/work" "$work/root"
cd "$work/root"
mount -t proc proc proc
mount -t tmpfs tmpfs run
mount -t tmpfs tmpfs tmp
mount --rbind /dev dev
mkdir -p archives var/lib/containerd
mount --bind "$archives" archives
mount --bind "$store" var/lib/containerd
chroot . containerd --log-level error &
daemon=$!
tries=0
until chroot . ctr version >/dev/null 2>&1; do
    kill -0 "$daemon"
    tries=$((tries + 1))
    [ "$tries" -lt 300 ] || { echo "containerd did not answer within 30 s"; exit 1; }
    sleep 0.1
done
for archive in archives/*.tar; do
    chroot . ctr -n k8s.io images import "/$archive"
    rm "$archive"
done
chroot . ctr -n k8s.io images check | tail -n +2
kill "$daemon"
wait "$daemon" || true
"""


def find_mirror(explicit: str | None) -> str:
    """The place that this machine itself gets Debian's packages from, unless one is given."""
    if explicit:
        return explicit
    listing = run_step(
        [
            "apt-get",
            "indextargets",
            "--format",
            "$(REPO_URI) $(CODENAME) $(COMPONENT)",
            "Created-By: Packages",
        ]
    )
    for line in listing.splitlines():
        match line.split():
            case [uri, codename, "main"] if codename == SUITE:
                return uri
    raise ImageError(
        f"this machine's apt has no source for Debian {SUITE}, which the nodes run. "
        "Set MOORAGE_DEBIAN_MIRROR to the address of a Debian mirror."
    )


def build_base(target: Path, mirror: str) -> None:
    """Bootstrap Debian with the packages of a node into ``target/root``."""
    root = target / "root"
    run_step(["sh", "-c", _BOOTSTRAP, "sh", SUITE, mirror, str(root), _FIRST, *_THEN], apart=True)
    for place in _DROPPED:
        _empty(root / place)


def build_store(target: Path, base: Path, archives: Path) -> list[str]:
    """Import the archives into a containerd store, ``target/store``; they are used up.

    Returns:
        One line for each image, as ``ctr images check`` sees it.
    """
    store, work = target / "store", target / "work"
    store.mkdir(mode=0o711)
    work.mkdir()
    try:
        said = run_step(
            ["sh", "-c", _IMPORT, "sh", str(base), str(store), str(archives), str(work)],
            apart=True,
        )
    finally:
        shutil.rmtree(work)
    lines = [line for line in said.splitlines() if "application/vnd" in line]
    broken = [line for line in lines if " complete " not in line]
    if broken or not lines:
        raise ImageError(f"images were not imported whole:\n{said[-2000:]}")
    return lines


def build_root(
    target: Path, base: Path, files: Path, binaries: Mapping[str, Path], label: str
) -> None:
    """Make ``target`` a node's root: the base, our files over it, the programs, the units.

    Args:
        target: Directory to make.
        base: A base root; it is copied.
        files: Tree of files to lay over it.
        binaries: Programs for /usr/bin, by name.
        label: Text of /etc/moorage-lab-image.
    """
    run_step(["cp", "-a", "--reflink=auto", str(base), str(target)])
    for source in sorted(files.rglob("*")):
        if source.is_file():
            _put(source, target / source.relative_to(files), source.stat().st_mode & 0o100 != 0)
    for name in ("kubeadm", "kubelet", "kubectl"):
        _put(binaries[name], target / "usr/bin" / name, executable=True)
    # The standard place for CNI plugins; Debian's package has one of its own.
    (target / "opt/cni").mkdir(parents=True)
    (target / "usr/lib/cni").rename(target / "opt/cni/bin")
    for folder in (
        "etc/kubernetes/manifests",
        "etc/cni/net.d",
        "etc/containerd/certs.d",
        "opt/vmware/guestinfo",
        "var/log/journal",
        "var/lib/containerd",
    ):
        (target / folder).mkdir(parents=True, exist_ok=True)
    _write(target / "etc/moorage-lab-image", label)
    _write(target / "etc/hostname", "localhost\n")
    _write(target / "etc/machine-id", "")  # empty: each clone gets its own at first boot
    _link(target / "var/lib/dbus/machine-id", "/etc/machine-id")  # else all would take this one
    _link(target / "etc/resolv.conf", "/run/systemd/resolve/resolv.conf")
    for key in (target / "etc/ssh").glob("ssh_host_*"):
        key.unlink()  # cloud-init makes them once for each instance
    _let_cloud_init_see_dmi(target)
    run_step(["chroot", str(target), "systemctl", "enable", *_ENABLED])
    for unit in _MASKED:
        _link(target / "etc/systemd/system" / unit, "/dev/null")


def _let_cloud_init_see_dmi(root: Path) -> None:
    """cloud-init distrusts DMI in a container, where it is the host's; here our shim tells it."""
    module = root / "usr/lib/python3/dist-packages/cloudinit/dmi.py"
    text = module.read_text()
    before = "    if is_container():\n        return None\n"
    after = (
        '    if os.path.exists("/usr/bin/vmware-rpctool"):\n'
        '        return _call_dmidecode(key, "/usr/sbin/dmidecode")\n'
    )
    if text.count(before) != 1:
        raise ImageError(f"{module} is not the cloud-init that this patch was made for")
    _write(module, text.replace(before, after + before))
    run_step(["chroot", str(root), "python3", "-m", "py_compile", f"/{module.relative_to(root)}"])


def _put(source: Path, place: Path, executable: bool) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    place.unlink(missing_ok=True)
    shutil.copyfile(source, place)
    place.chmod(0o755 if executable else 0o644)


def _write(place: Path, text: str) -> None:
    place.unlink(missing_ok=True)
    place.write_text(text)
    place.chmod(0o644)


def _link(place: Path, to: str) -> None:
    place.unlink(missing_ok=True)
    place.symlink_to(to)


def _empty(folder: Path) -> None:
    for path in folder.iterdir() if folder.is_dir() else ():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()

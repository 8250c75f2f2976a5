"""The node image: what a template's disk holds in the lab.

``build_image`` makes ``<cache>/node-image/<key>/{root,store}``: a Debian root with cloud-init,
containerd and Kubernetes, and a containerd store with the images that a cluster starts from. The
key is a hash of everything it is made from, so a finished image never changes and is made once.
Slow parts (each group of Go programs, Debian, the images) have entries and keys of their own.
"""

import argparse
import os
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from moorage_lab.errors import LabError
from moorage_lab.image_archive import Release, check_names, contents, write_archive
from moorage_lab.image_binaries import build_pause, check_go, groups, pause_key
from moorage_lab.image_cache import Cache, ImageError, Progress, Stages, contents_key
from moorage_lab.image_root import (
    BASE_FACTS,
    SUITE,
    build_base,
    build_root,
    build_store,
    find_mirror,
)
from moorage_lab.places import cache_dir, lab_dir

SYSTEM_PACKAGES = ("debootstrap", "debian-archive-keyring", "gcc", "libc6-dev", "util-linux")
"""Debian packages that a build needs on the machine; Go comes from elsewhere."""

RELEASES = {
    "1.34.4": Release(
        kubernetes="1.34.4",
        etcd="3.6.5-0",
        coredns="v1.12.1",
        pause="3.10.1",
        kube_vip="v1.0.4",
        flannel="v0.28.4",
        flannel_cni="v1.9.1-flannel1",
    ),
}
DEFAULT_VERSION = "1.34.4"

_PROGRAMS = {"debootstrap": "debootstrap", "gcc": "gcc", "setpriv": "util-linux"}
_COLD_GIB = 12
_WARM_GIB = 3
_PARTS_KEPT = 2


@dataclass(frozen=True, slots=True)
class NodeImage:
    """A finished image. Nothing may write into it: running nodes stand on it."""

    root: Path
    store: Path
    key: str


def to_stderr(line: str) -> None:
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()


def image_dir() -> Path:
    return lab_dir() / "image"


def find_release(version: str) -> Release:
    try:
        return RELEASES[version]
    except KeyError:
        raise ImageError(
            f"there is no node image for Kubernetes {version}; there is one for: "
            f"{', '.join(RELEASES)}. A new one needs an entry in RELEASES of image.py and a "
            "module in lab/image/kubernetes/."
        ) from None


def image_key(version: str = DEFAULT_VERSION) -> str:
    """Hash of everything that the image of this version is made from."""
    find_release(version)
    code = sorted(Path(__file__).parent.glob("image*.py"))
    return contents_key([image_dir(), *code], version)


def find_image(version: str = DEFAULT_VERSION) -> NodeImage | None:
    """Return the finished image, or None if it is yet to be built."""
    key = image_key(version)
    entry = Cache(cache_dir()).find("node-image", key)
    return NodeImage(entry / "root", entry / "store", key) if entry else None


def build_image(version: str = DEFAULT_VERSION, progress: Progress = to_stderr) -> NodeImage:
    """Return the image, built first if it is not in the cache.

    May be repeated and called from several processes at once: one builds, the others wait.

    Raises:
        ImageError: Something that the build needs is missing, or a step failed.
    """
    release = find_release(version)
    if (found := find_image(version)) is not None:
        return found
    cache = Cache(cache_dir())
    check_machine(cache.top)
    with cache.locked(progress):
        if (found := find_image(version)) is not None:
            return found
        _Build(cache, release, progress).run(image_key(version))
    found = find_image(version)
    if found is None:
        raise ImageError("files of lab/image changed during the build: build again")
    return found


def check_machine(cache: Path) -> None:
    """Refuse at once, and with the remedy, what would fail after minutes."""
    if os.geteuid() != 0:
        raise ImageError("building the node image needs root (chroot, mounts): run it with sudo")
    missing = sorted({p for program, p in _PROGRAMS.items() if shutil.which(program) is None})
    if missing:
        raise ImageError(
            f"building the node image needs programs that are not installed: "
            f"apt-get install {' '.join(missing)}"
        )
    check_go()
    cache.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(cache).free / 2**30
    needed = _WARM_GIB if any(cache.glob("node-part-kubernetes/*")) else _COLD_GIB
    if free < needed:
        raise ImageError(
            f"building the node image needs {needed} GiB on the disk of {cache}, and {free:.1f} "
            "are free. Make room, or set MOORAGE_CACHE to a directory on a larger disk."
        )


class _Build:
    """One build, by someone who holds the cache's lock."""

    def __init__(self, cache: Cache, release: Release, progress: Progress) -> None:
        self._cache = cache
        self._release = release
        self._groups = groups(image_dir(), release.kubernetes)
        self._stages = Stages(total=len(self._groups) + 4, progress=progress)
        self._binaries: dict[str, Path] = {}
        self._keys: list[str] = []

    def run(self, key: str) -> None:
        self._make_binaries()
        check_names(self._release, self._binaries["kubeadm"])
        base = self._make_base() / "root"
        store = self._make_store(base) / "store"
        label = "".join(f"{name}={value}\n" for name, value in self._facts(key).items())

        def build(target: Path) -> None:
            files = image_dir() / "root"
            build_root(target / "root", base, files, self._binaries, label)
            # Blobs and unpacked images are never written again, so links are enough.
            shutil.copytree(store, target / "store", symlinks=True, copy_function=_link_or_copy)

        self._cache.make("node-image", key, build, self._stages, "node image")
        for kind in (
            *(f"node-part-{group.name}" for group in self._groups),
            "node-part-pause",
            "node-part-base",
            "node-part-store",
        ):
            self._cache.prune(kind, _PARTS_KEPT)

    def _make_binaries(self) -> None:
        for group in self._groups:
            names = ", ".join(name for name, _ in group.packages)
            key = group.key()
            entry = self._cache.make(
                f"node-part-{group.name}", key, group.build, self._stages, f"Go build of {names}"
            )
            self._keys.append(key)
            self._binaries |= {name: entry / name for name, _ in group.packages}
        key = pause_key(image_dir())
        entry = self._cache.make(
            "node-part-pause", key, lambda t: build_pause(image_dir(), t), self._stages, "pause"
        )
        self._keys.append(key)
        self._binaries["pause"] = entry / "pause"

    def _make_base(self) -> Path:
        key = contents_key([], *BASE_FACTS)
        self._keys.append(key)

        def build(target: Path) -> None:
            build_base(target, find_mirror(os.environ.get("MOORAGE_DEBIAN_MIRROR")))

        return self._cache.make(
            "node-part-base", key, build, self._stages, f"Debian {SUITE} with its packages"
        )

    def _make_store(self, base: Path) -> Path:
        names = self._release.names()
        recipe = Path(__file__).with_name("image_archive.py")
        key = contents_key([recipe], *self._keys, str(names))

        def build(target: Path) -> None:
            archives = target / "archives"
            archives.mkdir()
            for name, image in contents(self._binaries, base).items():
                write_archive(archives / f"{name}.tar", names[name], image)
            build_store(target, base, archives)
            archives.rmdir()

        return self._cache.make(
            "node-part-store", key, build, self._stages, f"{len(names)} container images"
        )

    def _facts(self, key: str) -> dict[str, str]:
        release = self._release
        return {
            "KEY": key,
            "DEBIAN": SUITE,
            "KUBERNETES": f"v{release.kubernetes}",
            "ETCD": release.etcd,
            "COREDNS": release.coredns,
            "PAUSE": release.pause,
            "KUBE_VIP": f"{release.kube_vip} (stand-in)",
            "FLANNEL": release.flannel,
        }


def _link_or_copy(source: str, target: str) -> None:
    """Link what never changes; containerd's databases are copied."""
    if source.endswith(".db"):
        shutil.copy2(source, target)
    else:
        os.link(source, target)


def main(arguments: list[str] | None = None) -> int:
    """``python -m moorage_lab.image``: build the image and print where it is."""
    parser = argparse.ArgumentParser(prog="python -m moorage_lab.image", description=__doc__)
    parser.add_argument("version", nargs="?", default=DEFAULT_VERSION, help="of Kubernetes")
    parser.add_argument(
        "--print-packages", action="store_true", help="list the Debian packages a build needs"
    )
    options = parser.parse_args(arguments)
    if options.print_packages:
        sys.stdout.write(" ".join(SYSTEM_PACKAGES) + "\n")
        return 0
    try:
        sys.stdout.write(f"{build_image(options.version).root.parent}\n")
    except LabError as error:
        to_stderr(f"error: {error}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

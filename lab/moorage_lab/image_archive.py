"""The container images that a node has before it meets a registry, as docker archives.

Every image is one layer over nothing. Contents come from the Go builds and from the node's own
Debian root (iptables and its libraries, a static busybox); nothing is pulled.
"""

import gzip
import hashlib
import io
import json
import re
import shutil
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from moorage_lab.image_cache import ImageError
from moorage_lab.image_step import run_step

_PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_IPTABLES = tuple(f"ip{six}tables{verb}" for six in ("", "6") for verb in ("", "-save", "-restore"))
_XTABLES = "usr/sbin/xtables-nft-multi"


@dataclass(frozen=True, slots=True)
class Contents:
    """What one image holds and how it starts."""

    files: Mapping[str, Path]
    """Place in the image and the file that goes there, with its mode."""
    links: Mapping[str, str] = field(default_factory=dict)
    entrypoint: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Release:
    """Versions that belong together: what kubeadm asks for, and what clusters add to it."""

    kubernetes: str
    etcd: str
    coredns: str
    pause: str
    kube_vip: str
    flannel: str
    flannel_cni: str
    """The tag that the manifest of that flannel names."""

    def names(self) -> dict[str, str]:
        """Image references by what is in them."""
        k8s = f"v{self.kubernetes}"
        flannel = "ghcr.io/flannel-io"
        return {
            "kube-apiserver": f"registry.k8s.io/kube-apiserver:{k8s}",
            "kube-controller-manager": f"registry.k8s.io/kube-controller-manager:{k8s}",
            "kube-scheduler": f"registry.k8s.io/kube-scheduler:{k8s}",
            "kube-proxy": f"registry.k8s.io/kube-proxy:{k8s}",
            "etcd": f"registry.k8s.io/etcd:{self.etcd}",
            "coredns": f"registry.k8s.io/coredns/coredns:{self.coredns}",
            "pause": f"registry.k8s.io/pause:{self.pause}",
            "kube-vip": f"ghcr.io/kube-vip/kube-vip:{self.kube_vip}",
            "flannel": f"{flannel}/flannel:{self.flannel}",
            "flannel-cni-plugin": f"{flannel}/flannel-cni-plugin:{self.flannel_cni}",
            "echo": "lab.local/echo:1",
        }


def contents(binaries: Mapping[str, Path], base: Path) -> dict[str, Contents]:
    """What is in each image, by the keys of ``Release.names``.

    Args:
        binaries: Program files by name.
        base: The Debian root, for iptables and busybox.
    """
    # kubeadm's manifests start these by their bare names.
    by_name = ("kube-apiserver", "kube-controller-manager", "kube-scheduler")
    images = {name: Contents({f"usr/local/bin/{name}": binaries[name]}) for name in by_name}
    iptables = _iptables(base)
    # Upstream's init containers copy files with these.
    busybox = {"bin/busybox": base / "bin/busybox"}
    applets = {f"bin/{name}": "busybox" for name in ("sh", "cp", "ls", "cat")}
    images |= {
        "kube-proxy": Contents({"usr/local/bin/kube-proxy": binaries["kube-proxy"], **iptables}),
        "etcd": Contents({f"usr/local/bin/{name}": binaries[name] for name in ("etcd", "etcdctl")}),
        "coredns": Contents({"coredns": binaries["coredns"]}, entrypoint=("/coredns",)),
        "pause": Contents({"pause": binaries["pause"]}, entrypoint=("/pause",)),
        "kube-vip": Contents({"kube-vip": binaries["kube-vip"]}, entrypoint=("/kube-vip",)),
        "flannel": Contents(
            {"opt/bin/flanneld": binaries["flanneld"], **busybox, **iptables},
            applets,
            ("/opt/bin/flanneld",),
        ),
        "flannel-cni-plugin": Contents({"flannel": binaries["flannel"], **busybox}, applets),
        "echo": Contents({"echo": binaries["echo"]}, entrypoint=("/echo",)),
    }
    return images


def check_names(release: Release, kubeadm: Path) -> None:
    """Compare the images with those that kubeadm itself says it will run."""
    asked = run_step(
        [str(kubeadm), "config", "images", "list", f"--kubernetes-version=v{release.kubernetes}"]
    )
    have = set(release.names().values())
    missing = [line for line in asked.split() if "/" in line and line not in have]
    if missing:
        raise ImageError(
            f"kubeadm {release.kubernetes} asks for images that the node image does not have: "
            f"{', '.join(missing)}. Change the versions in RELEASES of image.py."
        )


def write_archive(target: Path, name: str, image: Contents) -> None:
    """Write a docker archive that ``ctr images import`` takes, the same bytes each time."""
    layer = target.with_suffix(".layer")
    _write_layer(layer, image)
    with layer.open("rb") as data:
        diff_id = hashlib.file_digest(data, "sha256").hexdigest()
    packed = target.with_suffix(".layer.gz")
    with (
        layer.open("rb") as data,
        packed.open("wb") as out,
        gzip.GzipFile("", "wb", compresslevel=1, fileobj=out, mtime=0) as stream,
    ):
        shutil.copyfileobj(data, stream, 1 << 20)
    config = {
        "architecture": "amd64",
        "os": "linux",
        "created": "1970-01-01T00:00:00Z",
        "config": {"Env": [_PATH], "Entrypoint": list(image.entrypoint) or None},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{diff_id}"]},
        "history": [{"created": "1970-01-01T00:00:00Z", "created_by": "moorage-lab"}],
    }
    config_bytes = json.dumps(config, sort_keys=True).encode()
    config_name = f"{hashlib.sha256(config_bytes).hexdigest()}.json"
    layer_name = f"{diff_id}/layer.tar"
    manifest = [{"Config": config_name, "RepoTags": [name], "Layers": [layer_name]}]
    with tarfile.open(target, "w") as archive:
        _add_bytes(archive, config_name, config_bytes)
        _add_file(archive, layer_name, packed)
        _add_bytes(archive, "manifest.json", json.dumps(manifest).encode())
    layer.unlink()
    packed.unlink()


def _write_layer(target: Path, image: Contents) -> None:
    with tarfile.open(target, "w") as layer:
        folders = {"tmp", "etc", "run"}
        for place in (*image.files, *image.links):
            folders.update(str(parent) for parent in Path(place).parents if str(parent) != ".")
        for folder in sorted(folders):
            entry = tarfile.TarInfo(folder)
            entry.type = tarfile.DIRTYPE
            entry.mode = 0o1777 if folder == "tmp" else 0o755
            layer.addfile(entry)
        for place, source in sorted(image.files.items()):
            _add_file(layer, place, source)
        for place, to in sorted(image.links.items()):
            entry = tarfile.TarInfo(place)
            entry.type = tarfile.SYMTYPE
            entry.linkname = to
            layer.addfile(entry)


def _add_file(archive: tarfile.TarFile, name: str, source: Path) -> None:
    entry = tarfile.TarInfo(name)
    entry.size = source.stat().st_size
    entry.mode = source.stat().st_mode & 0o755
    with source.open("rb") as data:
        archive.addfile(entry, data)


def _add_bytes(archive: tarfile.TarFile, name: str, data: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size = len(data)
    entry.mode = 0o644
    archive.addfile(entry, io.BytesIO(data))


def _iptables(base: Path) -> dict[str, Path]:
    """The iptables commands, nft, their extensions, and every library that they load."""
    # One program serves all the names and looks at its own to tell which it is.
    files = {f"usr/sbin/{name}": base / _XTABLES for name in _IPTABLES}
    files["usr/sbin/nft"] = base / "usr/sbin/nft"
    extensions = sorted((base / "usr/lib").glob("*/xtables/*.so"))
    if not extensions:
        raise ImageError(f"no iptables extensions below {base}/usr/lib: the Debian root is broken")
    files |= {str(path.relative_to(base)): path for path in extensions}
    needed = run_step(
        [
            "chroot",
            str(base),
            "ldd",
            *(f"/{place}" for place in files if "tables" not in place),
            f"/{_XTABLES}",
            *(f"/{path.relative_to(base)}" for path in extensions),
        ]
    )
    for library in sorted(set(re.findall(r"(/\S+) \(0x", needed))):
        # The place keeps the name under which it is loaded; the file is what it links to.
        real = Path(run_step(["chroot", str(base), "readlink", "-f", library]).strip())
        files[library.lstrip("/")] = base / real.relative_to("/")
    return files

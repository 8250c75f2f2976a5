"""Build the programs of the node image from pinned Go modules, and the pause program from C."""

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from moorage_lab.image_cache import ImageError, contents_key
from moorage_lab.image_step import run_step

# One set of flags for every build: a package compiled for one program then serves the others.
GO_ENVIRONMENT = {
    "CGO_ENABLED": "0",
    "GOFLAGS": "-p=2 -mod=readonly -trimpath -buildvcs=false",
    "GOTOOLCHAIN": "local",
    "GOWORK": "off",
}
LDFLAGS = "-s -w"
GO_AT_LEAST = (1, 25)

_KUBERNETES = (
    "kubeadm",
    "kubelet",
    "kube-apiserver",
    "kube-controller-manager",
    "kube-scheduler",
    "kube-proxy",
    "kubectl",
)
_VERSION = "k8s.io/component-base/version"


@dataclass(frozen=True, slots=True)
class Group:
    """Programs of one Go module, built by one ``go build`` for each set of flags."""

    name: str
    module: Path
    """Folder with go.mod and go.sum."""
    packages: tuple[tuple[str, str], ...]
    """Program name and Go package. Names that differ from the package's last word are renamed."""
    variables: tuple[tuple[str, str], ...] = ()
    """Version variables, set by the linker."""

    def key(self) -> str:
        facts = [str(sorted(GO_ENVIRONMENT.items())), LDFLAGS, str(self.packages)]
        return contents_key([self.module], *facts, str(self.variables))

    def build(self, target: Path) -> None:
        """Put the programs into ``target``."""
        variables = "".join(f" -X {name}={value}" for name, value in self.variables)
        for names in self._batches():
            output = f"{target}/" if len(names) > 1 else str(target / names[0])
            packages = [package for name, package in self.packages if name in names]
            command = ["go", "build", "-ldflags", LDFLAGS + variables, "-o", output, *packages]
            run_step(command, cwd=self.module, env={**os.environ, **GO_ENVIRONMENT})

    def _batches(self) -> list[tuple[str, ...]]:
        """One call builds all programs that are named as their package is."""
        same = tuple(n for n, package in self.packages if package.rsplit("/", 1)[-1] == n)
        other = [(n,) for n, package in self.packages if package.rsplit("/", 1)[-1] != n]
        return ([same] if same else []) + other


def groups(image_dir: Path, kubernetes: str) -> list[Group]:
    """Every group of Go programs, the slowest first."""
    major, minor, _ = kubernetes.split(".")
    version = f"v{kubernetes}"
    return [
        Group(
            "kubernetes",
            image_dir / "kubernetes" / kubernetes,
            tuple((name, f"k8s.io/kubernetes/cmd/{name}") for name in _KUBERNETES),
            (
                (f"{_VERSION}.gitVersion", version),
                (f"{_VERSION}.gitMajor", major),
                (f"{_VERSION}.gitMinor", minor),
                ("k8s.io/client-go/pkg/version.gitVersion", version),
            ),
        ),
        Group(
            "etcd",
            image_dir / "etcd",
            (("etcd", "go.etcd.io/etcd/server/v3"), ("etcdctl", "go.etcd.io/etcd/etcdctl/v3")),
        ),
        Group("coredns", image_dir / "coredns", (("coredns", "."),)),
        Group("flannel", image_dir / "flannel", (("flanneld", "."),)),
        Group(
            "cni-flannel",
            image_dir / "cni-flannel",
            (("flannel", "github.com/containernetworking/plugins/plugins/meta/flannel"),),
        ),
        Group("vip", image_dir / "vip", (("kube-vip", "."),)),
        Group("echo", image_dir / "echo", (("echo", "."),)),
    ]


def pause_key(image_dir: Path) -> str:
    return contents_key([image_dir / "pause"])


def build_pause(image_dir: Path, target: Path) -> None:
    source = image_dir / "pause" / "pause.c"
    run_step(["gcc", "-Os", "-static", "-s", "-o", str(target / "pause"), str(source)])


def check_go() -> None:
    """Refuse a machine on which the Go builds would fail after minutes."""
    go = shutil.which("go")
    if go is None:
        raise ImageError(
            "building the node image needs Go, and there is no `go` in PATH. "
            f"Install Go {'.'.join(map(str, GO_AT_LEAST))} or newer and put it into PATH."
        )
    said = subprocess.run([go, "version"], capture_output=True, text=True, check=False).stdout
    match = re.search(r"go(\d+)\.(\d+)", said)
    if match is None or (int(match[1]), int(match[2])) < GO_AT_LEAST:
        raise ImageError(
            f"building the node image needs Go {'.'.join(map(str, GO_AT_LEAST))} or newer; "
            f"{go} is {said.strip() or 'of unknown version'}."
        )

"""Run commands before a lab on loopback, and keep what a terminal shows as docs/images/*.svg.

``python docs/screenshots.py`` makes all of them anew: with real hub, gateway and simulated vCenter,
in a terminal of 104 columns. The pictures name fonts that terminals have, and load none.
"""

import errno
import io
import os
import pty
import re
import shlex
import struct
import subprocess
import sys
import termios
from fcntl import ioctl
from pathlib import Path
from typing import Any

import yaml
from rich.console import Console
from rich.text import Text

sys.path.insert(0, str(Path(__file__).parent.parent))

from bench.system import BIN, System, environment

IMAGES = Path(__file__).parent / "images"
WIDTH, HEIGHT = 104, 50
_FONT_FACES = re.compile(r"@font-face\s*{.*?}\s*", re.DOTALL)
_COMMENT = re.compile(r"<!--.*?-->\s*", re.DOTALL)
_FONTS = "ui-monospace, 'DejaVu Sans Mono', Menlo, Consolas, monospace"

_NETWORK = {"network": "nodes", "ipPool": "nodes"}
CLUSTER: dict[str, Any] = {
    "kind": "Cluster",
    "metadata": {"name": "demo"},
    "spec": {
        "account": "lab",
        "kubernetesVersion": "v1.34.4",
        "placement": {
            "datacenter": "dc1",
            "folder": "clusters",
            "folderPerCluster": True,
            "template": "templates/ubuntu-2404-kube-v1.34.4",
            "failureDomains": [
                {"name": "a", "computeCluster": "cc1", "datastore": "ds1", **_NETWORK},
                {"name": "b", "computeCluster": "cc2", "datastore": "ds2", **_NETWORK},
            ],
        },
        "controlPlane": {"replicas": 3},
    },
    "nodePools": [{"name": "db", "replicas": 2, "extraDisks": [{"sizeGib": 100}]}],
}


def main() -> None:
    """Make all pictures."""
    IMAGES.mkdir(exist_ok=True)
    with System.start() as system:
        system.add_account()
        system.add_pool(
            {
                "prefix": "16",
                "router": "10.77.0.1",
                "start": "10.77.1.10",
                "end": "10.77.1.29",
            }
        )
        write(system, "cluster.yaml", CLUSTER)
        picture(system, "plan", "moorage clusters plan -f cluster.yaml")
        system.vcenter.control.grant(system.vcenter.user, "ReadOnly", "/dc1/datastore/ds2")
        larger = [{**CLUSTER["nodePools"][0], "replicas": 24}]
        write(system, "cluster.yaml", {**CLUSTER, "nodePools": larger})
        picture(system, "accounts-check", "moorage accounts check lab -f cluster.yaml")


def write(system: System, name: str, document: dict[str, Any]) -> None:
    """Write a document where the commands run."""
    (system.folder / name).write_text(yaml.safe_dump(document, sort_keys=False))


def picture(system: System, name: str, command: str) -> None:
    """Run a command in a terminal, and keep what it shows."""
    shown = f"$ {command}\n{in_terminal(system, command)}"
    console = Console(record=True, width=WIDTH, file=io.StringIO(), force_terminal=True)
    console.print(Text.from_ansi(f"{shown}\n"))  # a line more: the last would be cut at its feet
    svg = console.export_svg(title="moorage", unique_id=name)
    svg = _COMMENT.sub("", _FONT_FACES.sub("", svg)).replace("Fira Code, monospace", _FONTS)
    svg = svg.replace("font-family: Fira Code", f"font-family: {_FONTS}")
    (IMAGES / f"{name}.svg").write_text(svg)
    sys.stdout.write(f"{IMAGES / name}.svg: {len(svg)} bytes\n{shown}\n")


def in_terminal(system: System, command: str) -> str:
    """Return what a command writes to a terminal, colours included."""
    words = shlex.split(command)
    ours, theirs = pty.openpty()
    ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", HEIGHT, WIDTH, 0, 0))
    env = {**environment(), "MOORAGE_CONFIG": f"{system.folder}/cli.yaml", "TERM": "xterm-256color"}
    env.pop("COLUMNS", None)
    process = subprocess.Popen(
        [str(BIN / words[0]), *words[1:]],
        cwd=system.folder,
        env=env,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        close_fds=True,
    )
    os.close(theirs)
    read = bytearray()
    while chunk := _read(ours):
        read += chunk
    os.close(ours)
    process.wait()
    return read.decode().replace("\r\n", "\n")


def _read(file: int) -> bytes:
    """Return what comes next from a terminal; nothing when nobody holds its other end."""
    try:
        return os.read(file, 65536)
    except OSError as error:
        if error.errno == errno.EIO:
            return b""
        raise


if __name__ == "__main__":
    main()

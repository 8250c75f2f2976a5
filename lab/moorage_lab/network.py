"""The lab's network: one namespace with one bridge, and a namespace for each VM on it."""

import hashlib
import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from moorage_lab.errors import LabError
from moorage_lab.places import (
    BRIDGE,
    DHCP_RANGE,
    GATEWAY,
    GATEWAY_SIX,
    HUB,
    NAMESPACE,
    NETNS,
    NETNS_DIR,
    PREFIX,
    PREFIX_SIX,
    VCENTER,
)
from moorage_lab.run import run, try_run

BRIDGE_MAC = "02:4d:4f:4f:52:01"
"""Fixed: a bridge otherwise takes the lowest MAC of its ports, and neighbours' caches go stale."""


@dataclass(frozen=True, slots=True)
class Nic:
    mac: str
    connected: bool = True


def _ip(lines: Sequence[str]) -> None:
    """Run several `ip` commands in the lab's namespace, in one process."""
    run("ip", "-n", NAMESPACE, "-batch", "-", stdin="\n".join(lines) + "\n")


def is_mount(path: Path) -> bool:
    """Whether something is mounted on the path itself (bind mounts of one file too)."""
    return str(path) in mounts()


def mounts() -> list[str]:
    """Mount points of this process, in the order in which they were mounted."""
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    return [line.split()[4].encode().decode("unicode_escape") for line in lines]


def has_lab_network() -> bool:
    return is_mount(NETNS)


def make_lab_network() -> None:
    """Make namespace and bridge with the lab's addresses; may be repeated."""
    if not has_lab_network():
        NETNS.unlink(missing_ok=True)  # left by a crash of `ip netns add`
        run("ip", "netns", "add", NAMESPACE)
    if BRIDGE not in links():
        _ip([f"link add {BRIDGE} address {BRIDGE_MAC} type bridge"])
    addresses = (GATEWAY, VCENTER, HUB)
    _ip(
        ["link set lo up"]
        + [f"address replace {address}/{PREFIX} dev {BRIDGE}" for address in addresses]
        # Nobody else has it: looking for such a one would hold the DNS server up.
        + [f"address replace {GATEWAY_SIX}/{PREFIX_SIX} dev {BRIDGE} nodad"]
        + [f"link set {BRIDGE} up"]
    )


def remove_lab_network() -> None:
    """Remove the namespace; its processes must be gone. May be repeated."""
    if has_lab_network():
        try_run(["ip", "-n", NAMESPACE, "link", "del", BRIDGE])
        run("ip", "netns", "del", NAMESPACE)
    NETNS.unlink(missing_ok=True)


def remove_netns_dir() -> None:
    """Undo what the first `ip netns add` of a host did: /run/netns mounted on itself."""
    if NETNS_DIR.is_dir() and not any(NETNS_DIR.iterdir()):
        while is_mount(NETNS_DIR):
            run("umount", NETNS_DIR)
        NETNS_DIR.rmdir()


def port(vm: str, index: int) -> str:
    """Name of the bridge's port for a VM's NIC: 15 characters are what the kernel allows."""
    return f"{_port_prefix(vm)}{index}"


def _port_prefix(vm: str) -> str:
    return f"v{hashlib.sha256(vm.encode()).hexdigest()[:10]}-"


def links() -> set[str]:
    """Names of the links in the lab's namespace."""
    return {link["ifname"] for link in json.loads(run("ip", "-n", NAMESPACE, "-j", "link"))}


def connect(vm: str, netns: Path, nics: Sequence[Nic]) -> None:
    """Give a VM a namespace of its own with eth0, eth1 … on the bridge."""
    disconnect(vm, netns)
    netns.touch()
    run("unshare", f"--net={netns}", "true")
    lines = []
    for index, nic in enumerate(nics):
        name = port(vm, index)
        lines += [
            f"link add {name} type veth peer name eth{index} address {nic.mac} netns {netns}",
            f"link set {name} master {BRIDGE}",
        ]
    if lines:
        _ip(lines)
    set_links(vm, nics)


def set_links(vm: str, nics: Sequence[Nic]) -> None:
    """Plug or unplug each NIC's cable."""
    lines = [
        f"link set {port(vm, index)} {'up' if nic.connected else 'down'}"
        for index, nic in enumerate(nics)
    ]
    if lines:
        _ip(lines)


def disconnect(vm: str, netns: Path) -> None:
    """Remove a VM's ports and namespace; may be repeated.

    The ports are removed first and by name: the kernel removes a namespace's own links some
    time after its last user is gone, and the next power on makes the same names.
    """
    if has_lab_network():
        for link in links():
            if link.startswith(_port_prefix(vm)):
                try_run(["ip", "-n", NAMESPACE, "link", "del", link])
    while is_mount(netns):
        run("umount", netns)
    netns.unlink(missing_ok=True)


def dhcp_config(state: Path) -> str:
    """Configuration of dnsmasq: addresses by DHCP, and the lab's names; it asks nobody else."""
    return "\n".join(
        (
            "keep-in-foreground",
            "log-facility=-",
            f"interface={BRIDGE}",
            "except-interface=lo",
            "bind-interfaces",
            "user=root",
            "pid-file=",
            "no-resolv",
            "no-hosts",
            "domain=lab",
            "local=/lab/",
            f"host-record=gateway.lab,{GATEWAY}",
            f"host-record=vcenter.lab,{VCENTER}",
            f"host-record=hub.lab,{HUB}",
            f"dhcp-range={DHCP_RANGE[0]},{DHCP_RANGE[1]},255.255.0.0,12h",
            f"dhcp-option=option:router,{GATEWAY}",
            f"dhcp-option=option:dns-server,{GATEWAY}",
            "dhcp-authoritative",
            "no-ping",
            f"dhcp-leasefile={state / 'dhcp.leases'}",
            "",
        )
    )


def dhcp_command(config: Path) -> list[str]:
    """The DHCP server, in the lab's namespace."""
    if (dnsmasq := shutil.which("dnsmasq", path="/usr/sbin:/sbin:/usr/bin:/bin")) is None:
        raise LabError("dnsmasq is not installed")
    return ["nsenter", f"--net={NETNS}", dnsmasq, f"--conf-file={config}"]

"""cloud-init's two documents for ``DataSourceVMware``: metadata and user data, as guestinfo."""

import base64
import gzip
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from moorage.bootstrap.node import DNS, Card
from moorage.kit.errors import FieldFault, InvalidError
from moorage.resources.spans import V4, V6

MAX_GUESTINFO_BYTES = 64 * 1024
"""What a guest can read in one answer. vCenter takes more, and the node then sees nothing."""

METADATA = "guestinfo.metadata"
USERDATA = "guestinfo.userdata"


@dataclass(frozen=True, slots=True)
class File:
    """One file of the node."""

    path: str
    content: str
    permissions: str = "0644"

    def entry(self) -> dict[str, str]:
        """Return it as an entry of cloud-init's ``write_files``."""
        return {
            "path": self.path,
            "owner": "root:root",
            "permissions": self.permissions,
            "content": self.content,
        }


def render_metadata(
    *,
    instance_id: str,
    hostname: str,
    interface: str,
    cards: Sequence[Card],
    versions: Sequence[int],
    dns: DNS,
) -> dict[str, Any]:
    """Return the metadata. It stays in guestinfo for good, so it never holds a secret.

    A reboot reads it again and finds the same instance, so nothing is repeated. ``redact`` makes
    cloud-init overwrite the user data as soon as it has read it. There is no ``wait-on-network``:
    cloud-init would wait for ever, and a node without an address could not say so. The boot
    script waits instead.
    """
    return {
        "instance-id": instance_id,
        "local-hostname": hostname,
        "network": {"version": 2, "ethernets": _ethernets(interface, cards, versions, dns)},
        "redact": ["userdata", "vendordata"],
    }


def _ethernets(
    interface: str, cards: Sequence[Card], versions: Sequence[int], dns: DNS
) -> dict[str, Any]:
    made = {interface: _ethernet(cards[0], versions, dns)}
    for number, card in enumerate(cards[1:], start=1):
        made[f"net{number}"] = _further_ethernet(card)
    if len(cards) > 1:
        # A pattern would be true of all. All are renamed, or else renderers that match by name
        # would look for cards that nobody calls so.
        for (name, ethernet), card in zip(made.items(), cards, strict=True):
            ethernet |= {"match": {"macaddress": card.mac}, "set-name": name}
    return made


def _further_ethernet(card: Card) -> dict[str, Any]:
    """Neither default route nor DNS: these are the first card's."""
    ethernet: dict[str, Any] = {"dhcp4": not card.addresses, "dhcp6": False}
    if card.addresses:
        ethernet["addresses"] = [f"{one.address}/{one.prefix}" for one in card.addresses]
    else:
        ethernet |= {
            "dhcp-identifier": "mac",
            "dhcp4-overrides": {"use-routes": False, "use-dns": False},
        }
    if card.routes:
        ethernet["routes"] = [{"to": to, "via": via} for to, via in card.routes]
    ethernet["accept-ra"] = False
    ethernet["optional"] = True  # a storage network that is down does not hold the boot up
    return ethernet


def _ethernet(card: Card, versions: Sequence[int], dns: DNS) -> dict[str, Any]:
    # The MAC is vCenter's choice and not known before the clone. netplan matches by the pattern;
    # cloud-init's other renderers match by the key, the name of the cluster's interface.
    ethernet: dict[str, Any] = {"match": {"name": "e*"}}
    if not card.addresses:
        # By MAC: clones of one template may share the machine-id that a DUID is made from.
        ethernet |= {"dhcp4": V4 in versions, "dhcp6": V6 in versions, "dhcp-identifier": "mac"}
    else:
        ethernet |= {
            "dhcp4": False,
            "dhcp6": False,
            "addresses": [f"{one.address}/{one.prefix}" for one in card.addresses],
        }
        for one in card.addresses:
            if ":" not in one.address:
                ethernet["routes"] = [{"to": "0.0.0.0/0", "via": one.router}]
                continue
            # A route to ::/0 becomes one to ::/64 by cloud-init's renderer for networkd (22.4).
            ethernet["gateway6"] = one.router
            # Else a router's word would add addresses and a second default route.
            ethernet["accept-ra"] = False
        dns = dns.over(card.addresses)
    name_servers: dict[str, list[str]] = {}
    if dns.name_servers:
        name_servers["addresses"] = list(dns.name_servers)
    if dns.search:
        name_servers["search"] = list(dns.search)
    if name_servers:
        ethernet["nameservers"] = name_servers
    return ethernet


def render_cloud_config(config: dict[str, Any]) -> str:
    """Return a cloud-config. JSON is YAML, and leaves no room for surprises in quoting."""
    return f"#cloud-config\n{json.dumps(config, indent=1, sort_keys=True)}\n"


def encode_metadata(metadata: dict[str, Any]) -> dict[str, str]:
    """Return the two guestinfo values of metadata; raises ``InvalidError`` as the next one does."""
    text = base64.b64encode(json.dumps(metadata, sort_keys=True).encode()).decode()
    return _checked({METADATA: text, f"{METADATA}.encoding": "base64"})


def encode_userdata(userdata: str) -> dict[str, str]:
    """Return the two guestinfo values; raises ``InvalidError`` when one is too large to read.

    The bytes depend on the text only: gzip's time stamp is left out.
    """
    text = base64.b64encode(gzip.compress(userdata.encode(), 9, mtime=0)).decode()
    return _checked({USERDATA: text, f"{USERDATA}.encoding": "gzip+base64"})


def _checked(values: dict[str, str]) -> dict[str, str]:
    for key, value in values.items():
        if len(value) > MAX_GUESTINFO_BYTES:
            raise InvalidError(
                f"{key} would have {len(value)} bytes after compression, "
                f"a guest can read {MAX_GUESTINFO_BYTES}",
                (
                    FieldFault(
                        "spec.node",
                        "shorten what every node gets: caCertificates, sshKeys, "
                        "preKubeadmCommands or postKubeadmCommands",
                    ),
                ),
            )
    return values

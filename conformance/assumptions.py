"""Everything that is assumed of a real vCenter: with the check that a machine can do, or without.

Each id has a row in ``docs/explanation/unproved.md``, and the other way round.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from conformance import machines, sessions
from conformance.site import Site


@dataclass(frozen=True)
class Assumption:
    """What is claimed, and how it is checked."""

    id: str
    claim: str
    check: Callable[[Site], Awaitable[str]]
    """Returns what came back; raises ``RefutedError`` or ``SkippedError``."""


CHECKED: Final = (
    Assumption("oldest-api", "vim25/6.7.3 is spoken by every later release", sessions.oldest_api),
    Assumption(
        "privileges-answered",
        "HasPrivilegeOnEntities answers for several objects at once",
        sessions.privileges_answered,
    ),
    Assumption(
        "no-permission",
        "NoPermission names the object and the privilege",
        sessions.no_permission_names,
    ),
    Assumption(
        "duplicate-name",
        "a second clone of a name in a folder is refused, also while the first is being made",
        machines.duplicate_name,
    ),
    Assumption(
        "instance-uuid",
        "the instance UUID of the specification is kept, and no two VMs have the same",
        machines.instance_uuid,
    ),
    Assumption(
        "keyed-path",
        'config.extraConfig["key"] can be a path of a filter, and is pushed',
        machines.keyed_path,
    ),
    Assumption("tasks-pushed", "a ListView of tasks tells how they end", machines.tasks_pushed),
    Assumption(
        "linked-clone", "a template with a snapshot can be cloned linked", machines.linked_clone
    ),
    Assumption(
        "guestinfo-in-clone",
        "guestinfo of the specification stands in the VM",
        machines.guestinfo_in_clone,
    ),
    Assumption(
        "guestinfo-cleared", "cleared guestinfo is empty when read back", machines.guestinfo_cleared
    ),
    Assumption(
        "events-keep-no-secret",
        "no event keeps the clone's guestinfo",
        machines.events_keep_no_secret,
    ),
    Assumption("chosen-host", "a clone is made on the host that is named", machines.chosen_host),
    Assumption(
        "copy-is-told", "a copy by hand bears the mark with another UUID", machines.copy_is_told
    ),
    Assumption(
        "moref-stays", "a VM that is renamed and moved keeps its moref", machines.moref_stays
    ),
    Assumption("absence", "a destroyed VM is found by neither search", machines.absence),
    Assumption(
        "cluster-folder",
        "a taken folder name is refused with its holder, and an empty folder is removed",
        machines.cluster_folder,
    ),
    Assumption("odd-names", "names are escaped as documented", machines.odd_names),
    Assumption("power", "power states are pushed", machines.power),
    Assumption(
        "session-ended-by-cookie",
        "the cookie of a session ends it from another connection",
        sessions.session_ended_by_cookie,
    ),
    Assumption(
        "rest-session",
        "the token of a REST session ends it from another connection",
        sessions.rest_session,
    ),
    Assumption(
        "version-token", "a lost version token is said to be invalid", sessions.version_token_lost
    ),
    Assumption(
        "privileges-suffice",
        "who can do all of this lacks no privilege of the table",
        sessions.privileges_suffice,
    ),
)

BY_HAND: Final = {
    "cloud-init": "needs a guest that boots",
    "kube-vip": "needs a cluster",
    "provider-id": "needs a guest that boots",
    "reboot": "needs a cluster",
    "parallel-start": "needs load",
    "template-replicas": "needs a second datastore, and days in which nobody touches the template",
    "template-fitness": "needs templates of several tools",
    "foreign-snapshots": "needs a backup product",
    "clone-spread": "needs a busy compute cluster",
    "vmware-serial": "needs guests of several hardware versions",
    "proxy-in-containerd": "needs a cluster",
    "external-endpoint": "needs a load balancer",
    "endpoint-interface": "needs a guest that boots",
    "session-limit": "would take all sessions of vCenter",
    "datastore-room": "would fill a datastore",
    "reservations": "would reserve resources of others",
    "usage-with-figures": "needs a datastore that nobody else writes to",
    "disk-elsewhere": "needs a second datastore",
    "storage-policies": "needs a policy, and a datastore that does not satisfy it",
    "vsan-rules": "needs vSAN",
    "drs-rules": "would change a compute cluster, which is outside of the folder",
    "rule-names": "would change a compute cluster, which is outside of the folder",
    "withdrawn-permission": "would change permissions",
    "device-config-id": "needs a guest with VMware Tools",
    "address-seen": "needs a guest with VMware Tools",
    "search-domains": "needs a guest that boots",
    "ddns": "needs a guest that boots, and its DHCP and DNS servers",
    "ipv6": "needs a cluster",
    "card-order": "needs a guest that boots",
    "storage-drs": "would change a datastore cluster, which is outside of the folder",
    "encrypted-template": "needs a key provider",
    "ova-import": "would make a content library, which is outside of the folder",
    "nfc-import": "would send a disk to a host, whose port may not be reached from here",
    "container-image": "is not about vCenter: needs a builder of images",
    "helm-chart": "is not about vCenter: needs a cluster",
    "systemd-units": "is not about vCenter: needs systemd",
    "tags-seen": "would make categories, which are outside of the folder",
}
"""Ids of what no run can check in one folder, with the reason."""

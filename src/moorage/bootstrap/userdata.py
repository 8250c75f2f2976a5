"""The user data of one machine: which files it gets, by its role, and what runs at boot."""

import json
import shlex
from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import Any

from moorage.bootstrap.clientcert import render_kubeconfig
from moorage.bootstrap.cloudinit import (
    File,
    encode_metadata,
    encode_userdata,
    render_cloud_config,
    render_metadata,
)
from moorage.bootstrap.kubeadm import DISCOVERY_PATH, NODE_IP, NODE_IPS, PROVIDER_ID, render_kubeadm
from moorage.bootstrap.kubevip import MANIFEST_PATH, render_kube_vip, uses_kube_vip
from moorage.bootstrap.node import DNS, Card, NodeInput
from moorage.bootstrap.pki import bootstrap_token, helper_key
from moorage.bootstrap.runtime import runtime_files
from moorage.resources import Cluster, Machine

DIRECTORY = "/etc/moorage"
PROGRAMS = "/usr/local/lib/moorage"
JOIN_DEADLINE_S = 20 * 60
"""How long a joiner waits for the endpoint: the founder may still be cloned in full."""

_SECRET = "0600"  # noqa: S105 - file permissions
_PROGRAM = "0755"


def render_guestinfo(node: NodeInput) -> dict[str, str]:
    """Return the guestinfo values to clone this machine with. Same input, same bytes.

    They hold secrets: they belong into the clone's specification and nowhere else.
    """
    userdata = render_cloud_config(cloud_config(node))
    return {**render_network(node.cards, node.machine, node.cluster), **encode_userdata(userdata)}


def render_network(cards: Sequence[Card], machine: Machine, cluster: Cluster) -> dict[str, str]:
    """Return the guestinfo values of the metadata: the machine's name and network, no secret.

    With several cards it is only right once their MAC addresses are known.
    """
    return encode_metadata(
        render_metadata(
            instance_id=machine.metadata.uid,
            hostname=machine.metadata.name,
            interface=cluster.spec.endpoint.interface,
            cards=cards,
            versions=cluster.spec.network.versions,
            dns=DNS.of(machine.spec.failure_domain),
        )
    )


def cloud_config(node: NodeInput) -> dict[str, Any]:
    """Return the cloud-config of this machine."""
    settings = node.cluster.spec.node
    config: dict[str, Any] = {
        "disable_root": True,
        "ssh_pwauth": False,
        "manage_etc_hosts": True,
        "write_files": [file.entry() for file in node_files(node)],
        "runcmd": [
            ["systemctl", "daemon-reload"],
            # First the helper: a node that never joins must be able to say why.
            ["systemctl", "enable", "--now", "--no-block", "moorage-helper.service"],
            ["systemctl", "enable", "--now", "--no-block", "moorage-boot.service"],
        ],
    }
    if settings.ssh_keys:
        config["users"] = [
            {
                "name": settings.user,
                "ssh_authorized_keys": list(settings.ssh_keys),
                "sudo": "ALL=(ALL) NOPASSWD:ALL",
                "shell": "/bin/bash",
                "lock_passwd": True,
            }
        ]
    if settings.ntp_servers:
        config["ntp"] = {"enabled": True, "servers": list(settings.ntp_servers)}
    return config


def node_files(node: NodeInput) -> list[File]:
    """Return the files of this machine.

    Private keys of the authorities go to the founder only. Later control planes fetch them,
    encrypted, from the cluster; workers never see them.
    """
    made = [
        File(f"{PROGRAMS}/boot", _asset("boot.sh"), _PROGRAM),
        File(f"{PROGRAMS}/helper", _asset("helper.py"), _PROGRAM),
        File("/etc/systemd/system/moorage-boot.service", _asset("moorage-boot.service")),
        File("/etc/systemd/system/moorage-helper.service", _asset("moorage-helper.service")),
        File(f"{DIRECTORY}/helper.json", _helper_configuration(node), _SECRET),
        File(f"{DIRECTORY}/boot.env", _boot_environment(node), _SECRET),
        File(f"{DIRECTORY}/kubeadm.yaml.in", render_kubeadm(node), _SECRET),
    ]
    made += _founder_files(node) if node.is_first else _joiner_files(node)
    if uses_kube_vip(node):
        made.append(File(MANIFEST_PATH, render_kube_vip(node), _SECRET))
    made += runtime_files(node)
    made += _commands(node)
    return made


def _asset(name: str) -> str:
    return (files("moorage.bootstrap") / "files" / name).read_text(encoding="utf-8")


def _helper_configuration(node: NodeInput) -> str:
    uid = node.machine.metadata.uid
    return json.dumps({"machine": uid, "key": helper_key(node.pki, uid).hex()}, sort_keys=True)


def _boot_environment(node: NodeInput) -> str:
    spec = node.cluster.spec
    return _shell_variables(
        {
            "MODE": "init" if node.is_first else "join",
            "ROLE": node.machine.spec.role.value,
            "NODE_NAME": node.name,
            "NODE_IPS": " ".join(node.node_ips),
            "FAMILIES": " ".join(map(str, node.versions)),
            "NODE_IP_MARK": NODE_IP,
            "NODE_IPS_MARK": NODE_IPS,
            "PROVIDER_ID_MARK": PROVIDER_ID,
            "SERVER": node.server,
            "ENDPOINT_HOST": node.endpoint_host,
            "INTERFACE": spec.endpoint.interface,
            "VERSION": node.machine.spec.kubernetes_version,
            "DEADLINE_S": str(JOIN_DEADLINE_S),
            "MIRRORS": "yes" if spec.node.registry_mirrors else "",
            "RESTART_CONTAINERD": "yes" if spec.node.proxy else "",
        }
    )


def _shell_variables(values: Mapping[str, str]) -> str:
    return "".join(f"{name}={shlex.quote(value)}\n" for name, value in values.items())


def _founder_files(node: NodeInput) -> list[File]:
    root, pki = "/etc/kubernetes/pki", node.pki
    return [
        File(f"{root}/ca.crt", pki.ca.certificate),
        File(f"{root}/ca.key", pki.ca.key, _SECRET),
        File(f"{root}/etcd/ca.crt", pki.etcd_ca.certificate),
        File(f"{root}/etcd/ca.key", pki.etcd_ca.key, _SECRET),
        File(f"{root}/front-proxy-ca.crt", pki.front_proxy_ca.certificate),
        File(f"{root}/front-proxy-ca.key", pki.front_proxy_ca.key, _SECRET),
        File(f"{root}/sa.pub", pki.service_account.certificate),
        File(f"{root}/sa.key", pki.service_account.key, _SECRET),
    ]


def _joiner_files(node: NodeInput) -> list[File]:
    token = bootstrap_token(node.pki, node.machine.metadata.uid)
    discovery = render_kubeconfig(
        cluster_name=node.cluster.metadata.name,
        server=node.server,
        ca=node.pki.ca.certificate,
        user="bootstrap",
        credentials={"token": token},
    )
    return [
        File(DISCOVERY_PATH, discovery, _SECRET),
        # curl's own copies, so that the token is on no command line.
        File(f"{DIRECTORY}/ca.crt", node.pki.ca.certificate),
        File(f"{DIRECTORY}/authorization", f"Authorization: Bearer {token}\n", _SECRET),
    ]


def _commands(node: NodeInput) -> list[File]:
    settings = node.cluster.spec.node
    made = []
    for name, commands in (
        ("pre-kubeadm", settings.pre_kubeadm_commands),
        ("post-kubeadm", settings.post_kubeadm_commands),
    ):
        if commands:
            body = "\n".join(("#!/bin/bash", "set -e", *commands, ""))
            made.append(File(f"{DIRECTORY}/{name}", body, "0700"))
    return made

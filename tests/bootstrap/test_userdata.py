"""What each machine is given, by its role, and in which form."""

import base64
import json
import random
import string
from typing import Any

import pytest
import yaml
from inline_snapshot import snapshot
from pydantic import ValidationError

from moorage.bootstrap import Card, StaticAddress, render_guestinfo, render_network
from moorage.bootstrap.cloudinit import MAX_GUESTINFO_BYTES
from moorage.kit.errors import InvalidError

from .builders import (
    ADDRESS,
    ALL_ROLES,
    CONTROL_PLANE,
    DOMAIN,
    FOUNDER,
    WORKER,
    a_cluster,
    a_machine,
    a_node,
    a_pki,
    cloud_config_of,
    files_of,
)

A_CA = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----"


def metadata_of(**given: object) -> dict[str, object]:
    values = render_guestinfo(a_node(**given))  # type: ignore[arg-type]
    document: dict[str, object] = json.loads(base64.b64decode(values["guestinfo.metadata"]))
    return document


def ethernet_of(**given: object) -> dict[str, Any]:
    network: Any = metadata_of(**given)["network"]
    found: dict[str, Any] = network["ethernets"]["eth0"]
    return found


def test_metadata_with_a_static_address() -> None:
    assert metadata_of() == snapshot(
        {
            "instance-id": "0b0c5d4e-1111-4222-8333-444455556666",
            "local-hostname": "demo-md-0b0c5d4e11",
            "network": {
                "ethernets": {
                    "eth0": {
                        "addresses": ["10.77.1.10/16"],
                        "dhcp4": False,
                        "dhcp6": False,
                        "match": {"name": "e*"},
                        "nameservers": {"addresses": ["10.77.0.1"], "search": ["example.com"]},
                        "routes": [{"to": "0.0.0.0/0", "via": "10.77.0.1"}],
                    }
                },
                "version": 2,
            },
            "redact": ["userdata", "vendordata"],
        }
    )


def test_metadata_with_dhcp() -> None:
    assert metadata_of(address=None)["network"] == snapshot(
        {
            "ethernets": {
                "eth0": {
                    "dhcp-identifier": "mac",
                    "dhcp4": True,
                    "dhcp6": False,
                    "match": {"name": "e*"},
                }
            },
            "version": 2,
        }
    )


SIX = StaticAddress("fd77::10", 64, "fe80::1", ("fd77::53",), ("six.example.com",))
DUAL = {
    "pods": ["10.244.0.0/16", "fd00:10:244::/56"],
    "services": ["10.96.0.0/16", "fd00:10:96::/112"],
}


def test_metadata_with_a_static_address_of_each_family() -> None:
    assert ethernet_of(address=(ADDRESS, SIX)) == snapshot(
        {
            "accept-ra": False,
            "addresses": ["10.77.1.10/16", "fd77::10/64"],
            "dhcp4": False,
            "dhcp6": False,
            "match": {"name": "e*"},
            "nameservers": {
                "addresses": ["10.77.0.1", "fd77::53"],
                "search": ["example.com", "six.example.com"],
            },
            "routes": [{"to": "0.0.0.0/0", "via": "10.77.0.1"}],
            "gateway6": "fe80::1",
        }
    )


def test_several_cards_are_told_apart_by_their_macs() -> None:
    storage = StaticAddress("10.88.0.7", 24, "10.88.0.1", ("10.88.0.1",), ("storage",))
    first = Card((ADDRESS,), mac="00:50:56:80:00:01")
    more = (
        Card((storage,), mac="00:50:56:80:00:02", routes=(("10.99.0.0/16", "10.88.0.1"),)),
        Card(mac="00:50:56:80:00:03"),
    )
    values = render_network((first, *more), a_machine(), a_cluster())
    metadata = json.loads(base64.b64decode(values["guestinfo.metadata"]))

    assert metadata["network"]["ethernets"] == snapshot(
        {
            "eth0": {
                "addresses": ["10.77.1.10/16"],
                "dhcp4": False,
                "dhcp6": False,
                "match": {"macaddress": "00:50:56:80:00:01"},
                "nameservers": {"addresses": ["10.77.0.1"], "search": ["example.com"]},
                "routes": [{"to": "0.0.0.0/0", "via": "10.77.0.1"}],
                "set-name": "eth0",
            },
            "net1": {
                "accept-ra": False,
                "addresses": ["10.88.0.7/24"],
                "dhcp4": False,
                "dhcp6": False,
                "match": {"macaddress": "00:50:56:80:00:02"},
                "optional": True,
                "routes": [{"to": "10.99.0.0/16", "via": "10.88.0.1"}],
                "set-name": "net1",
            },
            "net2": {
                "accept-ra": False,
                "dhcp-identifier": "mac",
                "dhcp4": True,
                "dhcp4-overrides": {"use-dns": False, "use-routes": False},
                "dhcp6": False,
                "match": {"macaddress": "00:50:56:80:00:03"},
                "optional": True,
                "set-name": "net2",
            },
        }
    )


def test_with_dhcp_a_card_asks_for_the_families_of_the_cluster() -> None:
    six = {"pods": "fd00:10:244::/56", "services": "fd00:10:96::/112"}

    for network, four_wanted, six_wanted in ((DUAL, True, True), (six, False, True)):
        ethernet = ethernet_of(cluster=a_cluster(network=network), address=None)
        assert (ethernet["dhcp4"], ethernet["dhcp6"]) == (four_wanted, six_wanted)


def test_what_goes_past_a_proxy_is_of_both_families() -> None:
    cluster = a_cluster(network=DUAL, node={"proxy": {"httpProxy": "http://proxy:3128"}})

    drop_in = files_of(a_node(cluster=cluster, address=(ADDRESS, SIX)))[
        "/etc/systemd/system/containerd.service.d/50-moorage-proxy.conf"
    ]["content"]

    for direct in (*DUAL["pods"], *DUAL["services"], "10.77.0.0/16", "fd77::/64"):
        assert f",{direct}," in drop_in or f',{direct}"' in drop_in


def test_a_failure_domain_says_how_names_are_resolved() -> None:
    domain = {**DOMAIN, "nameServers": ["10.1.0.53"], "search": ["a.example.com", "example.com"]}
    lone = {**DOMAIN, "search": ["a.example.com"]}

    assert ethernet_of(failureDomain=domain)["nameservers"] == {
        "addresses": ["10.1.0.53"],
        "search": ["a.example.com", "example.com"],
    }
    assert ethernet_of(failureDomain=lone)["nameservers"] == {
        "addresses": ["10.77.0.1"],
        "search": ["a.example.com", "example.com"],
    }
    by_dhcp = ethernet_of(failureDomain=lone, address=None)
    assert by_dhcp["dhcp4"] is True
    assert by_dhcp["nameservers"] == {"search": ["a.example.com"]}


@pytest.mark.parametrize("domain", ["", "a..b", "-a.example.com", "a b", "x" * 64])
def test_a_search_domain_that_cannot_be_is_refused(domain: str) -> None:
    with pytest.raises(ValidationError, match="search"):
        a_machine(failureDomain={**DOMAIN, "search": [domain]})


def test_encodings_are_told() -> None:
    values = render_guestinfo(a_node())

    assert sorted(values) == [
        "guestinfo.metadata",
        "guestinfo.metadata.encoding",
        "guestinfo.userdata",
        "guestinfo.userdata.encoding",
    ]
    assert values["guestinfo.metadata.encoding"] == "base64"
    assert values["guestinfo.userdata.encoding"] == "gzip+base64"


@pytest.mark.parametrize("role", ALL_ROLES)
def test_same_input_gives_the_same_bytes(role: tuple[str, str]) -> None:
    assert render_guestinfo(a_node(*role)) == render_guestinfo(a_node(*role))


@pytest.mark.parametrize("role", ALL_ROLES)
def test_values_are_far_below_what_a_guest_can_read(role: tuple[str, str]) -> None:
    assert max(map(len, render_guestinfo(a_node(*role)).values())) < 20_000


def test_too_much_is_refused_with_what_to_shorten() -> None:
    noise = random.Random(1)  # noqa: S311 - not compressible, that is all
    text = "".join(noise.choices(string.ascii_letters, k=100_000))

    with pytest.raises(InvalidError, match=str(MAX_GUESTINFO_BYTES)) as caught:
        render_guestinfo(a_node(cluster=a_cluster(node={"preKubeadmCommands": [f"# {text}"]})))

    assert [fault.path for fault in caught.value.faults] == ["spec.node"]


def test_files_by_role() -> None:
    made = {role: sorted(files_of(a_node(*role))) for role in ALL_ROLES}

    assert made == snapshot(
        {
            ("control-plane", "init"): [
                "/etc/kubernetes/manifests/kube-vip.yaml",
                "/etc/kubernetes/pki/ca.crt",
                "/etc/kubernetes/pki/ca.key",
                "/etc/kubernetes/pki/etcd/ca.crt",
                "/etc/kubernetes/pki/etcd/ca.key",
                "/etc/kubernetes/pki/front-proxy-ca.crt",
                "/etc/kubernetes/pki/front-proxy-ca.key",
                "/etc/kubernetes/pki/sa.key",
                "/etc/kubernetes/pki/sa.pub",
                "/etc/moorage/boot.env",
                "/etc/moorage/helper.json",
                "/etc/moorage/kubeadm.yaml.in",
                "/etc/systemd/system/moorage-boot.service",
                "/etc/systemd/system/moorage-helper.service",
                "/usr/local/lib/moorage/boot",
                "/usr/local/lib/moorage/helper",
            ],
            ("control-plane", "join"): [
                "/etc/kubernetes/manifests/kube-vip.yaml",
                "/etc/moorage/authorization",
                "/etc/moorage/boot.env",
                "/etc/moorage/ca.crt",
                "/etc/moorage/discovery.conf",
                "/etc/moorage/helper.json",
                "/etc/moorage/kubeadm.yaml.in",
                "/etc/systemd/system/moorage-boot.service",
                "/etc/systemd/system/moorage-helper.service",
                "/usr/local/lib/moorage/boot",
                "/usr/local/lib/moorage/helper",
            ],
            ("worker", "join"): [
                "/etc/moorage/authorization",
                "/etc/moorage/boot.env",
                "/etc/moorage/ca.crt",
                "/etc/moorage/discovery.conf",
                "/etc/moorage/helper.json",
                "/etc/moorage/kubeadm.yaml.in",
                "/etc/systemd/system/moorage-boot.service",
                "/etc/systemd/system/moorage-helper.service",
                "/usr/local/lib/moorage/boot",
                "/usr/local/lib/moorage/helper",
            ],
        }
    )


def test_private_keys_go_to_the_founder_only() -> None:
    pki = a_pki()
    keys = [pki.ca.key, pki.etcd_ca.key, pki.front_proxy_ca.key, pki.service_account.key]

    for role in ALL_ROLES:
        text = json.dumps(cloud_config_of(a_node(*role)))
        has = ["PRIVATE KEY-----\\nM" in text, *(json.dumps(key)[1:-1] in text for key in keys)]
        assert has == [role == FOUNDER] * 5


def test_master_secret_and_metadata_hold_no_secret() -> None:
    master = a_pki().master

    for role in ALL_ROLES:
        node = a_node(*role)
        text = json.dumps(cloud_config_of(node))
        assert master.hex() not in text
        assert base64.b64encode(master).decode() not in text
        metadata = base64.b64decode(render_guestinfo(node)["guestinfo.metadata"]).decode()
        assert "token" not in metadata


@pytest.mark.parametrize("role", ALL_ROLES)
def test_files_with_secrets_are_roots_own(role: tuple[str, str]) -> None:
    for path, entry in files_of(a_node(*role)).items():
        content = entry["content"]
        secret = "PRIVATE KEY" in content or "token:" in content or "Bearer" in content
        if secret and not path.startswith("/usr/local/lib/moorage/"):
            assert (path, entry["permissions"]) == (path, "0600")


def test_discovery_holds_ca_and_the_machines_own_token() -> None:
    document = yaml.safe_load(files_of(a_node(*WORKER))["/etc/moorage/discovery.conf"]["content"])

    cluster = document["clusters"][0]["cluster"]
    assert cluster["server"] == "https://10.77.1.5:6443"
    assert base64.b64decode(cluster["certificate-authority-data"]).decode() == (
        a_pki().ca.certificate
    )
    assert document["users"][0]["user"] == {"token": snapshot("esscbu.qt90ks2gdogywf3n")}


def test_kube_vip_on_the_founder() -> None:
    text = files_of(a_node(*FOUNDER))["/etc/kubernetes/manifests/kube-vip.yaml"]["content"]

    assert text == snapshot("""\
apiVersion: v1
kind: Pod
metadata:
  name: kube-vip
  namespace: kube-system
spec:
  containers:
  - name: kube-vip
    image: ghcr.io/kube-vip/kube-vip:v1.0.4
    imagePullPolicy: IfNotPresent
    args:
    - manager
    env:
    - name: vip_arp
      value: 'true'
    - name: port
      value: '6443'
    - name: vip_nodename
      valueFrom:
        fieldRef:
          fieldPath: spec.nodeName
    - name: vip_interface
      value: eth0
    - name: vip_subnet
      value: '32'
    - name: dns_mode
      value: first
    - name: cp_enable
      value: 'true'
    - name: cp_namespace
      value: kube-system
    - name: vip_leaderelection
      value: 'true'
    - name: vip_leasename
      value: plndr-cp-lock
    - name: vip_leaseduration
      value: '5'
    - name: vip_renewdeadline
      value: '3'
    - name: vip_retryperiod
      value: '1'
    - name: address
      value: 10.77.1.5
    - name: prometheus_server
      value: :2112
    securityContext:
      capabilities:
        add:
        - NET_ADMIN
        - NET_RAW
        drop:
        - ALL
    volumeMounts:
    - name: kubeconfig
      mountPath: /etc/kubernetes/admin.conf
  hostAliases:
  - ip: 127.0.0.1
    hostnames:
    - kubernetes
  hostNetwork: true
  priorityClassName: system-node-critical
  volumes:
  - name: kubeconfig
    hostPath:
      path: /etc/kubernetes/super-admin.conf
      type: FileOrCreate
""")


def test_kube_vip_elsewhere_differs_by_its_kubeconfig_only() -> None:
    path = "/etc/kubernetes/manifests/kube-vip.yaml"
    first, later = (files_of(a_node(*role))[path]["content"] for role in (FOUNDER, CONTROL_PLANE))

    assert first.replace("super-admin.conf", "admin.conf") == later
    assert first != later


def test_interface_is_the_clusters() -> None:
    cluster = a_cluster(endpoint={"interface": "ens192"})
    node = a_node(*FOUNDER, cluster=cluster)

    manifest = yaml.safe_load(files_of(node)["/etc/kubernetes/manifests/kube-vip.yaml"]["content"])
    environment = {e["name"]: e.get("value") for e in manifest["spec"]["containers"][0]["env"]}
    assert environment["vip_interface"] == "ens192"
    metadata = json.loads(base64.b64decode(render_guestinfo(node)["guestinfo.metadata"]))
    assert list(metadata["network"]["ethernets"]) == ["ens192"]


def test_helper_starts_before_the_boot_script() -> None:
    assert cloud_config_of(a_node())["runcmd"] == snapshot(
        [
            ["systemctl", "daemon-reload"],
            ["systemctl", "enable", "--now", "--no-block", "moorage-helper.service"],
            ["systemctl", "enable", "--now", "--no-block", "moorage-boot.service"],
        ]
    )


def test_ssh_keys_make_the_user() -> None:
    key = "ssh-ed25519 AAAAC3Nz ann"
    config = cloud_config_of(a_node(cluster=a_cluster(node={"sshKeys": [key], "user": "ops"})))

    assert config["users"] == snapshot(
        [
            {
                "lock_passwd": True,
                "name": "ops",
                "shell": "/bin/bash",
                "ssh_authorized_keys": ["ssh-ed25519 AAAAC3Nz ann"],
                "sudo": "ALL=(ALL) NOPASSWD:ALL",
            }
        ]
    )
    assert "users" not in cloud_config_of(a_node())


def test_time_servers() -> None:
    config = cloud_config_of(a_node(cluster=a_cluster(node={"ntpServers": ["10.0.0.1"]})))

    assert config["ntp"] == {"enabled": True, "servers": ["10.0.0.1"]}


def test_registry_mirrors() -> None:
    mirrors = [
        {"registry": "docker.io", "endpoints": ["https://mirror.local:5000"]},
        {"registry": "registry.k8s.io", "endpoints": ["https://h.local/v2/k8s", "http://b:1"]},
        {"registry": "_default", "endpoints": ["https://mirror.local:5000"]},
    ]
    made = files_of(a_node(cluster=a_cluster(node={"registryMirrors": mirrors})))

    texts = [e["content"] for path, e in sorted(made.items()) if path.endswith("hosts.toml")]
    assert "---\n".join(texts) == snapshot("""\
[host."https://mirror.local:5000"]
  capabilities = ["pull", "resolve"]
---
server = "https://registry-1.docker.io"

[host."https://mirror.local:5000"]
  capabilities = ["pull", "resolve"]
---
server = "https://registry.k8s.io"

[host."https://h.local/v2/k8s"]
  capabilities = ["pull", "resolve"]
  override_path = true
[host."http://b:1"]
  capabilities = ["pull", "resolve"]
""")


def test_proxy() -> None:
    proxy = {
        "httpProxy": "http://ann:p%40ss@proxy:3128",
        "httpsProxy": "http://proxy:3128",
        "noProxy": [".corp.example", "10.77.1.5"],
    }
    made = files_of(a_node(cluster=a_cluster(node={"proxy": proxy})))

    drop_ins = [e for path, e in made.items() if path.endswith("50-moorage-proxy.conf")]
    assert [entry["permissions"] for entry in drop_ins] == ["0600", "0600"]
    assert (
        drop_ins[0]["content"]
        == drop_ins[1]["content"]
        == snapshot("""\
[Service]
Environment="HTTP_PROXY=http://ann:p%%40ss@proxy:3128"
Environment="HTTPS_PROXY=http://proxy:3128"
Environment="NO_PROXY=localhost,127.0.0.0/8,.svc,.cluster.local,10.244.0.0/16,10.96.0.0/12,10.77.1.5,10.77.0.0/16,.corp.example"
""")
    )


def test_ca_certificates() -> None:
    made = files_of(a_node(cluster=a_cluster(node={"caCertificates": [A_CA, A_CA]})))

    assert [path for path in made if "ca-certificates" in path] == [
        "/etc/moorage/ca-certificates/moorage-0.crt",
        "/etc/moorage/ca-certificates/moorage-1.crt",
    ]
    assert made["/etc/moorage/ca-certificates/moorage-0.crt"]["content"] == f"{A_CA}\n"


def test_commands_become_scripts_that_stop_at_the_first_fault() -> None:
    made = files_of(a_node(cluster=a_cluster(node={"preKubeadmCommands": ["a 'b c'", "d"]})))

    entry = made["/etc/moorage/pre-kubeadm"]
    assert entry["content"] == "#!/bin/bash\nset -e\na 'b c'\nd\n"
    assert entry["permissions"] == "0700"
    assert "/etc/moorage/post-kubeadm" not in made

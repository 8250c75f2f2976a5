"""A cluster of real nodes without Moorage: kubeadm by hand, on the same lab, all nodes at once.

As good as such a script gets: every machine is cloned and booted at the same time; joiners look for
the cluster several times a second and join the moment that they can. Its endpoint is the first
node's own address, so it spends nothing on a virtual one; joiners trust whatever answers there.
"""

import json
import secrets
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.system import until
from lab.tests import vsphere
from moorage_lab import forward
from moorage_lab.api import Lab, LabError, on_containers
from moorage_lab.run import run

TEMPLATE = "ubuntu-2404-kube-v1.34.4"
VERSION = "v1.34.4"
PORT = 6443
_KUBEADM = "kubeadm.k8s.io/v1beta4"
_FLANNEL = (
    Path(__file__).parent.parent / "src" / "moorage" / "packs" / "data" / "flannel-v0.28.4.yaml"
)
_ADDRESSES = "10.77.1.{}"
_FIRST = 200


@dataclass(frozen=True)
class Node:
    """One machine of the script's cluster."""

    name: str
    address: str
    is_control_plane: bool


def nodes(control_plane: int, workers: int) -> list[Node]:
    """Return the nodes; the first one founds the cluster."""
    total = range(control_plane + workers)
    return [
        Node(f"bare-{n}", _ADDRESSES.format(_FIRST + n), is_control_plane=n < control_plane)
        for n in total
    ]


@contextmanager
def vcenter(lab: Lab) -> Iterator[Any]:
    """Log in to the lab's vCenter from outside of its network."""
    started = forward.start(lab.state, "127.0.0.1:0=10.77.0.2:443")
    port = int(started.listen.rpartition(":")[2])
    try:
        with vsphere.connected("127.0.0.1", port, lab.ca_file, lab.user, lab.password) as service:
            yield service
    finally:
        forward.remove(lab.state, started.listen)


def make(lab: Lab, wanted: Sequence[Node]) -> None:
    """Make the cluster; returns when all nodes are Ready."""
    token = f"{secrets.token_hex(3)}.{secrets.token_hex(8)}"
    key = secrets.token_hex(32)
    first = wanted[0]

    def boot(node: Node) -> None:
        data = _user_data(node, first, token, key)
        with vcenter(lab) as service:
            machine = vsphere.clone(service, TEMPLATE, node.name, {})
            mac = vsphere.mac_of(machine)
            guestinfo = vsphere.guestinfo(f"i-{node.name}", node.name, mac, node.address, data)
            vsphere.reconfigure(machine, guestinfo)
            vsphere.done(machine.PowerOnVM_Task())

    _for_all(boot, wanted)
    until(lambda: _ready(first) == len(wanted), "all bare nodes are Ready", patience_s=900)


def destroy(lab: Lab, gone: Sequence[Node]) -> None:
    """Power off and destroy the machines that are there."""

    def end(node: Node) -> None:
        with vcenter(lab) as service:
            try:
                machine = vsphere.find(service, vsphere.vim.VirtualMachine, node.name)
            except StopIteration:
                return
            if vsphere.power(machine) == "poweredOn":
                vsphere.done(machine.PowerOffVM_Task())
            vsphere.done(machine.Destroy_Task())

    _for_all(end, gone)


def _for_all(act: Callable[[Node], None], wanted: Sequence[Node]) -> None:
    with ThreadPoolExecutor(len(wanted)) as threads:
        list(threads.map(act, wanted))


def _ready(first: Node) -> int:
    lab = Path(sys.executable).with_name("moorage-lab")
    kubectl = ["kubectl", "--kubeconfig=/etc/kubernetes/admin.conf", "get", "nodes", "-o", "json"]
    try:
        found = json.loads(run(lab, "shell", first.name, "--", *kubectl))["items"]
    except LabError:  # not yet
        return 0
    return sum(
        any(
            one["type"] == "Ready" and one["status"] == "True"
            for one in node["status"]["conditions"]
        )
        for node in found
    )


def _user_data(node: Node, first: Node, token: str, key: str) -> str:
    is_first = node == first
    parts = _init(node, token, key) if is_first else [_join(node, first, token, key)]
    files = [
        {"path": "/run/bare/kubeadm.yaml", "content": "\n---\n".join(map(json.dumps, parts))},
        {"path": "/run/bare/go", "content": _SCRIPT[is_first].format(
            endpoint=f"{first.address}:{PORT}", token_id=token[:6]
        )},
    ]  # fmt: skip
    if is_first:
        files.append({"path": "/run/bare/flannel.yaml", "content": _FLANNEL.read_text()})
    go = ["sh -c 'sh -x /run/bare/go > /var/log/bare.log 2>&1'"]
    return "#cloud-config\n" + json.dumps({"write_files": files, "runcmd": go})


_SCRIPT = {
    True: """
kubeadm init --config /run/bare/kubeadm.yaml --upload-certs --skip-phases=show-join-command &
init=$!
export KUBECONFIG=/etc/kubernetes/super-admin.conf
until [ -s $KUBECONFIG ] && kubectl apply --server-side -f /run/bare/flannel.yaml; do
  sleep 0.5
done
wait $init
""",
    False: """
until curl -sk https://{endpoint}/api/v1/namespaces/kube-public/configmaps/cluster-info |
  grep -q jws-kubeconfig-{token_id}; do sleep 0.3; done
until kubeadm join --config /run/bare/kubeadm.yaml; do kubeadm reset -f; sleep 1; done
""",
}


def _registration(node: Node) -> dict[str, Any]:
    return {
        "kubeletExtraArgs": [{"name": "node-ip", "value": node.address}],
        "ignorePreflightErrors": ["SystemVerification", "NumCPU", "Mem"],
    }


def _init(node: Node, token: str, key: str) -> list[dict[str, Any]]:
    settings = on_containers({"spec": {}})["spec"]["node"]
    return [
        {
            "apiVersion": _KUBEADM,
            "kind": "InitConfiguration",
            "bootstrapTokens": [{"token": token, "ttl": "1h0m0s"}],
            "certificateKey": key,
            "localAPIEndpoint": {"advertiseAddress": node.address},
            "nodeRegistration": _registration(node),
        },
        {
            "apiVersion": _KUBEADM,
            "kind": "ClusterConfiguration",
            "kubernetesVersion": VERSION,
            "controlPlaneEndpoint": f"{node.address}:{PORT}",
            "encryptionAlgorithm": "ECDSA-P256",
            "networking": {"podSubnet": "10.244.0.0/16"},
        },
        {
            "apiVersion": "kubelet.config.k8s.io/v1beta1",
            "kind": "KubeletConfiguration",
            **settings["kubeletConfiguration"],
        },
        {
            "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
            "kind": "KubeProxyConfiguration",
            **settings["kubeProxyConfiguration"],
        },
    ]


def _join(node: Node, first: Node, token: str, key: str) -> dict[str, Any]:
    discovery = {
        "token": token,
        "apiServerEndpoint": f"{first.address}:{PORT}",
        "unsafeSkipCAVerification": True,
    }
    plane = {"certificateKey": key, "localAPIEndpoint": {"advertiseAddress": node.address}}
    return {
        "apiVersion": _KUBEADM,
        "kind": "JoinConfiguration",
        "discovery": {"bootstrapToken": discovery},
        "nodeRegistration": _registration(node),
        **({"controlPlane": plane} if node.is_control_plane else {}),
    }

"""User data that makes a guest a single-node Kubernetes cluster, with kubeadm and a bridge."""

import json
from typing import Any


def _config(address: str) -> list[dict[str, Any]]:
    return [
        {
            "apiVersion": "kubeadm.k8s.io/v1beta4",
            "kind": "InitConfiguration",
            "nodeRegistration": {
                "kubeletExtraArgs": [{"name": "node-ip", "value": address}],
                "ignorePreflightErrors": ["SystemVerification", "NumCPU", "Mem"],
            },
        },
        {
            "apiVersion": "kubeadm.k8s.io/v1beta4",
            "kind": "ClusterConfiguration",
            "kubernetesVersion": "v1.34.4",
            "controlPlaneEndpoint": f"{address}:6443",
            "networking": {"podSubnet": "10.244.0.0/24"},
        },
        {
            "apiVersion": "kubelet.config.k8s.io/v1beta1",
            "kind": "KubeletConfiguration",
            "cgroupDriver": "cgroupfs",
            "failSwapOn": False,
            "failCgroupV1": False,
            "imageGCHighThresholdPercent": 100,
        },
        {
            "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
            "kind": "KubeProxyConfiguration",
            "mode": "iptables",
            "conntrack": {
                "maxPerCore": 0,
                "min": 0,
                "tcpEstablishedTimeout": "0s",
                "tcpCloseWaitTimeout": "0s",
            },
        },
    ]


_CNI = {
    "cniVersion": "0.4.0",
    "name": "lab",
    "plugins": [
        {
            "type": "bridge",
            "bridge": "cni0",
            "isGateway": True,
            "ipMasq": True,
            "ipam": {
                "type": "host-local",
                "ranges": [[{"subnet": "10.244.0.0/24"}]],
                "routes": [{"dst": "0.0.0.0/0"}],
            },
        }
    ],
}

RESULT = "guestinfo.lab.kubeadm"


def user_data(address: str) -> str:
    """Cloud-init's part; kubeadm's exit code comes back as guestinfo RESULT."""
    files = [
        {
            "path": "/run/kubeadm/kubeadm.yaml",
            "content": "\n---\n".join(json.dumps(part) for part in _config(address)),
        },
        {"path": "/etc/cni/net.d/10-lab.conflist", "content": json.dumps(_CNI)},
    ]
    init = "kubeadm init --config /run/kubeadm/kubeadm.yaml > /var/log/kubeadm.log 2>&1"
    run = [f'{init}; vmware-rpctool "info-set {RESULT} $?"']
    return "## template: jinja\n#cloud-config\n" + json.dumps({"write_files": files, "runcmd": run})

"""What the gateway puts into a new cluster so that other machines can join, and users log in."""

import base64
import secrets
from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from moorage.bootstrap.clientcert import ADMIN_GROUP
from moorage.bootstrap.pki import ClusterPKI, bootstrap_token, certificate_key
from moorage.resources.kubernetes import Role

TOKEN_TTL = timedelta(hours=2)
NODE_GROUP = "system:bootstrappers:kubeadm:default-node-token"
"""kubeadm binds the right to join to this group."""
CONTROL_PLANE_GROUP = "system:bootstrappers:moorage:control-plane"
"""Ours: only control planes may fetch the (encrypted) keys of the authorities."""

CERTS_SECRET = "kubeadm-certs"  # noqa: S105 - a name
_CERTS_ROLE = "kubeadm:kubeadm-certs"
_RBAC = "rbac.authorization.k8s.io"
_NONCE_BYTES = 12

Document = dict[str, Any]


def bootstrap_token_name(pki: ClusterPKI, machine_uid: str) -> str:
    """Return the name of the Secret of a machine's token, to delete it once it has joined."""
    return f"bootstrap-token-{bootstrap_token(pki, machine_uid).partition('.')[0]}"


def bootstrap_token_secret(
    pki: ClusterPKI, machine_uid: str, role: Role, *, machine_name: str, now: datetime
) -> Document:
    """Return the Secret of one machine's bootstrap token; kube-controller-manager ends it."""
    identity, _, secret = bootstrap_token(pki, machine_uid).partition(".")
    groups = [NODE_GROUP]
    if role is Role.CONTROL_PLANE:
        groups.append(CONTROL_PLANE_GROUP)
    expires = (now + TOKEN_TTL).astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    data = {
        "token-id": identity,
        "token-secret": secret,
        "description": f"Moorage: machine {machine_name}",
        "expiration": expires,
        "usage-bootstrap-authentication": "true",
        "usage-bootstrap-signing": "true",
        "auth-extra-groups": ",".join(groups),
    }
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": f"bootstrap-token-{identity}", "namespace": "kube-system"},
        "type": "bootstrap.kubernetes.io/token",
        "data": {name: base64.b64encode(value.encode()).decode() for name, value in data.items()},
    }


def kubeadm_certs_secret(pki: ClusterPKI) -> Document:
    """Return the Secret from which ``kubeadm join --control-plane`` takes the authorities.

    Each value is AES-256-GCM under the certificate key, its random nonce in front: what
    ``kubeadm init phase upload-certs`` writes. It differs each time, but always opens the same.
    """
    cipher = AESGCM(bytes.fromhex(certificate_key(pki)))

    def seal(text: str) -> str:
        nonce = secrets.token_bytes(_NONCE_BYTES)
        return base64.b64encode(nonce + cipher.encrypt(nonce, text.encode(), None)).decode()

    plain = {
        "ca.crt": pki.ca.certificate,
        "ca.key": pki.ca.key,
        "etcd-ca.crt": pki.etcd_ca.certificate,
        "etcd-ca.key": pki.etcd_ca.key,
        "front-proxy-ca.crt": pki.front_proxy_ca.certificate,
        "front-proxy-ca.key": pki.front_proxy_ca.key,
        "sa.pub": pki.service_account.certificate,
        "sa.key": pki.service_account.key,
    }
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": CERTS_SECRET, "namespace": "kube-system"},
        "type": "Opaque",
        "data": {name: seal(text) for name, text in plain.items()},
    }


def certs_access() -> list[Document]:
    """Return Role and RoleBinding by which later control planes read that Secret."""
    metadata = {"name": _CERTS_ROLE, "namespace": "kube-system"}
    return [
        {
            "apiVersion": f"{_RBAC}/v1",
            "kind": "Role",
            "metadata": dict(metadata),
            "rules": [
                {
                    "apiGroups": [""],
                    "resources": ["secrets"],
                    "resourceNames": [CERTS_SECRET],
                    "verbs": ["get"],
                }
            ],
        },
        {
            "apiVersion": f"{_RBAC}/v1",
            "kind": "RoleBinding",
            "metadata": dict(metadata),
            "roleRef": {"apiGroup": _RBAC, "kind": "Role", "name": _CERTS_ROLE},
            "subjects": [{"apiGroup": _RBAC, "kind": "Group", "name": CONTROL_PLANE_GROUP}],
        },
    ]


def cluster_admins_binding() -> Document:
    """Return the binding that makes users' kubeconfigs administrators. Deleting it ends that."""
    return {
        "apiVersion": f"{_RBAC}/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": ADMIN_GROUP},
        "roleRef": {"apiGroup": _RBAC, "kind": "ClusterRole", "name": "cluster-admin"},
        "subjects": [{"apiGroup": _RBAC, "kind": "Group", "name": ADMIN_GROUP}],
    }

"""Objects by which machines join: as kubeadm itself would have made them."""

import base64

from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from inline_snapshot import snapshot

from moorage.bootstrap import (
    bootstrap_token,
    bootstrap_token_name,
    bootstrap_token_secret,
    certificate_key,
    certs_access,
    cluster_admins_binding,
    kubeadm_certs_secret,
)
from moorage.resources.kubernetes import Role

from .builders import NOW, UID, a_pki


def decoded(secret: dict[str, dict[str, str]]) -> dict[str, str]:
    return {key: base64.b64decode(value).decode() for key, value in secret["data"].items()}


def test_token_of_a_worker() -> None:
    secret = bootstrap_token_secret(a_pki(), UID, Role.WORKER, machine_name="demo-md-1", now=NOW)

    assert secret["type"] == "bootstrap.kubernetes.io/token"
    assert secret["metadata"] == {
        "name": bootstrap_token_name(a_pki(), UID),
        "namespace": "kube-system",
    }
    assert decoded(secret) == snapshot(
        {
            "token-id": "esscbu",
            "token-secret": "qt90ks2gdogywf3n",
            "description": "Moorage: machine demo-md-1",
            "expiration": "2026-11-22T14:00:00Z",
            "usage-bootstrap-authentication": "true",
            "usage-bootstrap-signing": "true",
            "auth-extra-groups": "system:bootstrappers:kubeadm:default-node-token",
        }
    )


def test_token_is_the_one_that_the_machine_has() -> None:
    secret = bootstrap_token_secret(a_pki(), UID, Role.WORKER, machine_name="m", now=NOW)

    data = decoded(secret)
    assert f"{data['token-id']}.{data['token-secret']}" == bootstrap_token(a_pki(), UID)


def test_only_control_planes_are_in_the_group_that_reads_the_certificates() -> None:
    groups = {
        role: decoded(bootstrap_token_secret(a_pki(), UID, role, machine_name="m", now=NOW))[
            "auth-extra-groups"
        ].split(",")
        for role in Role
    }
    reader = certs_access()[1]["subjects"][0]["name"]

    assert reader in groups[Role.CONTROL_PLANE]
    assert reader not in groups[Role.WORKER]


def decrypt_as_kubeadm(value: str, key: str) -> str:
    """Do what DecryptBytes of kubeadm's util/crypto does: the first 12 bytes are the nonce."""
    data = base64.b64decode(value)
    return AESGCM(bytes.fromhex(key)).decrypt(data[:12], data[12:], None).decode()


def test_kubeadm_certs_open_with_the_certificate_key() -> None:
    pki = a_pki()
    secret = kubeadm_certs_secret(pki)

    plain = {k: decrypt_as_kubeadm(v, certificate_key(pki)) for k, v in secret["data"].items()}
    assert plain == {
        "ca.crt": pki.ca.certificate,
        "ca.key": pki.ca.key,
        "etcd-ca.crt": pki.etcd_ca.certificate,
        "etcd-ca.key": pki.etcd_ca.key,
        "front-proxy-ca.crt": pki.front_proxy_ca.certificate,
        "front-proxy-ca.key": pki.front_proxy_ca.key,
        "sa.key": pki.service_account.key,
        "sa.pub": pki.service_account.certificate,
    }


def test_nonces_are_never_used_twice() -> None:
    values = [value for _ in range(3) for value in kubeadm_certs_secret(a_pki())["data"].values()]

    assert len({base64.b64decode(value)[:12] for value in values}) == len(values)


def test_rights() -> None:
    assert [*certs_access(), cluster_admins_binding()] == snapshot(
        [
            {
                "apiVersion": "rbac.authorization.k8s.io/v1",
                "kind": "Role",
                "metadata": {"name": "kubeadm:kubeadm-certs", "namespace": "kube-system"},
                "rules": [
                    {
                        "apiGroups": [""],
                        "resources": ["secrets"],
                        "resourceNames": ["kubeadm-certs"],
                        "verbs": ["get"],
                    }
                ],
            },
            {
                "apiVersion": "rbac.authorization.k8s.io/v1",
                "kind": "RoleBinding",
                "metadata": {"name": "kubeadm:kubeadm-certs", "namespace": "kube-system"},
                "roleRef": {
                    "apiGroup": "rbac.authorization.k8s.io",
                    "kind": "Role",
                    "name": "kubeadm:kubeadm-certs",
                },
                "subjects": [
                    {
                        "apiGroup": "rbac.authorization.k8s.io",
                        "kind": "Group",
                        "name": "system:bootstrappers:moorage:control-plane",
                    }
                ],
            },
            {
                "apiVersion": "rbac.authorization.k8s.io/v1",
                "kind": "ClusterRoleBinding",
                "metadata": {"name": "moorage:cluster-admins"},
                "roleRef": {
                    "apiGroup": "rbac.authorization.k8s.io",
                    "kind": "ClusterRole",
                    "name": "cluster-admin",
                },
                "subjects": [
                    {
                        "apiGroup": "rbac.authorization.k8s.io",
                        "kind": "Group",
                        "name": "moorage:cluster-admins",
                    }
                ],
            },
        ]
    )

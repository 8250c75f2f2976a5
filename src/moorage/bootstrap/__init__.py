"""Rendering of bootstrap data, and the cluster's own public-key infrastructure. No I/O."""

from moorage.bootstrap.clientcert import (
    ADMIN_GROUP,
    ClientCertificate,
    admin_kubeconfig,
    gateway_client,
    render_kubeconfig,
    sign_client,
)
from moorage.bootstrap.join import (
    bootstrap_token_name,
    bootstrap_token_secret,
    certs_access,
    cluster_admins_binding,
    kubeadm_certs_secret,
)
from moorage.bootstrap.labels import split_labels, topology_labels
from moorage.bootstrap.mailbox import (
    COLLECT_LOGS,
    PROGRESS_KEY,
    REPLY_KEY,
    REQUEST_KEY,
    Progress,
    Reply,
    counter_of,
    parse_progress,
    parse_reply,
    render_request,
)
from moorage.bootstrap.node import Card, NodeInput, StaticAddress, server_url
from moorage.bootstrap.pki import (
    ClusterPKI,
    bootstrap_token,
    ca_hash,
    certificate_key,
    generate,
    helper_key,
)
from moorage.bootstrap.userdata import render_guestinfo, render_network

__all__ = [
    "ADMIN_GROUP",
    "COLLECT_LOGS",
    "PROGRESS_KEY",
    "REPLY_KEY",
    "REQUEST_KEY",
    "Card",
    "ClientCertificate",
    "ClusterPKI",
    "NodeInput",
    "Progress",
    "Reply",
    "StaticAddress",
    "admin_kubeconfig",
    "bootstrap_token",
    "bootstrap_token_name",
    "bootstrap_token_secret",
    "ca_hash",
    "certificate_key",
    "certs_access",
    "cluster_admins_binding",
    "counter_of",
    "gateway_client",
    "generate",
    "helper_key",
    "kubeadm_certs_secret",
    "parse_progress",
    "parse_reply",
    "render_guestinfo",
    "render_kubeconfig",
    "render_network",
    "render_request",
    "server_url",
    "sign_client",
    "split_labels",
    "topology_labels",
]

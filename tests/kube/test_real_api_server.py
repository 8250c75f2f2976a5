"""The client, and the objects by which machines join, at a real kube-apiserver."""

import base64
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import anyio
import pytest
from lightkube.resources.core_v1 import Node, Pod
from lightkube.types import PatchType

from moorage.bootstrap import (
    ADMIN_GROUP,
    bootstrap_token,
    bootstrap_token_name,
    bootstrap_token_secret,
    certs_access,
    cluster_admins_binding,
    kubeadm_certs_secret,
    sign_client,
)
from moorage.kit.errors import ConflictError, ForbiddenError, InvalidError, UnauthenticatedError
from moorage.kube import Credentials, KubeClient
from moorage.packs import render_layer
from moorage.resources import Cluster
from moorage.resources.cluster import Layer
from moorage.resources.kubernetes import Role

from .real import HAS_PROGRAMS, ApiServer, a_real_server

pytestmark = pytest.mark.skipif(
    not HAS_PROGRAMS, reason="no etcd and kube-apiserver: neither installed nor built"
)

CERTS = "/api/v1/namespaces/kube-system/secrets/kubeadm-certs"
WORKER, CONTROL_PLANE = "uid-of-a-worker", "uid-of-a-control-plane"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    with a_real_server(tmp_path_factory.mktemp("api")) as running:
        yield running


def token_secret(server: ApiServer, uid: str, role: Role, **shift: float) -> dict[str, Any]:
    now = datetime.now(UTC) + timedelta(**shift)
    return bootstrap_token_secret(server.pki, uid, role, machine_name="m", now=now)


async def get(server: ApiServer, token: str, path: str) -> int:
    async with server.http(token) as http:
        return (await http.get(path)).status_code


async def test_control_planes_read_the_certificates_and_workers_do_not(server: ApiServer) -> None:
    async with server.client() as client:
        await client.apply(
            [
                kubeadm_certs_secret(server.pki),
                *certs_access(),
                token_secret(server, WORKER, Role.WORKER),
                token_secret(server, CONTROL_PLANE, Role.CONTROL_PLANE),
            ]
        )

    codes = [
        await get(server, bootstrap_token(server.pki, uid), CERTS)
        for uid in (CONTROL_PLANE, WORKER, "unknown")
    ]
    assert codes == [200, 403, 401]


async def test_expired_and_deleted_tokens_do_not_log_in(server: ApiServer) -> None:
    """Each machine asks once: the API server remembers a good token for ten seconds."""
    name = bootstrap_token_name(server.pki, "deleted")
    async with server.client() as client:
        await client.apply(
            [
                token_secret(server, "good", Role.WORKER),
                token_secret(server, "expired", Role.WORKER, hours=-3),
                token_secret(server, "deleted", Role.WORKER),
            ]
        )
        assert await client.delete_secret("kube-system", name)

    codes = [
        await get(server, bootstrap_token(server.pki, uid), "/version")
        for uid in ("good", "expired", "deleted")
    ]
    assert codes == [200, 401, 401]


def user(server: ApiServer, *groups: str) -> KubeClient:
    now = datetime.now(UTC)
    signed = sign_client(server.pki, None, "ann", groups, timedelta(hours=1), now=now)
    assert signed.key is not None
    credentials = Credentials(
        server.pki.ca.certificate, signed.certificate, signed.key, signed.expires_at
    )
    return KubeClient(server.url, credentials)


async def test_users_are_administrators_by_their_group_and_its_binding(server: ApiServer) -> None:
    binding = cluster_admins_binding()
    kind = (binding["apiVersion"], binding["kind"], binding["metadata"]["name"])
    async with server.client() as client, user(server, ADMIN_GROUP) as ann, user(server) as bob:
        await client.apply([binding])
        assert await ann.list_nodes() == []
        with pytest.raises(ForbiddenError, match='User "ann" cannot list'):
            await bob.list_nodes()

        assert await client.delete(*kind)
        with pytest.raises(ForbiddenError):
            await _list_until_forbidden(ann)


async def _list_until_forbidden(client: KubeClient) -> None:
    """The API server's authorizer hears of a change a moment later."""
    with anyio.fail_after(30):
        while True:
            await client.list_nodes()
            await anyio.sleep(0.1)


async def test_backdated_certificates_are_valid_and_expired_ones_are_not(server: ApiServer) -> None:
    past = datetime.now(UTC) - timedelta(minutes=2)
    signed = sign_client(server.pki, None, "late", (), timedelta(minutes=1), now=past)
    assert signed.key is not None
    credentials = Credentials(
        server.pki.ca.certificate, signed.certificate, signed.key, signed.expires_at
    )
    async with KubeClient(server.url, credentials) as client:
        with pytest.raises(UnauthenticatedError):
            await client.version()


async def test_flannel_is_taken_whole_and_twice(server: ApiServer) -> None:
    domain = {"name": "a", "computeCluster": "c", "datastore": "d", "network": "n", "ipPool": "p"}
    cluster = Cluster.model_validate(
        {
            "metadata": {"name": "demo"},
            "spec": {
                "account": "vc",
                "kubernetesVersion": "v1.34.4",
                "placement": {
                    "datacenter": "DC",
                    "folder": "f",
                    "template": "t",
                    "failureDomains": [domain],
                },
            },
        }
    )
    layer = render_layer(Layer(name="cni", pack="flannel"), cluster)
    async with server.client() as client:
        first = await client.apply(reversed(layer.objects), "moorage-cni")
        second = await client.apply(layer.objects, "moorage-cni")

    versions = [
        sorted((o["kind"], o["metadata"]["resourceVersion"]) for o in made)
        for made in (first, second)
    ]
    assert versions[0] == versions[1]
    assert first[0]["kind"] == "Namespace"
    assert first[0]["metadata"]["managedFields"][0]["manager"] == "moorage-cni"


async def test_fields_of_others_are_taken_over(server: ApiServer) -> None:
    item = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "shared", "namespace": "default"},
    }
    async with server.client() as client:
        await client.apply([{**item, "data": {"a": "1", "b": "1"}}], "one")
        await client.apply([{**item, "data": {"a": "2"}}], "two")

        found = await client.get("v1", "ConfigMap", "shared", "default")
    assert found["data"] == {"a": "2", "b": "1"}


async def test_wrong_objects_name_their_fields(server: ApiServer) -> None:
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "s", "namespace": "default"},
        "type": "kubernetes.io/tls",
    }
    async with server.client() as client:
        with pytest.raises(InvalidError) as caught:
            await client.apply([secret])
    assert sorted(fault.path for fault in caught.value.faults) == ["data[tls.crt]", "data[tls.key]"]


async def test_a_node_s_life(server: ApiServer) -> None:
    node = {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": "n1", "labels": {"tier": "web"}},
        "spec": {"providerID": "vsphere://u"},
    }
    taint = {"key": "gpu", "value": "yes", "effect": "NoSchedule"}
    async with server.client() as client:
        await client.apply([node])
        await client.patch_node(
            "n1", labels={"node-role.kubernetes.io/worker": "", "tier": None}, taints=[taint]
        )
        await client.patch_node("n1", taints=[{**taint, "value": "no"}])
        await client.cordon("n1")

        found = await client.find_node("n1")
        assert found is not None
        assert dict(found.labels) == {"node-role.kubernetes.io/worker": ""}
        assert {**taint, "value": "no"} in found.taints
        assert (found.unschedulable, found.ready, found.provider_id) == (True, False, "vsphere://u")
        assert [n.name for n in await client.list_nodes()] == ["n1"]
        assert (await client.drain("n1")).done
        assert await client.delete_node("n1")
        assert not await client.delete_node("n1")


async def test_drain_meets_a_real_disruption_budget(server: ApiServer) -> None:
    metadata = {"namespace": "default", "labels": {"app": "web"}}
    spec = {"nodeName": "n2", "containers": [{"name": "c", "image": "i"}]}
    pods = [
        {"apiVersion": "v1", "kind": "Pod", "metadata": {**metadata, "name": name}, "spec": spec}
        for name in ("held", "held-too")
    ]
    node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n2"}}
    budget = {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": {"name": "web", "namespace": "default"},
        "spec": {"maxUnavailable": 0, "selector": {"matchLabels": {"app": "web"}}},
    }
    async with server.client() as client:
        await client.apply([node, *pods])
        assert [pod.name for pod in await client.pods_on("n2")] == ["held", "held-too"]
        # A pod that has never run is evicted whatever its budget says: let these be ready.
        for pod in pods:
            name = pod["metadata"]["name"]  # type: ignore[index]
            conditions = [{"type": "Ready", "status": "True"}]
            status = {"status": {"phase": "Running", "conditions": conditions}}
            await client._api.patch(Pod.Status, name, status, patch_type=PatchType.MERGE)
        await client.apply([budget])

        held = await client.drain("n2")

        assert [pod.name for pod in held.remaining] == ["held", "held-too"]
        assert all("disruption budget" in pod.reason for pod in held.remaining)
        assert await client.delete("policy/v1", "PodDisruptionBudget", "web", "default")
        assert [p.reason for p in (await client.drain("n2")).remaining] == ["it is ending"] * 2


async def test_stale_taints_are_a_conflict(server: ApiServer) -> None:
    async with server.client() as client:
        await client.apply([{"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n3"}}])
        found = await client.get("v1", "Node", "n3")
        await client.patch_node("n3", labels={"a": "b"})
        body = {
            "metadata": {"resourceVersion": found["metadata"]["resourceVersion"]},
            "spec": {"taints": []},
        }
        with pytest.raises(ConflictError):
            await client._api.patch(Node, "n3", body, patch_type=PatchType.MERGE)


async def test_secret_values_arrive(server: ApiServer) -> None:
    async with server.client() as client:
        await client.apply([token_secret(server, "x", Role.WORKER)])
        found = await client.find(
            "v1", "Secret", bootstrap_token_name(server.pki, "x"), "kube-system"
        )
    assert found is not None
    token = bootstrap_token(server.pki, "x")
    assert base64.b64decode(found["data"]["token-secret"]).decode() == token.split(".")[1]

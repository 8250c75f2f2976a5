"""What the client asks, what it makes of answers, and how it fails."""

import socket
import ssl
import tempfile
from datetime import timedelta
from pathlib import Path
from typing import Any

import anyio
import httpx2
import pytest

from moorage.engine import HeldLease, LeaseLostError
from moorage.engine.lease import set_current
from moorage.kit.clock import FakeClock
from moorage.kit.errors import (
    ConflictError,
    FieldFault,
    ForbiddenError,
    InvalidError,
    MoorageError,
    NotFoundError,
    UnauthenticatedError,
    UnavailableError,
)
from moorage.kube import Credentials, KubeClient
from moorage.kube.execute import execute
from moorage.kube.transport import tls_context
from moorage.store import open_store

from .certificates import a_pki, credentials_of
from .server import SUCCESS, a_list, a_server, status

RESOURCES = {
    "resources": [
        {"name": "namespaces", "kind": "Namespace", "namespaced": False},
        {"name": "secrets", "kind": "Secret", "namespaced": True},
        {"name": "pods", "kind": "Pod", "namespaced": True},
        {"name": "pods/exec", "kind": "PodExecOptions", "namespaced": True},
    ]
}
SECRET = {
    "apiVersion": "v1",
    "kind": "Secret",
    "metadata": {"name": "s", "namespace": "kube-system"},
}
NAMESPACE = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "n"}}


def a_node(name: str, *, ready: str = "True", **spec: Any) -> dict[str, Any]:
    condition = {"type": "Ready", "status": ready, "reason": "R", "message": "kubelet says so"}
    return {
        "metadata": {"name": name, "uid": f"uid-{name}", "labels": {"a": "b"}},
        "spec": {"providerID": "vsphere://u", **spec},
        "status": {
            "conditions": [{"type": "MemoryPressure", "status": "False"}, condition],
            "addresses": [
                {"type": "Hostname", "address": name},
                {"type": "InternalIP", "address": "10.0.0.1"},
            ],
            "nodeInfo": {"kubeletVersion": "v1.34.4"},
        },
    }


async def test_version_and_readiness(tmp_path: Path) -> None:
    async with a_server(tmp_path) as server, server.client() as client:
        server.says("GET /version", (200, {"gitVersion": "v1.34.4"}))
        server.says("GET /readyz", (500, "[-]etcd failed"), (200, "ok"))

        assert await client.version() == "v1.34.4"
        with pytest.raises(UnavailableError, match=r"/readyz: 500: \[-\]etcd failed"):
            await client.ready()
        await client.ready()


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (400, InvalidError),
        (401, UnauthenticatedError),
        (403, ForbiddenError),
        (404, NotFoundError),
        (409, ConflictError),
        (422, InvalidError),
        (429, UnavailableError),
        (500, UnavailableError),
        (503, UnavailableError),
    ],
)
async def test_answers_become_our_errors(
    tmp_path: Path, code: int, kind: type[MoorageError]
) -> None:
    async with a_server(tmp_path) as server, server.client() as client:
        server.says("GET /version", status(code, "because"))

        with pytest.raises(kind, match=rf"GET {server.url}/version: {code}: because"):
            await client.version()


async def test_faults_of_fields_are_kept(tmp_path: Path) -> None:
    async with a_server(tmp_path) as server, server.client() as client:
        server.says("GET /api/v1", (200, RESOURCES))
        causes = [{"field": "data", "message": "bad"}, {"message": "and so on"}]
        server.says(
            "PATCH /api/v1/namespaces/kube-system/secrets/s",
            status(422, "Secret is invalid", causes=causes),
        )

        with pytest.raises(InvalidError, match="invalid and so on") as caught:
            await client.apply([SECRET])
        assert caught.value.faults == (FieldFault("data", "bad"),)


@pytest.mark.parametrize("body", ["<html>", "[1]", ""])
async def test_what_is_no_api_server_is_named(tmp_path: Path, body: str) -> None:
    async with a_server(tmp_path) as server, server.client() as client:
        server.says("GET /version", (200, body))
        server.says("GET /api/v1/nodes", (200, body))

        for call in (client.version(), client.list_nodes()):
            with pytest.raises(UnavailableError, match="the answer is not a JSON object"):
                await call


async def test_nobody_there(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    async with KubeClient(f"https://127.0.0.1:{port}", credentials_of(a_pki())) as client:
        with pytest.raises(UnavailableError, match=f"GET https://127.0.0.1:{port}/version"):
            await client.version()


async def test_slow_answers_end_at_the_deadline(tmp_path: Path) -> None:
    async with a_server(tmp_path) as server, server.client(timeout_s=0.2) as client:
        server.delay_s = 5.0
        server.says("GET /api/v1/nodes", a_list())

        with pytest.raises(UnavailableError, match=r"no answer within 0\.2 s"):
            await client.list_nodes()
        server.delay_s = 0.0


async def test_half_answers_end_at_the_deadline_and_free_their_place(tmp_path: Path) -> None:
    async with a_server(tmp_path) as server, server.client(timeout_s=2) as client:
        server.stalls = True
        server.says("GET /api/v1/nodes", a_list(a_node("a")))

        async def ask() -> None:
            with pytest.raises(UnavailableError, match="no answer within 2 s"):
                await client.list_nodes()

        async with anyio.create_task_group() as group:
            for _ in range(10):  # there are eight places
                group.start_soon(ask)
        server.stalls = False
        assert [node.name for node in await client.list_nodes()] == ["a"]


async def test_server_of_another_cluster_is_refused(tmp_path: Path) -> None:
    async with a_server(tmp_path, pki=a_pki("theirs")) as server:
        async with KubeClient(server.url, credentials_of(a_pki("ours"))) as client:
            for call in (
                client.version(),
                client.list_nodes(),
                client.apply([SECRET]),
                execute(client._api, "default", "p", "c", ["x"]),
            ):
                with pytest.raises(UnavailableError, match="no certificate of this cluster's CA"):
                    await call
        assert (server.requests, server.commands) == ([], [])


async def test_closed_client_opens_no_connection_again(tmp_path: Path) -> None:
    async with a_server(tmp_path) as server:
        async with server.client() as client:
            pass
        for call in (client.version(), client.list_nodes()):
            with pytest.raises(UnavailableError, match="this client is closed"):
                await call
        assert server.requests == []


async def test_proxies_of_the_environment_are_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    async with a_server(tmp_path) as server, server.client() as client:
        server.says("GET /version", (200, {"gitVersion": "v1"}))
        server.says("GET /api/v1/nodes", a_list())
        server.run["p"] = lambda command: [SUCCESS]

        assert await client.version() == "v1"
        assert await client.list_nodes() == []
        assert (await execute(client._api, "default", "p", "c", ["x"])).code == 0


def test_making_a_client_writes_no_file_and_reads_no_trust_store(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(*given: Any, **named: Any) -> None:
        raise AssertionError("a key on a disk, or the trust of a whole system")

    for name in ("NamedTemporaryFile", "TemporaryDirectory", "mkstemp"):
        monkeypatch.setattr(tempfile, name, refuse)
    load = ssl.SSLContext.load_verify_locations

    def load_given(context: ssl.SSLContext, cafile: Any = None, *paths: Any, **data: Any) -> None:
        if cafile or paths or "cadata" not in data:
            refuse()
        load(context, **data)

    monkeypatch.setattr(ssl.SSLContext, "load_verify_locations", load_given)
    monkeypatch.setattr(ssl.SSLContext, "load_default_certs", refuse)

    KubeClient("https://127.0.0.1:1", credentials_of(a_pki()))


def test_context_trusts_one_authority_and_leaves_no_file(tmp_path: Path) -> None:
    context = tls_context(credentials_of(a_pki()))

    assert context.cert_store_stats() == {"x509": 1, "crl": 0, "x509_ca": 1}
    assert context.check_hostname


def test_keys_stay_out_of_texts() -> None:
    assert "PRIVATE" not in repr(credentials_of(a_pki()))


def test_unreadable_credentials_fail_at_once() -> None:
    good = credentials_of(a_pki())

    with pytest.raises(OSError, match="PEM"):
        tls_context(Credentials(good.ca, "nonsense", "nonsense", good.expires_at))


async def test_apply_is_server_side_and_namespaces_come_first(tmp_path: Path) -> None:
    async with a_server(tmp_path) as server, server.client() as client:
        server.says("GET /api/v1", (200, RESOURCES))
        server.says("PATCH /api/v1/namespaces/kube-system/secrets/s", (200, SECRET))
        server.says("PATCH /api/v1/namespaces/n", (201, NAMESPACE))

        assert await client.apply([SECRET, NAMESPACE], "moorage-cni") == [NAMESPACE, SECRET]

        assert server.asked() == [
            "GET /api/v1",
            "PATCH /api/v1/namespaces/n",
            "PATCH /api/v1/namespaces/kube-system/secrets/s",
        ]
        sent = server.requests[-1]
        assert sent.query == {"fieldManager": "moorage-cni", "force": "true"}
        assert (sent.content_type, sent.body) == ("application/apply-patch+yaml", SECRET)


async def test_kinds_are_asked_for_once_and_again_when_unknown(tmp_path: Path) -> None:
    item = {"apiVersion": "g.io/v1", "kind": "Thing", "metadata": {"name": "t"}}
    async with a_server(tmp_path) as server, server.client() as client:
        with pytest.raises(InvalidError, match=r"has no kind Thing in g\.io/v1"):
            await client.apply([item])
        known = {"resources": [{"name": "things", "kind": "Thing", "namespaced": False}]}
        server.says("GET /apis/g.io/v1", (200, known))
        server.says("PATCH /apis/g.io/v1/things/t", (200, item))

        await client.apply([item, item])

        assert server.asked() == [
            "GET /apis/g.io/v1",
            "GET /apis/g.io/v1",
            "PATCH /apis/g.io/v1/things/t",
            "PATCH /apis/g.io/v1/things/t",
        ]


async def test_clusters_may_differ_in_a_kind(tmp_path: Path) -> None:
    item = {
        "apiVersion": "g.io/v1",
        "kind": "Thing",
        "metadata": {"name": "t", "namespace": "n"},
        "unheard": {"of": [1, None]},
    }
    places = (("things", False, "things/t"), ("thingies", True, "namespaces/n/thingies/t"))
    for number, (plural, namespaced, path) in enumerate(places):
        (tmp_path / str(number)).mkdir()
        async with a_server(tmp_path / str(number)) as server, server.client() as client:
            known = {"name": plural, "kind": "Thing", "namespaced": namespaced}
            server.says("GET /apis/g.io/v1", (200, {"resources": [known]}))
            server.says(f"PATCH /apis/g.io/v1/{path}", (200, item))

            assert await client.apply([item]) == [item]
            assert server.requests[-1].body == item


async def test_objects_are_found_and_deleted(tmp_path: Path) -> None:
    async with a_server(tmp_path) as server, server.client() as client:
        server.says("GET /api/v1", (200, RESOURCES))
        path = "/api/v1/namespaces/kube-system/secrets/s"
        server.says(f"GET {path}", (200, SECRET))
        server.says(f"DELETE {path}", (200, {"status": "Success"}), status(404, "gone"))

        assert await client.find("v1", "Secret", "s", "kube-system") == SECRET
        assert await client.find("v1", "Secret", "other", "kube-system") is None
        assert await client.delete_secret("kube-system", "s")
        assert not await client.delete_secret("kube-system", "s")


async def test_nodes_are_read_page_by_page(tmp_path: Path) -> None:
    async with a_server(tmp_path) as server, server.client() as client:
        server.says(
            "GET /api/v1/nodes",
            a_list(a_node("b", ready="False", unschedulable=True), **{"continue": "more"}),
            a_list(a_node("a")),
        )

        first, second = await client.list_nodes()

        assert (first.name, first.ready, first.ready_reason) == ("a", True, "")
        assert (first.provider_id, first.kubelet_version) == ("vsphere://u", "v1.34.4")
        assert first.addresses == ("10.0.0.1",)
        assert (second.name, second.ready, second.unschedulable) == ("b", False, True)
        assert second.ready_reason == "kubelet says so"
        assert [seen.query.get("continue") for seen in server.requests] == [None, "more"]


async def test_node_that_has_just_registered(tmp_path: Path) -> None:
    async with a_server(tmp_path) as server, server.client() as client:
        server.says("GET /api/v1/nodes/a", (200, {"metadata": {"name": "a"}}))

        node = await client.find_node("a")

        assert node is not None
        assert (node.ready, node.ready_reason) == (False, "kubelet has not reported yet")
        assert await client.find_node("b") is None


async def test_labels_are_patched_alone(tmp_path: Path) -> None:
    async with a_server(tmp_path) as server, server.client() as client:
        server.says("PATCH /api/v1/nodes/a", (200, {}))

        await client.patch_node("a", labels={"role": "x", "old": None})

        (seen,) = server.requests
        assert seen.content_type == "application/merge-patch+json"
        assert seen.body == {"metadata": {"labels": {"role": "x", "old": None}}}


async def test_taints_are_added_to_those_there_are(tmp_path: Path) -> None:
    old = [
        {"key": "a", "value": "1", "effect": "NoSchedule"},
        {"key": "b", "effect": "NoExecute"},
    ]
    async with a_server(tmp_path) as server, server.client() as client:
        node = a_node("n", taints=old)
        node["metadata"]["resourceVersion"] = "7"
        server.says("GET /api/v1/nodes/n", (200, node))
        server.says("PATCH /api/v1/nodes/n", (200, {}), status(409, "changed"))
        wanted = [
            {"key": "a", "value": "2", "effect": "NoSchedule"},
            {"key": "c", "effect": "NoSchedule"},
        ]

        await client.patch_node("n", taints=wanted)

        assert server.requests[-1].body == {
            "metadata": {"resourceVersion": "7"},
            "spec": {"taints": [wanted[0], old[1], wanted[1]]},
        }
        with pytest.raises(ConflictError):
            await client.patch_node("n", taints=wanted)


async def test_deleting_a_node_may_be_repeated(tmp_path: Path) -> None:
    async with a_server(tmp_path) as server, server.client() as client:
        server.says("DELETE /api/v1/nodes/a", (200, {}), status(404, "gone"))

        assert await client.delete_node("a")
        assert not await client.delete_node("a")


async def test_names_cannot_leave_their_place_in_the_path(tmp_path: Path) -> None:
    async with a_server(tmp_path) as server, server.client() as client:
        assert await client.find_node("a/../../secrets?x=1") is None

        (seen,) = server.requests
        assert seen.query == {}
        assert seen.path.startswith("/api/v1/nodes/")
        with pytest.raises(InvalidError, match="not a name"):
            await client.find_node("..")


async def test_few_connections_stay_open(tmp_path: Path) -> None:
    async with a_server(tmp_path) as server, server.client() as client:
        server.says("GET /version", (200, {"gitVersion": "v1"}))

        for _ in range(5):
            await client.version()

        assert len(client._transport._pool.connections) == 1


async def test_nothing_is_written_under_a_lease_that_has_ended(tmp_path: Path) -> None:
    clock = FakeClock()
    store = await open_store(f"sqlite:///{tmp_path}/replicas.db", clock=clock)
    await store.enqueue("cluster", "default/c", clock.now())
    (held,) = await HeldLease.take(store, clock, "cluster", limit=1, ttl=timedelta(seconds=60))
    async with a_server(tmp_path) as server, server.client() as client:
        server.says("GET /api/v1", (200, RESOURCES))
        server.says("PATCH /api/v1/namespaces/kube-system/secrets/s", (200, SECRET))
        set_current(held)
        try:
            await client.apply([SECRET])
            clock.advance(timedelta(seconds=61))  # stopped meanwhile
            assert await store.lease("cluster", limit=1, ttl=timedelta(seconds=60))
            with pytest.raises(LeaseLostError):
                await client.apply([SECRET])
        finally:
            set_current(None)

        assert sum(asked.startswith("PATCH") for asked in server.asked()) == 1
    await store.close()


async def test_a_request_whose_lease_ends_on_its_way_out_is_not_sent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = FakeClock()
    store = await open_store(f"sqlite:///{tmp_path}/replicas.db", clock=clock)
    await store.enqueue("cluster", "default/c", clock.now())
    (held,) = await HeldLease.take(store, clock, "cluster", limit=1, ttl=timedelta(seconds=60))
    send = httpx2.AsyncHTTPTransport.handle_async_request

    async def stopped(transport: Any, request: httpx2.Request) -> httpx2.Response:
        clock.advance(timedelta(seconds=61))
        return await send(transport, request)

    monkeypatch.setattr(httpx2.AsyncHTTPTransport, "handle_async_request", stopped)
    async with a_server(tmp_path) as server, server.client() as client:
        set_current(held)
        try:
            with pytest.raises(LeaseLostError):
                await client.delete_node("n")
        finally:
            set_current(None)

        assert server.asked() == []
    await store.close()

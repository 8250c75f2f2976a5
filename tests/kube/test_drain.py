"""Draining: one pass at a time, what may go is asked to go, what is left says why."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from moorage.kit.clock import FakeClock
from moorage.kube import DrainState, PodLeft

from .server import Server, a_list, a_server, status

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
NODE = "GET /api/v1/nodes/n"
PODS = "GET /api/v1/pods"


def a_node(*, ready: bool = True, unschedulable: bool = False) -> tuple[int, dict[str, Any]]:
    conditions = [{"type": "Ready", "status": "True" if ready else "Unknown"}]
    return 200, {
        "metadata": {"name": "n"},
        "spec": {"unschedulable": unschedulable},
        "status": {"conditions": conditions},
    }


def a_pod(
    name: str, *, phase: str = "Running", owner: str = "ReplicaSet", **metadata: Any
) -> dict[str, Any]:
    owners = [{"kind": owner, "name": "o", "controller": True}]
    document = {"name": name, "namespace": "d", "uid": f"uid-{name}", "ownerReferences": owners}
    return {"metadata": {**document, **metadata}, "spec": {}, "status": {"phase": phase}}


async def drain(server: Server, deadline: datetime | None = None) -> DrainState:
    async with server.client(clock=FakeClock(NOW)) as client:
        return await client.drain("n", deadline)


def evictions(server: Server) -> list[str]:
    return [path for path in server.asked() if path.endswith("/eviction")]


async def test_pods_are_asked_to_go_and_waited_for(tmp_path: Path) -> None:
    async with a_server(tmp_path) as server:
        server.says(NODE, a_node())
        server.says("PATCH /api/v1/nodes/n", (200, {}))
        server.says(PODS, a_list(a_pod("a")), a_list())
        server.says("POST /api/v1/namespaces/d/pods/a/eviction", (201, {}))

        first, second = await drain(server), await drain(server)

        assert first.remaining == (PodLeft("d", "a", "it is ending"),)
        assert not first.done
        assert second.done
        cordon = next(seen for seen in server.requests if seen.method == "PATCH")
        assert cordon.body == {"spec": {"unschedulable": True}}
        eviction = next(seen for seen in server.requests if seen.method == "POST")
        assert eviction.body["apiVersion"] == "policy/v1"
        assert eviction.body["deleteOptions"]["preconditions"] == {"uid": "uid-a"}
        selector = next(s.query for s in server.requests if s.path == "/api/v1/pods")
        assert selector == {"fieldSelector": "spec.nodeName=n"}


async def test_cordoned_node_is_not_patched_again(tmp_path: Path) -> None:
    async with a_server(tmp_path) as server:
        server.says(NODE, a_node(unschedulable=True))
        server.says(PODS, a_list())

        assert (await drain(server)).done

        assert server.asked() == [NODE, PODS]


async def test_what_cannot_or_need_not_go_is_left_alone(tmp_path: Path) -> None:
    async with a_server(tmp_path) as server:
        server.says(NODE, a_node(unschedulable=True))
        mirror = {"kubernetes.io/config.mirror": "x"}
        server.says(
            PODS,
            a_list(
                a_pod("daemon", owner="DaemonSet"),
                a_pod("static", owner="Node", annotations=mirror),
                a_pod("ended", phase="Succeeded"),
                a_pod("failed", phase="Failed"),
            ),
        )

        assert (await drain(server)).done

        assert evictions(server) == []


async def test_disruption_budget_is_named(tmp_path: Path) -> None:
    async with a_server(tmp_path) as server:
        server.says(NODE, a_node(unschedulable=True))
        server.says(PODS, a_list(a_pod("a")))
        cause = {"reason": "DisruptionBudget", "message": "The disruption budget web needs 2"}
        server.says(
            "POST /api/v1/namespaces/d/pods/a/eviction",
            status(429, "Cannot evict pod.", causes=[cause]),
        )

        (left,) = (await drain(server)).remaining

        assert left.reason.startswith("its disruption budget forbids it now: ")
        assert left.reason.endswith("Cannot evict pod. The disruption budget web needs 2")


@pytest.mark.parametrize("code", [404, 409])
async def test_pod_that_went_meanwhile_is_not_waited_for(tmp_path: Path, code: int) -> None:
    async with a_server(tmp_path) as server:
        server.says(NODE, a_node(unschedulable=True))
        server.says(PODS, a_list(a_pod("a")))
        server.says("POST /api/v1/namespaces/d/pods/a/eviction", status(code, "other uid"))

        assert (await drain(server)).done


async def test_fault_of_one_pod_does_not_keep_the_others(tmp_path: Path) -> None:
    async with a_server(tmp_path) as server:
        server.says(NODE, a_node(unschedulable=True))
        server.says(PODS, a_list(*(a_pod(name) for name in "abc")))
        server.says("POST /api/v1/namespaces/d/pods/a/eviction", status(500, "two budgets"))
        server.says("POST /api/v1/namespaces/d/pods/b/eviction", status(403, "no"))
        server.says("POST /api/v1/namespaces/d/pods/c/eviction", (201, {}))

        remaining = (await drain(server)).remaining

        assert [pod.name for pod in remaining] == ["a", "b", "c"]
        assert "two budgets" in remaining[0].reason
        assert len(evictions(server)) == 3


@pytest.mark.parametrize(
    ("ready", "since", "waits"),
    [
        (True, timedelta(hours=1), True),
        (False, timedelta(seconds=30), True),
        (False, timedelta(seconds=61), False),
    ],
)
async def test_ending_pods_of_a_silent_node_are_given_up(
    tmp_path: Path, ready: bool, since: timedelta, waits: bool
) -> None:
    async with a_server(tmp_path) as server:
        server.says(NODE, a_node(ready=ready, unschedulable=True))
        stamp = (NOW - since).strftime("%Y-%m-%dT%H:%M:%SZ")
        server.says(PODS, a_list(a_pod("a", deletionTimestamp=stamp)))

        assert (await drain(server)).done is not waits

        assert evictions(server) == []


async def test_deadline_is_told_and_left_to_the_caller(tmp_path: Path) -> None:
    async with a_server(tmp_path) as server:
        server.says(NODE, a_node(unschedulable=True))
        server.says(PODS, a_list(a_pod("a")))
        server.says("POST /api/v1/namespaces/d/pods/a/eviction", status(429, "budget"))

        before = await drain(server, NOW + timedelta(seconds=1))
        after = await drain(server, NOW)

        assert (before.expired, after.expired) == (False, True)
        assert not after.done


async def test_node_that_is_gone_is_drained(tmp_path: Path) -> None:
    async with a_server(tmp_path) as server:
        assert (await drain(server, NOW)) == DrainState(remaining=(), expired=False)

"""etcd through the API server: etcdctl in an etcd pod, over a real WebSocket."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from moorage.kit.errors import NotFoundError, UnavailableError
from moorage.kube import EtcdMember
from moorage.kube.execute import Executed, execute

from .server import SUCCESS, Exec, Server, a_list, a_server, failure

PODS = "GET /api/v1/namespaces/kube-system/pods"


def a_pod(node: str, *, ready: bool = True, phase: str = "Running") -> dict[str, Any]:
    conditions = [{"type": "Ready", "status": str(ready)}]
    return {
        "metadata": {"name": f"etcd-{node}", "namespace": "kube-system"},
        "spec": {"nodeName": node},
        "status": {"phase": phase, "conditions": conditions},
    }


def url(number: int) -> str:
    return f"https://10.0.0.{number}:2379"


def an_etcd(healthy: dict[str, bool], *, learner: str = "") -> Exec:
    """Print what etcdctl 3.6 prints."""
    members = [
        {
            "ID": 2**63 + index,
            "name": name,
            "peerURLs": [f"https://10.0.0.{index}:2380"],
            "clientURLs": [url(index)],
            **({"isLearner": True} if name == learner else {}),
        }
        for index, name in enumerate(healthy)
    ]
    listed = {"header": {"cluster_id": 1}, "members": members}

    def run(command: Sequence[str]) -> list[tuple[int, str]]:
        if command[-2:] == ["member", "list"]:
            text = json.dumps(listed)
            return [(1, text[:20]), (1, text[20:]), SUCCESS]
        if command[-2:] == ["endpoint", "health"]:
            asked = command[1].removeprefix("--endpoints=").split(",")
            by_url = {url(index): name for index, name in enumerate(healthy)}
            answers = [{"endpoint": u, "health": healthy[by_url[u]]} for u in asked]
            end = SUCCESS if all(a["health"] for a in answers) else failure(1)
            return [(1, json.dumps(answers)), (2, "unhealthy cluster"), end]
        return [(2, "unknown"), failure(128)]

    return run


async def test_members_with_their_health(tmp_path: Path) -> None:
    async with a_server(tmp_path) as server, server.client() as client:
        server.says(PODS, a_list(a_pod("cp-1")))
        server.run["etcd-cp-1"] = an_etcd({"cp-2": False, "cp-1": True, "cp-3": True})

        members = await client.etcd_members()

        assert [(m.name, m.healthy, m.is_learner) for m in members] == [
            ("cp-1", True, False),
            ("cp-2", False, False),
            ("cp-3", True, False),
        ]
        assert members[0].id == 2**63 + 1
        assert server.requests[0].query == {"labelSelector": "component=etcd,tier=control-plane"}


async def test_learners_are_not_asked_for_their_health(tmp_path: Path) -> None:
    async with a_server(tmp_path) as server, server.client() as client:
        server.says(PODS, a_list(a_pod("cp-1")))
        server.run["etcd-cp-1"] = an_etcd({"cp-1": True, "cp-2": False}, learner="cp-2")

        members = await client.etcd_members()

        assert [(m.is_learner, m.healthy) for m in members] == [(False, True), (True, None)]
        _, health = server.commands
        assert health[1][1] == f"--endpoints={url(0)}"


async def test_next_pod_is_asked_when_one_does_not_answer(tmp_path: Path) -> None:
    async with a_server(tmp_path) as server, server.client() as client:
        server.says(
            PODS,
            a_list(
                a_pod("cp-0", phase="Pending"),
                a_pod("cp-1", ready=False),
                a_pod("cp-2"),
                a_pod("cp-3"),
            ),
        )
        server.run["etcd-cp-3"] = an_etcd({"cp-3": True})

        assert [m.name for m in await client.etcd_members()] == ["cp-3"]

        assert [pod for pod, _ in server.commands][:2] == ["etcd-cp-2", "etcd-cp-3"]


async def test_without_quorum_each_answer_is_told(tmp_path: Path) -> None:
    def no_leader(command: Sequence[str]) -> list[tuple[int, str]]:
        return [(2, "context deadline exceeded"), failure(1)]

    async with a_server(tmp_path) as server, server.client() as client:
        server.says(PODS, a_list(a_pod("cp-1"), a_pod("cp-2")))
        server.run["etcd-cp-1"] = no_leader

        with pytest.raises(UnavailableError, match="member list") as caught:
            await client.etcd_members()
        assert "etcd-cp-1: context deadline exceeded" in str(caught.value)
        assert "etcd-cp-2" in str(caught.value)


async def test_no_pod_at_all(tmp_path: Path) -> None:
    async with a_server(tmp_path) as server, server.client() as client:
        server.says(PODS, a_list())

        with pytest.raises(UnavailableError, match="there is no running etcd pod"):
            await client.etcd_members()


async def test_member_is_removed_by_another_node(tmp_path: Path) -> None:
    async with a_server(tmp_path) as server, server.client() as client:
        server.says(PODS, a_list(a_pod("cp-1"), a_pod("cp-2")))
        server.run["etcd-cp-2"] = lambda command: [(1, "{}"), SUCCESS]

        await client.remove_etcd_member(2**63 + 10, avoid="cp-1")

        ((pod, command),) = server.commands
        assert pod == "etcd-cp-2"
        assert command[-3:] == ["member", "remove", "800000000000000a"]


async def test_member_that_is_gone_is_removed(tmp_path: Path) -> None:
    error = "Error: etcdserver: member not found"
    async with a_server(tmp_path) as server, server.client() as client:
        server.says(PODS, a_list(a_pod("cp-1")))
        server.run["etcd-cp-1"] = lambda command: [(2, error), failure(1)]

        await client.remove_etcd_member(1)


async def test_refused_removal_is_told(tmp_path: Path) -> None:
    error = "Error: etcdserver: re-configuration failed due to not enough started members"
    async with a_server(tmp_path) as server, server.client() as client:
        server.says(PODS, a_list(a_pod("cp-1")))
        server.run["etcd-cp-1"] = lambda command: [(2, error), failure(1)]

        with pytest.raises(UnavailableError, match="not enough started members"):
            await client.remove_etcd_member(1)


async def run(server: Server, *frames: tuple[int, str]) -> Executed:
    server.run["p"] = lambda command: list(frames)
    async with server.client() as client:
        return await execute(client._api, "default", "p", "c", ["a b", "&x=1"])


async def test_words_and_streams_arrive_as_they_are(tmp_path: Path) -> None:
    async with a_server(tmp_path) as server:
        ran = await run(server, (1, "aä"), (2, "e"), (1, "b\n"), (9, "?"), failure(3))

        assert ran == Executed(code=3, stdout="aäb\n", stderr="e")
        assert server.commands == [("p", ["a b", "&x=1"])]


@pytest.mark.parametrize("end", [(3, "x"), (3, "[]"), (1, "only output")])
async def test_connection_that_ends_early_is_no_success(
    tmp_path: Path, end: tuple[int, str]
) -> None:
    async with a_server(tmp_path) as server:
        with pytest.raises(UnavailableError, match="before the command did"):
            await run(server, (1, "half"), end)


async def test_command_that_cannot_be_started(tmp_path: Path) -> None:
    missing = json.dumps({"status": "Failure", "message": "exec: etcdctl not found"})
    async with a_server(tmp_path) as server:
        with pytest.raises(UnavailableError, match="etcdctl not found"):
            await run(server, (3, missing))


async def test_pod_that_is_not_there(tmp_path: Path) -> None:
    async with a_server(tmp_path) as server, server.client() as client:
        with pytest.raises(NotFoundError, match="no pod"):
            await execute(client._api, "default", "p", "c", ["x"])


async def test_command_that_does_not_end_is_left_at_the_deadline(tmp_path: Path) -> None:
    async with a_server(tmp_path) as server, server.client() as client:
        server.delay_s = 5
        server.run["p"] = lambda command: [(1, "so far")]

        with pytest.raises(UnavailableError, match=r"it did not end within 0\.3 s"):
            await execute(client._api, "default", "p", "c", ["x"], timeout_s=0.3)
        server.delay_s = 0


async def test_flood_of_output_is_cut(tmp_path: Path) -> None:
    async with a_server(tmp_path) as server:
        ran = await run(server, *[(1, "x" * 60_000)] * 90, (2, "why"), failure(1))

    assert 4 * 2**20 <= len(ran.stdout) < 4 * 2**20 + 60_000
    assert (ran.code, ran.stderr) == (1, "why")


def a_leader(leader: int, *, moves: bool = True) -> Exec:
    """Print what etcdctl 3.6 prints of a member's status, and of a leader that moves."""

    def run(command: Sequence[str]) -> list[tuple[int, str]]:
        if command[-2:] == ["endpoint", "status"]:
            status = {"header": {"member_id": 7, "raft_term": 2}, "leader": leader}
            return [(1, json.dumps([{"Endpoint": url(7), "Status": status}])), SUCCESS]
        if not moves:
            return [(2, "Error: etcdserver: request timed out"), failure(1)]
        return [(1, "Leadership transferred from 7 to 9"), SUCCESS]

    return run


def a_member(number: int, name: str) -> EtcdMember:
    return EtcdMember(number, name, (), (url(number),), is_learner=False, healthy=True)


async def test_a_leader_hands_over_before_it_is_removed(tmp_path: Path) -> None:
    async with a_server(tmp_path) as server, server.client() as client:
        server.says(PODS, a_list(a_pod("cp-7"), a_pod("cp-9")))
        server.run["etcd-cp-9"] = a_leader(7)

        assert await client.hand_over_etcd(a_member(7, "cp-7"), a_member(9, "cp-9"))

        (_, asked), (pod, moved) = server.commands
        assert asked[1] == moved[1] == f"--endpoints={url(7)}"
        assert (pod, moved[-2:]) == ("etcd-cp-9", ["move-leader", "9"])


async def test_who_does_not_lead_has_nothing_to_hand_over(tmp_path: Path) -> None:
    async with a_server(tmp_path) as server, server.client() as client:
        server.says(PODS, a_list(a_pod("cp-9")))
        server.run["etcd-cp-9"] = a_leader(9)

        assert not await client.hand_over_etcd(a_member(7, "cp-7"), a_member(9, "cp-9"))

        assert len(server.commands) == 1


async def test_leadership_that_stays_is_told(tmp_path: Path) -> None:
    async with a_server(tmp_path) as server, server.client() as client:
        server.says(PODS, a_list(a_pod("cp-9")))
        server.run["etcd-cp-9"] = a_leader(7, moves=False)

        with pytest.raises(UnavailableError, match="move-leader"):
            await client.hand_over_etcd(a_member(7, "cp-7"), a_member(9, "cp-9"))


async def test_a_node_that_may_not_answer_is_asked_last(tmp_path: Path) -> None:
    async with a_server(tmp_path) as server, server.client() as client:
        server.says(PODS, a_list(a_pod("cp-1"), a_pod("cp-2")))
        for pod in ("etcd-cp-1", "etcd-cp-2"):
            server.run[pod] = an_etcd({"cp-1": False, "cp-2": True})

        assert [m.healthy for m in await client.etcd_members(avoid="cp-1")] == [False, True]

        assert {pod for pod, _ in server.commands} == {"etcd-cp-2"}

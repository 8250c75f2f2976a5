"""Processes and machines that die at any moment: each time the same cluster, or nothing.

Run by ``make faults-real``. Figures are kept by ``oracle.note``.
"""

import json
import threading
import time

import pytest

from tests.e2e.conftest import Stack, run, until
from tests.e2e.oracle import Scene, kill_and_restart, note, probing, sleep_until, witness

pytestmark = [pytest.mark.faults, pytest.mark.timeout(900)]

CREATE_MOMENTS = (0.7, 2.5, 4.0, 12.0)
DELETE_MOMENTS = (0.1, 0.8, 1.6, 3.0)


@pytest.mark.parametrize(
    ("create_at", "delete_at"), list(zip(CREATE_MOMENTS, DELETE_MOMENTS, strict=True))
)
def test_one_kill_of_the_gateway(stack: Stack, create_at: float, delete_at: float) -> None:
    scene = Scene(stack, "kill")
    began = time.monotonic()
    scene.apply()
    sleep_until(began, create_at)
    kill_and_restart(stack, "gateway")
    scene.await_ready()
    created = time.monotonic() - began

    began = time.monotonic()
    scene.delete()
    sleep_until(began, delete_at)
    kill_and_restart(stack, "gateway")
    scene.await_nothing()

    note(
        "gateway killed once in a create and once in a delete, 1+1",
        create_at_s=create_at,
        ready_s=round(created, 1),
        delete_at_s=delete_at,
        gone_s=round(time.monotonic() - began, 1),
    )


def test_ten_kills_of_the_gateway_in_one_create_and_ten_in_its_delete(stack: Stack) -> None:
    scene = Scene(stack, "kills", control_plane=3, workers=2)
    began = time.monotonic()
    scene.apply()
    for moment in (0.5, 2, 4, 7, 11, 16, 22, 29, 37, 46):
        sleep_until(began, moment)
        kill_and_restart(stack, "gateway")
    scene.await_ready(timeout_s=400)
    created = time.monotonic() - began

    began = time.monotonic()
    scene.delete()
    for moment in range(10):
        sleep_until(began, 0.5 + 1.2 * moment)
        kill_and_restart(stack, "gateway")
    scene.await_nothing()

    note(
        "gateway killed ten times in a create and ten in its delete, 3+2",
        ready_s=round(created, 1),
        gone_s=round(time.monotonic() - began, 1),
    )


@pytest.mark.parametrize("signal", ["TERM", "KILL"])
def test_hub_away_during_a_create_and_the_gateway_restarted_meanwhile(
    stack: Stack, signal: str
) -> None:
    scene = Scene(stack, "hubaway")
    began = time.monotonic()
    scene.apply()
    sleep_until(began, 3.0)
    stack.stack("stop", "hub", signal)
    sleep_until(began, 8.0)
    kill_and_restart(stack, "gateway")
    sleep_until(began, 23.0)
    stack.stack("start", "hub")
    scene.await_ready()
    created = time.monotonic() - began

    began = time.monotonic()
    scene.delete()
    sleep_until(began, 0.5)
    stack.stack("stop", "hub", signal)
    sleep_until(began, 8.0)
    stack.stack("start", "hub")
    scene.await_nothing()

    note(
        f"hub away for 20 s of a create (SIG{signal}), gateway killed meanwhile; 8 s of a delete",
        ready_s=round(created, 1),
        gone_s=round(time.monotonic() - began, 1),
    )


@pytest.mark.parametrize("at", [0.8, 3.0])
def test_vcenter_restarted_during_a_create_and_a_delete(stack: Stack, at: float) -> None:
    scene = Scene(stack, "vcaway")
    began = time.monotonic()
    scene.apply()
    sleep_until(began, at)
    run("moorage-lab", "vcenter", "restart", "--seconds", "20")
    scene.await_ready()
    created = time.monotonic() - began

    began = time.monotonic()
    scene.delete()
    sleep_until(began, at)
    run("moorage-lab", "vcenter", "restart", "--seconds", "20")
    scene.await_nothing()

    note(
        "vCenter away for 20 s of a create and of a delete",
        at_s=at,
        ready_s=round(created, 1),
        gone_s=round(time.monotonic() - began, 1),
    )


def test_sessions_expired_again_and_again_during_a_create(stack: Stack) -> None:
    scene = Scene(stack, "expired")
    began = time.monotonic()
    scene.apply()
    for moment in (0.5, 1.5, 2.5, 4, 8, 15, 25):
        sleep_until(began, moment)
        run("moorage-lab", "vcenter", "expire-sessions")
    scene.await_ready()
    created = time.monotonic() - began

    began = time.monotonic()
    scene.delete()
    for moment in (0.5, 1.5, 2.5):
        sleep_until(began, moment)
        run("moorage-lab", "vcenter", "expire-sessions")
    scene.await_nothing()

    note(
        "all sessions expired seven times in a create, three in a delete",
        ready_s=round(created, 1),
        gone_s=round(time.monotonic() - began, 1),
    )


def test_the_holder_of_the_vip_is_destroyed_in_vcenter(stack: Stack) -> None:
    scene = Scene(stack, "vip", control_plane=3, workers=1)
    scene.apply()
    scene.await_ready(timeout_s=400)
    endpoint = scene.seen()["status"]["endpoint"]
    lease = scene.kubectl("get", "lease", "-n", "kube-system", "plndr-cp-lock", "-o", "json")
    holder = json.loads(lease)["spec"]["holderIdentity"]
    destroyed: list[float] = []

    def destroy() -> None:
        witness(stack, "destroy", holder)
        destroyed.append(time.monotonic())

    with probing(stack, f"https://{endpoint}/readyz") as probes:
        time.sleep(3)
        began = time.monotonic()
        killer = threading.Thread(target=destroy)
        killer.start()
        killer.join()
        told = until(
            lambda: "VMMissing" in scene.why() and holder in scene.why(),
            timeout_s=60,
            what="the cluster's condition names the missing machine",
        )
        sleep_until(began, 40)
    after = [(moment, answered) for moment, answered in probes if moment > began]
    assert any(answered for moment, answered in probes if moment < began)
    down = [moment for moment, answered in after if not answered]
    assert down, "the API never missed a beat: was it the holder?"
    outage = next(m for m, answered in after if answered and m > max(down)) - min(down)

    note("VIP holder destroyed in vCenter", api_away_s=round(outage, 1), told_s=round(told, 1))
    assert outage <= 10
    scene.delete()
    scene.await_nothing()

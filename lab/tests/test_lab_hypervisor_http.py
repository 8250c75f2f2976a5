"""The hypervisor's protocol over its Unix socket, as far as it needs no root."""

from collections.abc import AsyncIterator
from pathlib import Path

import anyio
import httpx2
import pytest

from lab.tests.test_lab_document import UUID, a_body
from moorage_lab.config import Config
from moorage_lab.document import Record
from moorage_lab.httpserver import UnixServer
from moorage_lab.hypervisor import Hypervisor
from moorage_lab.hypervisor_http import hypervisor_app
from moorage_lab.places import State
from moorage_lab.uplink import Uplink


@pytest.fixture
def state(short_dir: Path) -> State:
    state = State(short_dir)
    state.make()
    return state


@pytest.fixture
async def vcenter(state: State) -> AsyncIterator[httpx2.AsyncClient]:
    """A client in vCenter's place."""
    image = state.root / "image"
    (image / "root" / "sbin").mkdir(parents=True)
    (image / "root" / "sbin" / "init").symlink_to("/bin/true")
    (image / "store").mkdir()
    config = Config("inventory.yaml", "lab-vcenter", nodes=True, images={"1.34.4": str(image)})
    hypervisor = Hypervisor(state, config.find_image, Uplink(state.control_socket))
    server = UnixServer(hypervisor_app(hypervisor), state.hypervisor_socket)
    transport = httpx2.AsyncHTTPTransport(uds=str(state.hypervisor_socket))
    async with anyio.create_task_group() as tasks:
        await hypervisor.adopt(tasks)
        await tasks.start(server.run_here)
        async with httpx2.AsyncClient(transport=transport, base_url="http://h") as client:
            yield client
        tasks.cancel_scope.cancel()


async def test_document_is_kept_on_disk(vcenter: httpx2.AsyncClient, state: State) -> None:
    body = a_body(guestinfo={"guestinfo.a": "1"})

    for _ in range(2):
        assert (await vcenter.put(f"/vms/{UUID}", json=body)).status_code == 204
    answer = await vcenter.put(
        f"/vms/{UUID}/guestinfo", json={"guestinfo.a": None, "guestinfo.b": "2"}
    )

    assert answer.status_code == 204
    record = Record.load(state.vms / UUID / "vm.json")
    assert record.guestinfo == {"guestinfo.b": "2"}
    assert not record.on


async def test_broken_document_is_400_and_says_why(vcenter: httpx2.AsyncClient) -> None:
    answer = await vcenter.put(f"/vms/{UUID}", json=a_body(cpus=0))

    assert answer.status_code == 400
    assert "cpus" in answer.json()["error"]


async def test_unknown_image_fails_before_anything_is_made(
    vcenter: httpx2.AsyncClient, state: State
) -> None:
    answer = await vcenter.put(f"/vms/{UUID}", json=a_body(image="9.9"))

    assert answer.status_code == 500
    assert "known: 1.34.4" in answer.json()["error"]
    assert list(state.vms.iterdir()) == []


async def test_vm_that_was_never_told_of(vcenter: httpx2.AsyncClient) -> None:
    on = await vcenter.post(f"/vms/{UUID}/power-on")
    assert on.status_code == 404
    assert "PUT /vms/" in on.json()["error"]
    for call in (
        vcenter.delete(f"/vms/{UUID}"),
        vcenter.post(f"/vms/{UUID}/power-off"),
        vcenter.put(f"/vms/{UUID}/guestinfo", json={"guestinfo.a": "1"}),
    ):
        assert (await call).status_code == 204


async def test_guest_of_a_vm_that_is_off_cannot_be_shut_down(vcenter: httpx2.AsyncClient) -> None:
    await vcenter.put(f"/vms/{UUID}", json=a_body())

    for verb in ("shutdown", "reboot", "reset"):
        answer = await vcenter.post(f"/vms/{UUID}/{verb}")
        assert answer.status_code == 409
        assert "not powered on" in answer.json()["error"]

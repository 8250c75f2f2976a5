"""An estate as no one would plan it: names are texts for people, and every object is found."""

import unicodedata
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import Any

import anyio
import pytest

from moorage.kit.errors import InvalidError
from moorage.vsphere import Power, ResolvedTarget, Target, VCenter
from moorage_lab.api import VCenterProcess
from moorage_lab.places import lab_dir
from tests.vsphere.harness import (
    Site,
    a_request,
    clone_and_wait,
    is_found,
    power_on_and_wait,
    until,
)

pytestmark = pytest.mark.anyio

DATACENTER = "Rechenzentrum Süd 100%"
TARGET = Target(
    datacenter=DATACENTER,
    folder="Häuser & Höfe/Büro %2f 3. OG 100%",
    template="Vorlagen/Für alle/ubuntu-2404-kube-v1.34.4",
    compute_cluster="Gebäude 1/Etage %2f links/Kubernetes",
    datastore="San/Schnell/Speicher ä 100%",
    network="Verteilt/Knoten%2fNetz 1",
)


HOSTS = {"Gebäude 2": "green-", "Einzelne": "allein", "allein.lab": "allein"}


@pytest.fixture(scope="module")
def estate() -> Iterator[VCenterProcess]:
    with VCenterProcess.start(lab_dir() / "inventories" / "odd.yaml") as running:
        yield running


@pytest.fixture
async def odd(estate: VCenterProcess) -> AsyncIterator[Site]:
    async with AsyncExitStack() as stack:
        yield Site(estate, stack)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"compute_cluster": "Gebäude 2/Kubernetes"},
        {"compute_cluster": "Einzelne/allein.lab"},
        {"compute_cluster": "allein.lab"},
        {"resource_pool": "Küche %2f 50%"},
        {"network": "Ost/LAN"},
        {"compute_cluster": "Gebäude 2/Kubernetes", "network": "West/LAN"},
        {"template": "Vorlagen/Linux/ubuntu-2404-kube-v1.34.4", "datastore": "slow"},
        {"datastore": "Verbund ß/pod-a"},
        {"datastore": "Speicher ä 100%"},
        {"datastore": "Speicher ä 100%25"},
        {"network": "Knoten/Netz 1"},
        {"network": f"/{DATACENTER}/network/Verteilt/Knoten%2fNetz 1"},
        {"compute_cluster": unicodedata.normalize("NFD", TARGET.compute_cluster)},
        {"folder": f"/{DATACENTER}/vm/Häuser & Höfe"},
    ],
    ids=str,
)
async def test_a_machine_lives_and_dies_wherever_it_is_put(
    odd: Site, changes: dict[str, Any]
) -> None:
    vcenter = await odd.connect()
    target = replace(TARGET, **changes)

    request = a_request(await vcenter.resolve(target))
    vm = await clone_and_wait(vcenter, request)
    made = odd.vms()[vm.name]
    vm = await power_on_and_wait(vcenter, vm)
    await vcenter.power_off(vm)
    await until(lambda: is_found(vcenter, request.uid).vm.power is Power.OFF)
    await vcenter.destroy(vm)
    await until(lambda: vm.name not in odd.vms())

    assert made["path"].startswith(f"/{DATACENTER.replace('%', '%25')}/vm/Häuser & Höfe/")
    assert made["instanceUuid"] == request.uid
    wanted = target.network.rpartition("/")[2].replace("Knoten/", "Knoten%2f")
    assert made["nics"][0]["network"].endswith(wanted)
    assert made["host"].startswith(HOSTS.get(target.compute_cluster.split("/")[0], "blue-"))


@pytest.mark.parametrize(
    ("field", "name", "paths"),
    [
        (
            "compute_cluster",
            "Kubernetes",
            ["Gebäude 1/Etage %2f links/Kubernetes", "Gebäude 2/Kubernetes"],
        ),
        ("network", "LAN", ["Ost/LAN", "West/LAN"]),
        (
            "template",
            "ubuntu-2404-kube-v1.34.4",
            [
                "Vorlagen/Für alle/ubuntu-2404-kube-v1.34.4",
                "Vorlagen/Linux/ubuntu-2404-kube-v1.34.4",
            ],
        ),
    ],
)
async def test_a_name_that_several_bear_is_refused_with_all_paths(
    odd: Site, field: str, name: str, paths: list[str]
) -> None:
    vcenter = await odd.connect()

    with pytest.raises(InvalidError) as refused:
        await vcenter.resolve(replace(TARGET, **{field: name}))

    (fault,) = refused.value.faults
    assert fault.message.endswith(f"{name!r} is not unique: give one of {', '.join(paths)}")


async def test_a_network_of_that_name_elsewhere_is_another(odd: Site) -> None:
    vcenter = await odd.connect()

    with pytest.raises(InvalidError) as refused:
        await vcenter.resolve(replace(TARGET, network="West/LAN"))

    (fault,) = refused.value.faults
    assert "no usable host of Kubernetes reaches network LAN: they reach" in fault.message


async def test_a_datastore_in_maintenance_is_said_and_comes_back(odd: Site) -> None:
    vcenter = await odd.connect()
    resolved = await vcenter.resolve(TARGET)

    for maintenance in (True, False):
        odd.process.control.set_datastore(resolved.datastore, maintenance=maintenance)
        wanted = "in maintenance mode" if maintenance else ""
        with anyio.fail_after(60):
            while await said_of_datastore(vcenter, resolved) != wanted:  # noqa: ASYNC110
                await anyio.sleep(0.05)


async def said_of_datastore(vcenter: VCenter, resolved: ResolvedTarget) -> str:
    (domain,) = await vcenter.estate.domains({"a": [resolved]})
    return domain.datastores[0].out_of_service

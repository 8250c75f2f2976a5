"""The same life of a VM on each release of vCenter that is supported."""

from collections.abc import Iterator

import pytest

from moorage.vsphere import Found, Power
from moorage_lab.api import VCenterProcess
from vsphere.harness import TARGET, Site, a_request, clone_and_wait, power_on_and_wait, until

pytestmark = pytest.mark.anyio


@pytest.fixture(params=["6.7.3", "7.0.3", "8.0.3"])
def release(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def process(release: str) -> Iterator[VCenterProcess]:
    with VCenterProcess.start(arguments=("--api-version", release)) as running:
        yield running


async def test_a_machine_lives_and_dies_on_each_release(site: Site, release: str) -> None:
    vcenter = await site.connect()
    assert (vcenter.api_version or "").startswith(release)

    vm = await clone_and_wait(vcenter, a_request(await vcenter.resolve(TARGET)))
    vm = await power_on_and_wait(vcenter, vm)
    await vcenter.power_off(vm)
    assert vm.owner is not None
    uid = vm.owner.uid

    def is_off() -> bool:
        seen = vcenter.find(uid)
        return isinstance(seen, Found) and seen.vm.power is Power.OFF

    await until(is_off)
    await vcenter.destroy(vm)

    await until(lambda: vm.name not in site.vms())

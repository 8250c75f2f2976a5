"""The same life of a VM on each release of vCenter that is supported; none on older ones."""

from collections.abc import Iterator
from contextlib import AsyncExitStack

import pytest
import yaml

from moorage.kit.errors import TerminalError
from moorage.vsphere import Found, Power, State
from moorage_lab.api import VCenterProcess
from moorage_lab.inventory import default_inventory
from vsphere.harness import TARGET, Site, a_request, clone_and_wait, power_on_and_wait, until

pytestmark = pytest.mark.anyio


@pytest.fixture(params=["6.7.3", "7.0.3", "8.0.3"])
def release(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def process(release: str) -> Iterator[VCenterProcess]:
    with VCenterProcess.start(arguments=("--api-version", release)) as running:
        yield running


@pytest.mark.parametrize("release", ["6.5", "6.7.2"])
async def test_an_older_vcenter_is_refused_by_name(release: str) -> None:
    inventory = yaml.safe_load(default_inventory().read_text())
    inventory["about"] = {"apiVersion": release, "version": "6.5.0", "build": "1"}
    async with AsyncExitStack() as stack:
        site = Site(stack.enter_context(VCenterProcess.start(inventory)), stack)

        vcenter = await site.connect_only()

        with pytest.raises(TerminalError, match=rf"API {release}\).*6\.7 Update 3") as refused:
            vcenter.health.check()
        assert refused.value.reason == "VCenterTooOld"
        assert vcenter.state is State.TOO_OLD
        assert "Login" not in site.calls(), "no password is sent"


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

"""The operation that lists what a placement can choose from."""

from moorage.resources import CloudAccount, Metadata, Operation
from moorage.resources.estate import EstateResult
from moorage.resources.operation import OperationSpec, Verb
from moorage.vsphere import Limits
from tests.reconcile.conftest import World


async def test_the_estate_is_listed_from_memory(world: World) -> None:
    await world.ask_account()
    await world.until(CloudAccount, lambda a: a[0].status.is_true("Ready"), "account is ready")
    spec = OperationSpec(
        verb=Verb.ESTATE,
        subject_kind="CloudAccount",
        subject_name="lab",
        arguments={"measure": True},
    )
    await world.ask(Operation(metadata=Metadata(name="estate-1", project="default"), spec=spec))
    (done,) = await world.until(
        Operation, lambda o: all(one.status.completed_at for one in o), "the operation ends"
    )

    result = EstateResult.model_validate(done.status.result)

    (datacenter,) = result.datacenters
    assert datacenter.path == "dc1"
    assert "clusters" in datacenter.folders
    assert "templates/ubuntu-2404-kube-v1.34.4" in datacenter.templates
    compute = {one.path: one for one in datacenter.compute}
    assert set(compute) >= {"cc1", "cc2"}
    assert "ds1" in compute["cc1"].datastores
    assert "nodes" in compute["cc1"].networks
    assert result.budget is not None
    assert (result.budget.calls_waiting, result.budget.clones, result.budget.ailing) == (0, 0, "")
    assert result.budget.calls_most == Limits().calls
    capacity = result.capacity
    assert capacity is not None
    assert capacity.hosts == capacity.hosts_usable > 1
    assert 0 <= capacity.cpu_used_mhz <= capacity.cpu_mhz
    assert 0 < capacity.memory_used_mib < capacity.memory_mib
    assert 0 < capacity.storage_used_bytes < capacity.storage_bytes
    (account,) = await world.store.list(CloudAccount)
    assert account.status.capacity == capacity
    assert compute["cc1"].hosts == compute["cc1"].hosts_usable > 0

"""No effect is started under a lease that may end before the call does."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from pyVmomi.SoapAdapter import SoapStubAdapter

from moorage.engine import HeldLease, LeaseLostError
from moorage.engine.lease import MARGIN, set_current
from moorage.kit.clock import FakeClock
from moorage.store import SqlStore, open_store
from vsphere.harness import TARGET, Site, a_request

pytestmark = pytest.mark.anyio


async def with_a_lease(folder: Path, clock: FakeClock) -> tuple[SqlStore, HeldLease]:
    """Open a store that others may share, and take a lease of a minute in it."""
    store = await open_store(f"sqlite:///{folder}/replicas.db", clock=clock)
    await store.enqueue("machine", "default/m", clock.now())
    (held,) = await HeldLease.take(store, clock, "machine", limit=1, ttl=timedelta(seconds=60))
    return store, held


async def test_a_replica_past_its_lease_starts_nothing(site: Site, tmp_path: Path) -> None:
    vcenter = await site.connect()
    request = a_request(await vcenter.resolve(TARGET))
    clock = FakeClock()
    store, mine = await with_a_lease(tmp_path, clock)
    set_current(mine)
    clock.advance(timedelta(seconds=61))  # as if stopped meanwhile
    assert await store.lease("machine", limit=1, ttl=timedelta(seconds=60))

    with pytest.raises(LeaseLostError):
        await vcenter.clone(request)

    assert site.calls().get("CloneVM_Task", 0) == 0
    await store.close()


async def test_a_lease_that_is_short_is_made_to_last(site: Site, tmp_path: Path) -> None:
    vcenter = await site.connect()
    request = a_request(await vcenter.resolve(TARGET))
    clock = FakeClock()
    store, held = await with_a_lease(tmp_path, clock)
    set_current(held)
    clock.advance(timedelta(seconds=50))

    await vcenter.clone(request)

    assert held.outlives(timedelta(seconds=30) - MARGIN)
    clock.advance(timedelta(seconds=30))
    assert await store.lease("machine", limit=1, ttl=timedelta(seconds=60)) == []
    assert site.calls()["CloneVM_Task"] == 1
    await store.close()


async def test_an_effect_whose_lease_ends_on_its_way_out_is_not_sent(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    vcenter = await site.connect()
    request = a_request(await vcenter.resolve(TARGET))
    clock = FakeClock()
    store, held = await with_a_lease(tmp_path, clock)
    invoke = SoapStubAdapter.InvokeMethod

    def stopped(stub: Any, mo: Any, info: Any, *args: Any) -> Any:
        clock.advance(timedelta(seconds=61))  # after it was held, before anything is sent
        return invoke(stub, mo, info, *args)

    monkeypatch.setattr(SoapStubAdapter, "InvokeMethod", stopped)
    set_current(held)

    with pytest.raises(LeaseLostError):
        await vcenter.clone(request)

    set_current(None)
    assert site.calls().get("CloneVM_Task", 0) == 0
    await store.close()

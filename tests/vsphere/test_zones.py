"""Tags become region and zone, on each release of vCenter, and no session is left behind."""

from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, suppress
from dataclasses import replace
from typing import Any

import anyio
import pytest
import yaml

from moorage.kit.errors import ForbiddenError, UnavailableError
from moorage.resources.account import Trust
from moorage.vsphere import Categories, Endpoint, Topology, VCenter
from moorage_lab.api import VCenterProcess
from moorage_lab.inventory import default_inventory
from tests.tags import Tagger
from vsphere.harness import TARGET, Site

pytestmark = pytest.mark.anyio

ODD_DC, ODD_CLUSTER = "dc/1 süd", "Köln / 50%"
ODD_TARGET = replace(TARGET, datacenter="dc%2f1 süd", compute_cluster="Köln %2f 50%25")
READER = "reader@vsphere.local"


def _inventory() -> dict[str, Any]:
    spec: dict[str, Any] = yaml.safe_load(default_inventory().read_text())
    (dc1,) = spec["datacenters"]
    dc1["hosts"] = [{"name": "solo.lab", "cpus": 8, "memoryGib": 64}]
    odd = yaml.safe_load(yaml.safe_dump(dc1))
    odd["name"] = ODD_DC
    host = {"name": "odd.lab", "cpus": 8, "memoryGib": 64}
    odd["computeClusters"] = [{"name": ODD_CLUSTER, "hosts": [host]}]
    odd["hosts"] = [{"name": "solo2.lab", "cpus": 8, "memoryGib": 64}]
    spec["datacenters"].append(odd)
    read = ["/dc1/host/cc1", "/dc1/datastore/ds1", "/dc1/network/nodes", "/dc1/vm"]
    spec["users"].append(
        {
            "name": READER,
            "password": spec["users"][0]["password"],
            "permissions": [{"on": path, "role": "ReadOnly"} for path in read]
            + [{"on": "/", "role": "ReadOnly", "propagate": False}],
        }
    )
    return spec


@pytest.fixture(params=["8.0.3"])
def release(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def process(release: str) -> Iterator[VCenterProcess]:
    with VCenterProcess.start(_inventory(), arguments=("--api-version", release)) as running:
        yield running


@pytest.fixture
def tagger(process: VCenterProcess) -> Iterator[Tagger]:
    with Tagger(process) as tagger:
        yield tagger


@pytest.fixture
async def site(process: VCenterProcess) -> AsyncIterator[Site]:
    async with AsyncExitStack() as stack:
        yield Site(process, stack)


async def read(vcenter: VCenter, **changes: Any) -> Topology:
    (told,) = await vcenter.zones.read([replace(TARGET, **changes)])
    return told


def rest_calls(site: Site) -> dict[str, int]:
    """Return the calls over REST since the last reset, the test's own left out."""
    return {name: n for name, n in site.calls().items() if " /" in name}


def sessions(site: Site) -> dict[str, int]:
    counted: dict[str, int] = site.process.control.counters()["restSessions"]
    return counted


@pytest.mark.parametrize("release", ["6.7.3", "7.0.3", "8.0.3"], indirect=True)
async def test_tags_tell_region_and_zone_on_each_release(
    site: Site, tagger: Tagger, release: str
) -> None:
    tagger.put("k8s-region", "eu-1", "/dc1")
    tagger.put("k8s-zone", "eu-1a", "/dc1/host/cc1")
    tagger.put("backup", "nightly", "/dc1/host/cc1")
    tagger.put("k8s-region", "süd", "/dc%2f1 süd")
    tagger.put("k8s-zone", "k.1_b-2", f"/dc%2f1 süd/host/{ODD_TARGET.compute_cluster}")
    vcenter = await site.connect()
    site.process.control.reset_counters()

    first, second, odd = await vcenter.zones.read(
        [TARGET, replace(TARGET, compute_cluster="cc2"), ODD_TARGET]
    )

    assert (first.region.value, first.region.on) == ("eu-1", "/dc1")
    assert (first.zone.value, first.zone.on) == ("eu-1a", "/dc1/host/cc1")
    assert (second.region.value, second.zone) == ("eu-1", replace(second.zone, value="", on=""))
    assert (odd.zone.value, odd.zone.on) == (
        "k.1_b-2",
        "/dc%2f1 süd/host/Köln %2f 50%25",
    )
    assert odd.region.value == ""
    assert "'süd' of category k8s-region on /dc%2f1 süd cannot be" in odd.region.fault
    asked = rest_calls(site)
    base = "/rest/com/vmware/cis/" if release == "6.7.3" else "/api/"
    assert all(name.partition(" ")[2].startswith(base) for name in asked), asked
    assert sum(n for name, n in asked.items() if "tag-association" in name) == 1
    assert sessions(site) == {"logins": 1, "logouts": 1, "open": 1}  # the tagger's own


@pytest.mark.parametrize("release", ["6.7.3"], indirect=True)
async def test_an_api_that_is_not_there_is_replaced_by_the_older_one(
    site: Site, tagger: Tagger, release: str
) -> None:
    tagger.put("k8s-zone", "a", "/dc1/host/cc1")
    vcenter = await site.connect()
    vcenter._session.api_version = ""  # a vCenter that says nothing clear
    site.process.control.reset_counters()
    assert (await read(vcenter)).zone.value == "a"
    assert rest_calls(site)["POST /api/session"] == 1
    assert rest_calls(site)["POST /rest/com/vmware/cis/session"] == 1


async def test_the_nearest_object_counts_and_a_standalone_host_stands_for_itself(
    site: Site, tagger: Tagger
) -> None:
    tagger.put("k8s-zone", "far", "/dc1")
    tagger.put("k8s-zone", "nowhere", "/dc1/host")
    tagger.put("k8s-zone", "near", "/dc1/host/cc1")
    tagger.put("k8s-zone", "alone", "/dc1/host/solo.lab/solo.lab")
    tagger.put("my-regions", "north", "/dc1")
    vcenter = await site.connect()

    assert (await read(vcenter)).zone.value == "near"
    assert (await read(vcenter, compute_cluster="cc2")).zone.value == "far"
    assert (await read(vcenter, compute_cluster="solo.lab")).zone.value == "alone"
    (told,) = await vcenter.zones.read([TARGET], Categories(region="my-regions", zone="none"))
    assert (told.region.value, told.zone.value) == ("north", "")


async def test_two_tags_of_a_category_are_told_and_not_chosen_from(
    site: Site, tagger: Tagger
) -> None:
    tagger.put("k8s-zone", "a", "/dc1/host/cc1")
    tagger.put("k8s-zone", "b", "/dc1/host/cc1")
    tagger.put("k8s-zone", "c", "/dc1")
    vcenter = await site.connect()

    told = await read(vcenter)

    assert told.zone.value == ""
    assert "/dc1/host/cc1 has 2 tags of category k8s-zone (a, b)" in told.zone.fault


async def test_many_who_ask_at_once_cost_one_look_and_later_ones_none(
    site: Site, tagger: Tagger
) -> None:
    tagger.put("k8s-zone", "a", "/dc1/host/cc1")
    vcenter = await site.connect()
    site.process.control.reset_counters()

    async with anyio.create_task_group() as tasks:
        for _ in range(10):
            tasks.start_soon(read, vcenter)
    await read(vcenter)

    (listed,) = (n for name, n in rest_calls(site).items() if "tag-association" in name)
    assert listed == 1
    assert rest_calls(site)["POST /api/session"] == 1
    vcenter.zones.forget()
    await read(vcenter)
    assert rest_calls(site)["POST /api/session"] == 2


@pytest.mark.parametrize(
    "method", ["POST /api/session", "POST /api/cis/tagging/tag-association", "DELETE /api/session"]
)
@pytest.mark.parametrize("action", ["dropAnswer", "dieBefore", "fail", "truncate"])
async def test_a_call_that_goes_wrong_is_told_or_made_good_and_leaves_no_session(
    site: Site, process: VCenterProcess, method: str, action: str
) -> None:
    vcenter = await site.connect()
    process.control.fault(method, action, fault="SystemError" if action == "fail" else "")
    with suppress(UnavailableError):
        await read(vcenter)

    assert (await read(vcenter)).zone.value == ""
    vcenter.zones.forget()
    await read(vcenter)

    lost = method.startswith("POST /api/session") and action in ("dropAnswer", "truncate")
    assert sessions(site)["open"] <= lost  # nobody knows the token that did not arrive


async def test_a_session_that_a_killed_process_left_is_ended_by_the_next(
    site: Site, process: VCenterProcess
) -> None:
    with Tagger(process) as killed:
        note = Note(f"/rest/com/vmware/cis/session {killed._token}")
        before = sessions(site)["open"]
        await site.connect(rest_note=note)
        assert sessions(site)["open"] == before - 1
        assert note.text == ""
        killed._token = ""
        killed._token = killed.ask("POST", "/rest/com/vmware/cis/session")


async def test_the_open_session_is_noted_and_the_note_is_empty_after_it(site: Site) -> None:
    note = Note("")
    vcenter = await site.connect(rest_note=note)
    await read(vcenter)
    await vcenter.close()

    assert note.text == ""
    assert note.closed
    assert [bool(text) for text in note.written] == [True, False]
    assert sessions(site)["open"] == 0


async def test_a_password_that_was_changed_is_tried_once(site: Site) -> None:
    vcenter = await site.connect()
    site.process.control.set_password(site.process.user, "another-1")
    site.process.control.reset_counters()
    for _ in range(3):
        with pytest.raises(ForbiddenError, match="is not locked"):
            await read(vcenter)

    assert rest_calls(site) == {"POST /api/session": 1}


async def test_what_the_account_may_not_read_is_named(site: Site, tagger: Tagger) -> None:
    tagger.put("k8s-zone", "a", "/dc1/host/cc1")
    tagger.put("k8s-region", "eu", "/dc1")
    trust = Trust(ca_bundle=site.process.ca_file.read_text())
    vcenter = await site.connect(endpoint=Endpoint(site.process.address, READER, trust))

    told = await read(vcenter)

    assert told.zone.value == "a"
    assert told.region.value == ""
    assert "/dc1" in told.unread


class Note:
    """A session note in memory, which remembers what was written."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.written: list[str] = []
        self.closed = False

    def read(self) -> str:
        return self.text

    def write(self, session: str) -> None:
        self.text = session
        self.written.append(session)

    def close(self) -> None:
        self.closed = True

"""OVAs become templates, once: whatever is lost, damaged or killed on the way."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from moorage.resources import Machine, Metadata, Template, TemplateReplica
from moorage.resources.template import TemplateSpec
from moorage.vsphere import Transfer
from moorage.vsphere.fetch import Incoming
from moorage_lab.api import VCenterProcess
from tests.ova import OVA, SHA256, a_disk, an_ova
from tests.reconcile.conftest import World
from tests.reconcile.test_machines import reason
from tests.reconcile.test_replicas import ready
from tests.reconcile.test_templates import let_go
from tests.site import Site, serving
from tests.vsphere.harness import TARGET

NAME = "r_u-2404-0-k-1344-0"
DEPLOY = "POST /rest/com/vmware/vcenter/ovf/library-item deploy"
UPLOAD = "PUT /rest/com/vmware/cis/data"
SESSION = "/rest/com/vmware/content/library/item/update-session"


def an_import(url: str = "", **changes: Any) -> Template:
    given: dict[str, Any] = {
        "account": "lab",
        "name": NAME,
        "source": {"url": url},
        "sha256": SHA256,
        "datacenter": "dc1",
        "folder": "templates",
        "computeCluster": "cc1",
        "datastore": "ds1",
        "network": "nodes",
    }
    return Template(
        metadata=Metadata(name="r-u-2404-0-k-1344-0"),
        spec=TemplateSpec.model_validate({**given, **changes}),
    )


def found(world: World, name: str = NAME) -> list[dict[str, Any]]:
    return [vm for vm in world.vcenter.control.inventory()["vms"] if vm["name"] == name]


def left_over(world: World) -> list[str]:
    """Return what is still there of libraries, sessions and half-made VMs."""
    kinds = ("Lease", "Library", "LibraryItem", "UpdateSession", "RestSession")
    entries = world.vcenter.control.ledger().entries
    there = [f"{one.kind} {one.id}" for one in entries if one.kind in kinds and one.gone is None]
    every = world.vcenter.control.inventory()["vms"]
    return there + [vm["name"] for vm in every if vm["name"].startswith("moorage-import-")]


async def imported(world: World) -> Template:
    (template,) = await world.until(Template, ready(1), "the template is there")
    (vm,) = found(world)
    assert vm["template"]
    assert vm["instanceUuid"] == template.metadata.uid
    assert template.status.path == f"templates/{NAME}"
    assert left_over(world) == []
    return template


async def failed(world: World, why: str) -> str:
    (template,) = await world.until(
        Template, lambda every: any(reason(one) == why for one in every), why
    )
    assert not found(world)
    assert left_over(world) == []
    condition = template.status.condition("Ready")
    assert condition is not None
    return condition.message


async def test_an_ova_from_a_url_becomes_a_template_that_machines_hang_on(world: World) -> None:
    await world.ask_account()
    with serving(Site()) as url:
        await world.ask(an_import(url))
        template = await imported(world)

    assert (template.status.bytes_done, template.status.bytes_total) == (len(OVA), len(OVA))
    (vm,) = found(world)
    assert vm["disks"][0]["file"].startswith("[ds1] ")
    assert not await world.store.list(Machine)
    template.spec.prefetch = ["ds1", "ds2"]
    await world.ask(template)
    (template,) = await world.until(
        Template,
        lambda every: [one.ready for one in every[0].status.prefetched] == [True, True],
        "it is at hand on two datastores",
    )
    assert [one.replica is None for one in template.status.prefetched] == [True, False]
    await world.until(TemplateReplica, ready(1), "one replica is ready")


async def test_a_file_beside_the_gateway_is_imported(world: World, tmp_path: Path) -> None:
    await world.stop()
    world.imports_folder = tmp_path
    await world.start()
    (tmp_path / "template.ova").write_bytes(OVA)
    await world.ask_account()

    await world.ask(an_import(source={"file": "template.ova"}, sha256=None))

    await imported(world)


@pytest.mark.parametrize(
    ("content", "changes", "why", "word"),
    [
        (OVA, {"sha256": "0" * 64}, "ChecksumMismatch", SHA256),
        (an_ova(damaged=True), {}, "ChecksumMismatch", "disk.vmdk"),
        (b"<html>" * 1000, {}, "OVAInvalid", "no tar"),
        (OVA, {"source": {"file": "no.ova"}}, "SourceNotFound", "no.ova"),
        (OVA, {"datastore": "nowhere"}, "PlacementInvalid", "spec.datastore"),
        (OVA, {"name": "ubuntu-2404-kube-v1.34.4"}, "NameTaken", "ubuntu"),
    ],
)
async def test_what_cannot_be_imported_leaves_nothing(
    content: bytes, changes: dict[str, Any], why: str, word: str, world: World
) -> None:
    await world.ask_account()
    site = Site()
    site.content = content
    with serving(site) as url:
        digest = hashlib.sha256(content).hexdigest()
        await world.ask(an_import(url, **{"sha256": digest, **changes}))

        assert word in await failed(world, why)
        assert len(site.asked) <= 1


@pytest.mark.parametrize(
    ("call", "action"),
    [
        ("POST /rest/com/vmware/content/local-library", "dropAnswer"),
        (f"POST {SESSION}", "dropAnswer"),
        (UPLOAD, "dieBefore"),
        (UPLOAD, "dropAnswer"),
        (f"POST {SESSION} complete", "dropAnswer"),
        (DEPLOY, "dieBefore"),
        (DEPLOY, "dropAnswer"),
        ("ReconfigVM_Task", "dieBefore"),
        ("ReconfigVM_Task", "dropAnswer"),
        ("Rename_Task", "dropAnswer"),
        ("DELETE /rest/com/vmware/content/local-library", "dropAnswer"),
        ("MarkAsTemplate", "dropAnswer"),
    ],
)
async def test_whatever_is_lost_there_is_one_template(call: str, action: str, world: World) -> None:
    world.vcenter.control.fault(call, action)
    await world.ask_account()

    with serving(Site()) as url:
        await world.ask(an_import(url))
        await imported(world)


async def test_a_gateway_that_ends_in_the_middle_begins_again(world: World) -> None:
    await world.ask_account()
    site = Site()
    site.content = an_ova(a_disk(bytes(8_000_000)))
    site.go_on.clear()
    with serving(site) as url:
        digest = hashlib.sha256(site.content).hexdigest()
        await world.ask(an_import(url, sha256=digest))
        await world.until(
            Template, lambda every: every[0].status.bytes_done > 0, "a part of it was sent"
        )
        await world.stop()
        site.go_on.set()
        await world.start()

        await imported(world)
    assert len(site.asked) >= 2


async def test_a_download_that_is_cut_off_goes_on_at_the_byte(world: World) -> None:
    site = Site(an_ova(a_disk(bytes(range(256)) * 8000)))
    site.etag, site.cuts = '"1"', 2
    await world.ask_account()
    with serving(site) as url:
        digest = hashlib.sha256(site.content).hexdigest()
        await world.ask(an_import(url, sha256=digest))
        template = await imported(world)

    half = len(site.content) // 2
    assert site.asked[:2] == ["", f"bytes={half}-"]
    assert len(site.asked) == 3
    assert template.status.bytes_done == len(site.content)
    assert calls(world)[UPLOAD] == 1


def calls(world: World) -> dict[str, int]:
    counted: dict[str, int] = world.vcenter.control.counters()["calls"]
    return counted


async def test_deleting_an_import_ends_it_and_leaves_nothing(world: World) -> None:
    await world.ask_account()
    site = Site()
    site.content = an_ova(a_disk(bytes(8_000_000)))
    site.go_on.clear()
    with serving(site) as url:
        digest = hashlib.sha256(site.content).hexdigest()
        template = await world.ask(an_import(url, sha256=digest))
        await world.until(
            Template, lambda every: every[0].status.bytes_done > 0, "a part of it was sent"
        )
        await world.delete(template)
        site.go_on.set()

        await world.until(Template, let_go, "it is gone")
    assert not found(world)
    assert left_over(world) == []


async def test_a_template_stays_when_its_import_is_forgotten(world: World) -> None:
    await world.ask_account()
    with serving(Site()) as url:
        await world.ask(an_import(url))
        template = await imported(world)

    await world.delete(template)

    await world.until(Template, let_go, "it is forgotten")
    assert found(world)[0]["template"]


async def test_a_vm_of_somebody_else_under_the_private_name_is_not_touched(world: World) -> None:
    wanted = an_import("http://127.0.0.1:9/none.ova", folder="clusters")
    wanted.metadata.uid = "22222222-2222-4222-8222-222222222222"
    name = f"moorage-import-{wanted.metadata.uid}"
    world.make_foreign_vm(name)
    await world.ask_account()

    await world.ask(wanted)

    await world.until(
        Template, lambda every: any(reason(one) == "Forbidden" for one in every), "refused"
    )
    assert found(world, name)


@contextmanager
def whole() -> Iterator[Incoming]:
    yield Incoming(len(OVA), iter([OVA]))


async def test_an_item_of_a_content_library_becomes_a_template(world: World) -> None:
    somebody = await world.connect()
    try:
        place = somebody.originals.place(TARGET)
        await somebody.imports.upload("theirs", place.datastore, whole, None, Transfer())
    finally:
        await somebody.close()
    await world.ask_account()
    source = {"libraryItem": {"library": "moorage-import-theirs", "item": "template"}}

    await world.ask(an_import(source=source, sha256=None))

    (template,) = await world.until(Template, ready(1), "the template is there")
    (vm,) = found(world)
    assert vm["template"]
    assert vm["instanceUuid"] == template.metadata.uid
    kinds = {one.split()[0] for one in left_over(world)}
    assert kinds == {"Library", "LibraryItem", "UpdateSession"}  # theirs, as they were


async def test_an_item_that_is_not_there_is_told(world: World) -> None:
    await world.ask_account()

    source = {"libraryItem": {"library": "none", "item": "template"}}
    await world.ask(an_import(source=source, sha256=None))

    assert "libraries none" in await failed(world, "SourceNotFound")


async def test_an_old_vcenter_imports_too(tmp_path: Path) -> None:
    with VCenterProcess.start(arguments=("--api-version", "6.7.3")) as vcenter:
        async with World.running(vcenter, tmp_path) as world:
            await world.ask_account()
            with serving(Site()) as url:
                await world.ask(an_import(url))
                await imported(world)

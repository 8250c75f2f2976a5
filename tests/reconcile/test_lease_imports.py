"""OVAs become templates by NFC leases too, once: whatever is lost, damaged or killed on the way."""

import hashlib
from typing import Any

import pytest

from moorage.resources import Template, TemplateReplica
from moorage.resources.account import Trust
from tests.ova import DISK, OVA, a_disk, an_ova
from tests.reconcile.conftest import World
from tests.reconcile.test_imports import an_import, calls, failed, found, imported, left_over
from tests.reconcile.test_machines import reason
from tests.reconcile.test_replicas import ready
from tests.reconcile.test_templates import let_go
from tests.site import Site, serving

SEND = "POST /nfc"
PROGRESS = "HttpNfcLeaseProgress"
COMPLETE = "HttpNfcLeaseComplete"


def by_lease(url: str, **changes: Any) -> Template:
    return an_import(**{"source": {"url": url, "through": "nfc"}, **changes})


def limit(world: World, **limits: Any) -> None:
    world.vcenter.control.set_limits(**limits)


async def test_an_ova_goes_to_a_host_and_to_no_content_library(world: World) -> None:
    await world.ask_account()
    with serving(Site()) as url:
        await world.ask(by_lease(url))
        template = await imported(world)

    (vm,) = found(world)
    assert vm["disks"][0]["sha256"] == hashlib.sha256(DISK).hexdigest()
    assert vm["nics"][0]["network"] == "nodes"
    assert (template.status.bytes_done, template.status.bytes_total) == (len(OVA), len(OVA))
    assert not any("content" in name for name in calls(world))
    template.spec.prefetch = ["ds2"]
    await world.ask(template)
    await world.until(TemplateReplica, ready(1), "a replica of it is ready")


@pytest.mark.parametrize(
    ("content", "changes", "why", "word"),
    [
        (OVA, {"sha256": "0" * 64}, "ChecksumMismatch", "was asked for"),
        (an_ova(damaged=True), {}, "ChecksumMismatch", "disk.vmdk"),
        (OVA, {"name": "ubuntu-2404-kube-v1.34.4"}, "NameTaken", "ubuntu"),
    ],
)
async def test_what_cannot_be_imported_leaves_nothing(
    content: bytes, changes: dict[str, Any], why: str, word: str, world: World
) -> None:
    await world.ask_account()
    site = Site(content)
    with serving(site) as url:
        digest = hashlib.sha256(content).hexdigest()
        await world.ask(by_lease(url, **{"sha256": digest, **changes}))

        assert word in await failed(world, why)
        assert len(site.asked) <= 1
    assert calls(world).get(COMPLETE, 0) == 0


@pytest.mark.parametrize(
    ("call", "action"),
    [
        ("CreateImportSpec", "dropAnswer"),
        ("ImportVApp", "dieBefore"),
        ("ImportVApp", "dropAnswer"),
        (SEND, "dieBefore"),
        (SEND, "dropAnswer"),
        (SEND, "status"),
        (COMPLETE, "dieBefore"),
        (COMPLETE, "dropAnswer"),
        ("ReconfigVM_Task", "dieBefore"),
        ("Rename_Task", "dropAnswer"),
    ],
)
async def test_whatever_is_lost_there_is_one_template(call: str, action: str, world: World) -> None:
    limit(world, leaseSeconds=5)
    world.vcenter.control.fault(call, action)
    await world.ask_account()

    with serving(Site()) as url:
        await world.ask(by_lease(url))
        await imported(world)


async def test_the_lease_is_kept_while_the_source_is_slow(world: World) -> None:
    limit(world, leaseSeconds=20)
    await world.ask_account()
    site = Site(an_ova(a_disk(bytes(8_000_000))))
    site.go_on.clear()
    with serving(site) as url:
        digest = hashlib.sha256(site.content).hexdigest()
        await world.ask(by_lease(url, sha256=digest))
        await world.until(
            Template, lambda _: calls(world).get(PROGRESS, 0) >= 2, "progress was reported twice"
        )
        site.go_on.set()
        await imported(world)


async def test_a_gateway_that_ends_in_the_middle_begins_again(world: World) -> None:
    limit(world, leaseSeconds=3)
    await world.ask_account()
    site = Site(an_ova(a_disk(bytes(8_000_000))))
    site.go_on.clear()
    with serving(site) as url:
        digest = hashlib.sha256(site.content).hexdigest()
        await world.ask(by_lease(url, sha256=digest))
        await world.until(
            Template, lambda every: every[0].status.bytes_done > 0, "a part of it was sent"
        )
        await world.stop()
        limit(world, leaseSeconds=60)
        site.go_on.set()
        await world.start()

        await imported(world)
    assert len(site.asked) >= 2


async def test_deleting_an_import_ends_it_and_leaves_nothing(world: World) -> None:
    await world.ask_account()
    site = Site(an_ova(a_disk(bytes(8_000_000))))
    site.go_on.clear()
    with serving(site) as url:
        digest = hashlib.sha256(site.content).hexdigest()
        template = await world.ask(by_lease(url, sha256=digest))
        await world.until(
            Template, lambda every: every[0].status.bytes_done > 0, "a part of it was sent"
        )
        await world.delete(template)
        site.go_on.set()

        await world.until(Template, let_go, "it is gone")
    assert not found(world)
    assert left_over(world) == []


async def untrusted(world: World) -> str:
    (template,) = await world.until(
        Template, lambda every: any(reason(one) == "HostUntrusted" for one in every), "refused"
    )
    assert left_over(world) == []
    assert calls(world).get(SEND, 0) == 0
    condition = template.status.condition("Ready")
    assert condition is not None
    return condition.message


async def test_a_host_with_another_certificate_gets_nothing(world: World) -> None:
    limit(world, leaseThumbprint=":".join(["AB"] * 20))
    await world.ask_account()
    with serving(Site()) as url:
        await world.ask(by_lease(url))

        assert "AB:AB" in await untrusted(world)


async def test_a_host_without_a_thumbprint_is_verified_by_the_accounts_ca(world: World) -> None:
    limit(world, leaseThumbprint="none")
    await world.ask_account()
    with serving(Site()) as url:
        await world.ask(by_lease(url))

        assert "is not trusted" in await untrusted(world)


async def test_an_insecure_account_is_no_leave_to_trust_a_host(world: World) -> None:
    limit(world, leaseThumbprint="none")
    await world.ask_account(trust=Trust(insecure=True))
    with serving(Site()) as url:
        await world.ask(by_lease(url))

        assert "cannot be verified" in await untrusted(world)


async def test_a_star_stands_for_the_vcenter_that_is_spoken_to(world: World) -> None:
    limit(world, leaseHost="*")
    await world.ask_account()
    with serving(Site()) as url:
        await world.ask(by_lease(url))

        await imported(world)

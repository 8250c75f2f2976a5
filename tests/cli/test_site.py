"""Gateways, vCenter accounts and IP pools: sealing, pinning, and what deletion asks."""

import base64

import pytest
import yaml

from moorage.kit.identity import PrivateIdentity
from moorage.kit.seal import PrivateSealingKey, SealedEnvelope
from moorage.resources import CloudAccount, Gateway, IPPool, Secret
from moorage.resources.account import credential_context
from tests.cli.world import GATEWAY, RECOVERY, VCENTER_PASSWORD, World

FINGERPRINT = ":".join(["AB"] * 32)


def context_of(world: World, account: str = "lab") -> dict[str, str]:
    installation = world.ok("support-bundle --file", str(world.folder / "b.tgz"))
    assert installation
    config = yaml.safe_load(world.config.read_text())["contexts"]["127.0.0.1"]
    spec = world.get(CloudAccount, account).spec
    return credential_context(config["installation"], account, spec)


def test_a_gateway_is_added_with_a_command_that_works_once(world: World) -> None:
    world.log_in()

    said = world.ok("gateways add site-a --description 'beside vCenter' -o table")

    assert said.out.startswith(f"moorage-gateway enroll --hub {world.hub.url} --token site-a.")
    assert "--hub-fingerprint" in said.out
    assert "24 hours" in said.err
    assert "NotEnrolled" in world.ok("gateways list -o table").out
    assert world.ok("gateways describe site-a").data["spec"]["description"] == "beside vCenter"
    assert world.ok("gateways token site-a").data["token"].startswith("site-a.")
    assert "exists already" in world.refused("gateways add site-a")


def test_search_domains_of_networks_are_mapped_and_taken_away(world: World) -> None:
    world.log_in()
    world.ok("gateways add site-a")
    network = "gateways map-dns site-a --datacenter dc1 --network nodes"

    world.ok(f"{network} --search-domain old.example.com")
    world.ok(f"{network} --search-domain example.com")
    world.ok(f"{network} --search-domain c1.example.com --compute-cluster c1")

    spec = world.ok("gateways describe site-a").data["spec"]
    assert [one["searchDomain"] for one in spec["dnsMappings"]] == ["example.com", "c1.example.com"]
    told = world.ok("gateways describe site-a -o table").out
    assert "dc1/c1/nodes" in told
    assert "dc1/*/nodes" in told
    world.ok(network)
    spec = world.ok("gateways describe site-a").data["spec"]
    assert [one["searchDomain"] for one in spec["dnsMappings"]] == ["c1.example.com"]
    assert "searchDomain" in world.refused(f"{network} --search-domain a..b", code=2)


def test_a_name_that_cannot_be_one_is_told_before_anything_is_sent(world: World) -> None:
    world.log_in()

    assert "metadata.name" in world.refused("gateways add Site_A", code=2)
    assert "spec.server" in world.refused(
        "accounts add lab --gateway site-a --server https://vc --username u", code=2
    )


def test_a_gateway_that_has_enrolled_gets_another_token_only_when_asked_to(world: World) -> None:
    world.log_in()
    world.enrol()

    assert "enrolled already" in world.refused("gateways token site-a")
    world.ok("gateways token site-a --replace")


def test_a_password_is_sealed_to_gateway_and_recovery_key(site: World) -> None:
    context = context_of(site)
    stored = site.get(Secret, "lab")
    recovery = PrivateSealingKey.from_pem((site.folder / RECOVERY).read_text())

    assert site.opened("lab", context) == VCENTER_PASSWORD.encode()
    envelope = SealedEnvelope.model_validate(stored.spec.sealed)
    assert recovery.open(envelope, context) == VCENTER_PASSWORD.encode()
    everything = b"".join(path.read_bytes() for path in site.hub.data.glob("hub.db*"))
    assert VCENTER_PASSWORD.encode() not in everything
    assert base64.b64encode(VCENTER_PASSWORD.encode()) not in everything


def test_the_fingerprint_of_a_gateway_is_pinned_and_a_changed_one_refused(site: World) -> None:
    old = site.identity.public().fingerprint
    config = yaml.safe_load(site.config.read_text())
    assert config["contexts"]["127.0.0.1"]["gateways"] == {GATEWAY: old}
    site.identity = PrivateIdentity.generate()
    site.enrol(verb="token", flags="--replace")
    new = site.identity.public().fingerprint

    told = site.refused("accounts set-password lab", stdin="another\n")

    assert old in told
    assert new in told
    assert f"moorage gateways trust {GATEWAY}" in told
    assert "not the gateway" in site.refused(
        f"gateways trust {GATEWAY} --fingerprint {FINGERPRINT}", code=2
    )
    site.ok(f"gateways trust {GATEWAY} --fingerprint sha256:{new.replace(':', '').lower()}")
    site.ok("accounts set-password lab", stdin="another\n")
    assert site.opened("lab", context_of(site)) == b"another"


def test_a_sealing_key_that_the_gateway_did_not_sign_is_refused(site: World) -> None:
    """A hub that puts its own sealing key in the gateway's place learns nothing."""
    stolen = PrivateSealingKey.generate()

    async def swap() -> None:
        gateway = await site.hub.store.get(Gateway, "", GATEWAY)
        gateway.status.sealing_key = stolen.public().pem
        await site.hub.store.put_status(gateway)

    before = site.get(Secret, "lab").metadata.generation
    site.hub.do(swap())

    told = site.refused("accounts set-password lab", stdin="another\n")

    assert "signature" in told
    assert site.get(Secret, "lab").metadata.generation == before


def test_an_account_waits_until_its_gateway_has_logged_in(world: World) -> None:
    world.log_in()
    world.enrol()
    password = world.file("pw", VCENTER_PASSWORD)

    def connect() -> None:
        world.ready(world.get(CloudAccount, "prod"), api_version="8.0.3.0", templates=["t/one"])

    later = world.meanwhile(connect, after_s=2)
    said = world.ok(
        f"accounts add prod --gateway {GATEWAY} --server VC.example.com:8443 --username u "
        f"--password-file {password} --sha256 {FINGERPRINT} --zone-category racks --wait"
    )
    later.join()

    assert "CloudAccount prod: Ready" in said.err
    spec = world.get(CloudAccount, "prod").spec
    assert (spec.region_category, spec.zone_category) == ("k8s-region", "racks")
    described = world.ok("accounts describe prod -o table").out
    assert "vc.example.com:8443" in described
    assert FINGERPRINT in described
    assert "t/one" in described
    assert "8.0.3.0" in world.ok("accounts list -o table").out


@pytest.mark.parametrize("reason", ["InvalidCredentials", "UntrustedCertificate", "NotVCenter"])
def test_a_hopeless_account_ends_the_wait_with_its_reason(world: World, reason: str) -> None:
    world.log_in()
    world.enrol()
    password = world.file("pw", "wrong")

    def refuse() -> None:
        account = world.get(CloudAccount, "prod")
        world.condition(account, "False", reason, "vCenter vc refuses: give another")

    later = world.meanwhile(refuse, after_s=2)
    told = world.cli(
        f"accounts add prod --gateway {GATEWAY} --server vc --username u "
        f"--password-file {password} --wait --timeout-s 30"
    )
    later.join()

    assert told.code == 1
    assert "vCenter vc refuses: give another" in told.err
    assert "cannot get there without a change" in told.err


def test_an_account_for_a_gateway_that_has_not_enrolled_is_refused(world: World) -> None:
    world.log_in()
    world.ok("gateways add site-a")

    told = world.refused(
        "accounts add lab --gateway site-a --server vc --username u", stdin="password\n"
    )

    assert "has not enrolled" in told
    assert world.ok("accounts list").data == []
    assert "spec.gateway" in world.refused(
        "accounts add lab --gateway site-b --server vc --username u", stdin="p\n", code=2
    )


def test_adding_an_account_again_after_half_of_it_works(world: World) -> None:
    world.site()
    world.hub.do(_forget(world, CloudAccount, "lab"))
    line = f"accounts add lab --gateway {GATEWAY} --server vc2.example.com --username u --insecure"

    world.ok(line, stdin="second\n")

    assert world.opened("lab", context_of(world)) == b"second"


async def _forget(world: World, kind: type[CloudAccount], name: str) -> None:
    await world.hub.store.delete(await world.hub.store.get(kind, "", name))


def test_trust_is_changed_and_the_password_sealed_for_it(site: World) -> None:
    site.ok(f"accounts set-trust lab --sha256 {FINGERPRINT}", stdin="the same\n")

    assert site.get(CloudAccount, "lab").spec.trust.sha256 == FINGERPRINT
    assert site.opened("lab", context_of(site)) == b"the same"


def test_an_account_is_made_read_only_and_let_go_again(site: World) -> None:
    site.ok("accounts set-read-only lab")
    assert site.get(CloudAccount, "lab").spec.read_only

    site.ok("accounts set-read-only lab --off")
    assert not site.get(CloudAccount, "lab").spec.read_only


def test_deleting_an_account_takes_its_secret_along(site: World) -> None:
    later = site.meanwhile(lambda: site.let_go(CloudAccount, "lab"), after_s=2)
    site.ok("accounts delete lab --yes")
    later.join()

    assert site.ok("accounts list").data == []
    assert site.hub.do(site.hub.store.list(Secret)) == []


def test_deleting_an_account_whose_gateway_is_silent_says_so(site: World) -> None:
    told = site.cli("accounts delete lab --yes --timeout-s 0")

    assert told.code == 1
    assert f"its gateway {GATEWAY} has not let go" in told.err


def test_a_gateway_in_use_stays(site: World) -> None:
    told = site.refused(f"gateways delete {GATEWAY} --yes")

    assert "in use" in told
    assert "account" in told.lower()


def test_ip_pools_come_from_flags_and_files(site: World) -> None:
    file = site.file(
        "pools.yaml",
        """
kind: IPPool
metadata: {name: more}
spec: {gateway: site-a, subnet: 10.78.0.0/24, router: 10.78.0.1}
---
kind: IPPool
metadata: {name: nodes}
spec: {gateway: site-a, start: 10.77.1.10, end: 10.77.1.50, prefix: 16, router: 10.77.0.1}
""",
    )
    site.ok(f"ippools apply -f {file}")
    before = site.get(IPPool, "nodes").metadata
    site.ok(f"ippools apply -f {file}")

    assert site.get(IPPool, "nodes").metadata == before
    assert str(site.get(IPPool, "nodes").spec.end) == "10.77.1.50"
    site.ready(site.get(IPPool, "nodes"), total=41, claimed=3)
    table = site.ok("ippools list -o table").out
    assert "3/41" in table
    assert "10.78.0.0/24" in table
    assert "10.77.0.1" in site.ok("ippools describe nodes -o table").out


def test_an_ip_pool_has_several_ranges_with_holes(site: World) -> None:
    said = site.ok(
        f"ippools add holes --gateway {GATEWAY} --range 10.9.0.10-10.9.0.19 "
        "--range 10.9.0.50-10.9.0.59 --exclude 10.9.0.12-10.9.0.13 --exclude 10.9.0.56/30 "
        "--prefix 24 --router 10.9.0.1 --hold-off-s 60"
    )

    assert "14 addresses" in said.out + said.err
    pool = site.get(IPPool, "holes").spec
    assert (pool.size(), pool.usable(), pool.hold_off_s) == (20, 14, 60)
    assert "10.9.0.10 to 10.9.0.19, 10.9.0.50 to 10.9.0.59" in site.ok("ippools list -o table").out


def test_faults_of_an_ip_pool_are_told_with_their_fields(site: World) -> None:
    told = site.refused(
        f"ippools add bad --gateway {GATEWAY} --start 10.0.0.9 --end 10.0.0.1 --prefix 199 "
        "--router x",
        code=2,
    )

    assert "spec.prefix:" in told
    assert "spec.router:" in told
    told = site.refused(
        "ippools add bad --gateway nowhere --subnet 10.0.0.0/24 --router 10.0.0.1", code=2
    )
    assert "spec.gateway: there is no gateway nowhere" in told


@pytest.mark.parametrize(
    ("line", "name"),
    [
        ("ippools delete nodes", "nodes"),
        (f"gateways delete {GATEWAY}", GATEWAY),
        ("accounts delete lab", "lab"),
        ("users delete admin", "admin"),
        ("projects delete default", "default"),
    ],
)
def test_deletion_asks_for_the_name(site: World, line: str, name: str) -> None:
    assert "--yes" in site.refused(line, code=2)
    said = site.cli(line, stdin="something else\n", tty=True)

    assert said.code == 2
    assert "nothing was deleted" in said.err
    assert f"{name}" in said.err
    assert site.ok(f"{line.split(maxsplit=1)[0]} list").data != []

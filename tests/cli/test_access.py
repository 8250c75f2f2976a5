"""Projects, users, API keys, the audit trail and the support bundle."""

import json
import re
import stat
import tarfile
import time
from pathlib import Path

from moorage.hub.start import INSTALLATION
from moorage.hub.vouching import signing_key
from moorage.kit.chain import ChainKey, public_pem
from moorage.resources import CloudAccount, Cluster, Operation
from moorage.store import audit
from tests.cli.world import GATEWAY, VCENTER_PASSWORD, World, a_document


def test_projects_come_and_go(world: World) -> None:
    world.log_in()

    world.ok("projects add shop --description 'The shop'")

    assert "The shop" in world.ok("projects list -o table").out
    assert world.ok("clusters list --project shop").data == []
    world.ok("projects delete shop --yes")
    assert [p["metadata"]["name"] for p in world.ok("projects list").data] == ["default"]
    assert "there is no project shop" in world.refused("clusters list -p shop")


def test_a_project_name_with_a_slash_goes_nowhere_else(world: World) -> None:
    world.log_in()

    said = world.cli("clusters list -p ../../v1/users")

    assert said.code in (1, 2)
    assert "admin" not in said.out


def test_a_viewer_may_look_but_not_change(world: World) -> None:
    world.log_in()
    password = world.file("bob", "correct horse battery")
    world.ok("projects add shop")
    world.ok(f"users add bob --in-project shop --password-file {password}")
    assert "project-viewer of shop" in world.ok("users list -o table").out

    world.ok(
        f"login {world.hub.url} -u bob --ca-file {world.ca} --password-file {password} --name bob"
    )

    assert "project-viewer of shop" in world.ok("whoami -o table").out
    assert world.ok("clusters list -p shop").data == []
    assert "there is no project default" in world.refused("clusters list")
    assert "may not" in world.refused("gateways add site-b")


def test_a_user_with_a_bad_password_is_not_left_behind(world: World) -> None:
    world.log_in()

    told = world.refused("users add eve", stdin="short\n", code=2)

    assert "12 characters or more" in told
    assert [u["metadata"]["name"] for u in world.ok("users list").data] == ["admin"]
    assert "spec.grants" in world.refused(
        "users add eve --in-project nowhere", stdin="long enough a password\n", code=2
    )


def test_passwords_are_set_and_users_deleted(world: World) -> None:
    world.log_in()
    first, second = (world.file(n, f"{n} correct horse battery") for n in ("one", "two"))
    world.ok(f"users add bob --password-file {first}")

    world.ok(f"users set-password bob --password-file {second}")

    login = f"login {world.hub.url} -u bob --ca-file {world.ca} --name bob --password-file"
    world.refused(f"{login} {first}")
    world.ok(f"{login} {second}")
    world.ok("users delete bob --yes --context 127.0.0.1")
    assert "log" in world.refused("whoami")


def test_an_api_key_logs_in_until_it_is_revoked(world: World) -> None:
    world.log_in()

    made = world.ok("apikeys create ci --days 30")

    key = made.out.strip()
    assert key.startswith("mrk_")
    assert key not in made.err
    (shown,) = world.ok("apikeys list").data
    assert shown["name"] == "ci"
    assert shown["id"] in world.ok("apikeys list -o table").out
    file = world.file("key", made.out)
    world.ok(f"login {world.hub.url} --ca-file {world.ca} --api-key-file {file} --name ci")
    assert world.ok("whoami").data["credential"] == f"apikey:{shown['id']}"
    world.ok(f"apikeys revoke {shown['id']} --context 127.0.0.1")
    assert "expired" in world.refused("whoami")


def test_the_audit_trail_tells_the_newest_last(world: World) -> None:
    world.log_in()
    world.ok("projects add one")
    world.ok("projects add two")

    entries = world.ok("audit list --kind Project").data
    table = world.ok("audit list --actor admin --limit 2 -o table").out

    assert [e["name"] for e in entries][-2:] == ["one", "two"]
    assert "Project two" in table.splitlines()[-1]
    assert "admin" in table
    assert "127.0.0.1" in table


def test_the_audit_trail_is_exported_and_verified(world: World, tmp_path: Path) -> None:
    world.log_in()
    world.ok("projects add one")
    world.hub.do(vouch(world))
    trail, keys = tmp_path / "trail.jsonl", tmp_path / "keys.pem"
    trail.write_text(world.ok("audit export").out)
    keys.write_text(world.ok("audit key").out)
    world.ok("projects add two")

    assert "all holds" in world.ok(f"audit verify {trail} --keys {keys}").err
    assert "all holds" in world.ok(f"audit verify --keys {keys} --against {trail}").err

    lines = trail.read_text().splitlines()
    number = next(n for n, line in enumerate(lines) if '"name":"one"' in line)
    edited, cut, moved = (tmp_path / name for name in ("edited", "cut", "moved"))
    edited.write_text("\n".join(lines).replace('"name":"one"', '"name":"uno"'))
    cut.write_text("\n".join(lines[:number]))
    moved.write_text("\n".join([lines[0], lines[2], lines[1], *lines[3:]]))
    said = world.cli(f"audit verify {edited}")
    assert said.code == 1
    assert f"record {json.loads(lines[number])['id']} was edited" in said.err
    assert "missing at the end" in world.cli(f"audit verify {cut} --against {trail}").err
    assert "record 1 stands after record 2" in world.cli(f"audit verify {moved}").err
    other = tmp_path / "other.pem"
    other.write_text(public_pem(ChainKey(ChainKey.generate()).public))
    assert "unknown key" in world.cli(f"audit verify {trail} --keys {other}").err
    record = json.loads(lines[number])["id"]
    assert world.ok(f"audit show {record}").data["after"]["metadata"]["name"] == "one"


async def vouch(world: World) -> None:
    """Sign, as the hub does once a day."""
    store = world.hub.store
    await audit.sign(store, signing_key(world.hub.data), str(await store.get_value(INSTALLATION)))


def test_events_tell_what_happened_the_newest_last(site: World) -> None:
    site.ok("clusters apply -f", site.file("c.yaml", a_document()))
    cluster = site.get(Cluster, "demo", "default")

    async def tell(reason: str) -> None:
        found = await site.hub.store.get(Cluster, *cluster.key)
        found.status.set_condition(
            "PlacementResolved", "False", reason, f"because {reason}", now=site.hub.clock.now()
        )
        await site.hub.store.put_status(found)

    for reason in ("AccountNotReady", "PlacementInvalid"):
        site.hub.do(tell(reason))
        _until_told(site, "demo", reason)

    reasons = [e["reason"] for e in site.ok("events demo").data]
    assert reasons == ["AccountNotReady", "PlacementInvalid"]
    assert "because PlacementInvalid" in site.ok("events demo -o table").out
    account = site.get(CloudAccount, "lab")
    site.ready(account)
    _until_told(site, "--hub", "Ready")
    assert "CloudAccount/lab" in site.ok("events --hub -o table").out
    assert "not both" in site.refused("events demo --hub", code=2)


def _until_told(world: World, which: str, reason: str) -> None:
    end = time.monotonic() + 20
    while reason not in [e["reason"] for e in world.ok(f"events {which}").data]:
        assert time.monotonic() < end, f"no event {reason}"
        time.sleep(0.1)


def test_the_support_bundle_holds_no_secret(site: World) -> None:
    site.ok("clusters apply -f", site.file("c.yaml", a_document()))
    machine = site.machine()

    def logs(operation: Operation) -> None:
        operation.status.result = {
            "logs": "kubeadm join --token abcdef.0123456789abcdef\n"
            "-----BEGIN EC PRIVATE KEY-----\nMHc\n-----END EC PRIVATE KEY-----\n"
            "password: hunter2-hunter2"
        }

    with site.answering(logs):
        site.ok(f"logs {machine.metadata.name}")
    file = site.folder / "support.tar.gz"

    said = site.ok(f"support-bundle --file {file}")

    assert "Look inside" in said.err
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    files = contents(file)
    assert {"clusters.json", "machines.json", "gateways.json", "events.json", "cli.json"} <= {
        Path(name).name for name in files
    }
    everything = "\n".join(files.values())
    assert "demo" in files["moorage-support/clusters.json"]
    for secret in (
        VCENTER_PASSWORD,
        site.config.read_text().split("token: ")[1].split()[0],
        site.admin_password.read_text().strip(),
        "hunter2",
        "MHc",
    ):
        assert secret not in everything
    assert "PRIVATE KEY" not in everything
    assert not re.search(r'"(ciphertext|wrapped)": "[^"]', everything)
    assert GATEWAY in everything


def contents(file: Path) -> dict[str, str]:
    """Return name -> text of the files of a bundle, all of which are JSON."""
    found = {}
    with tarfile.open(file) as bundle:
        for member in bundle.getmembers():
            opened = bundle.extractfile(member)
            assert opened is not None
            found[member.name] = opened.read().decode()
            json.loads(found[member.name])
    return found

"""Log in and out; what is kept on the user's machine, and who may read it."""

import stat
from datetime import timedelta
from pathlib import Path

import pytest
import yaml

from moorage.kit.seal import PrivateSealingKey
from tests.cli.world import RECOVERY, World


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def stored(world: World) -> dict[str, object]:
    found: dict[str, object] = yaml.safe_load(world.config.read_text())
    return found


def test_login_is_remembered_in_a_file_of_its_owner(world: World) -> None:
    world.log_in()

    assert mode(world.config) == 0o600
    assert mode(world.config.parent) == 0o700
    assert [p.name for p in world.config.parent.iterdir()] == ["config.yaml"]
    me = world.ok("whoami").data
    assert me["username"] == "admin"
    assert me["credential"].startswith("session:")


def test_the_recovery_key_is_made_once_and_pinned(world: World) -> None:
    world.log_in()

    file = world.folder / RECOVERY
    assert mode(file) == 0o600
    public = PrivateSealingKey.from_pem(file.read_text()).public().pem
    context = stored(world)["contexts"]["127.0.0.1"]  # type: ignore[index]
    assert context["recoveryKey"] == public

    again = world.ok(
        f"login {world.hub.url} --ca-file {world.ca} --password-file {world.admin_password} "
        f"--recovery-key-file {world.folder}/second.pem --name other"
    )

    assert "recovery key" not in again.err
    assert not (world.folder / "second.pem").exists()
    assert stored(world)["contexts"]["other"]["recoveryKey"] == public  # type: ignore[index]


def test_without_a_file_the_recovery_key_is_shown_on_stderr(world: World) -> None:
    said = world.ok(
        f"login {world.hub.url} --ca-file {world.ca} --password-file {world.admin_password}"
    )

    assert "shown only once" in said.err
    assert "BEGIN PRIVATE KEY" in said.err
    assert "PRIVATE KEY" not in world.config.read_text()


def test_an_existing_file_is_not_written_over_by_the_recovery_key(world: World) -> None:
    file = world.file("precious", "mine")

    told = world.refused(
        f"login {world.hub.url} --ca-file {world.ca} --password-file {world.admin_password} "
        f"--recovery-key-file {file}",
        code=2,
    )

    assert "never written over" in told
    assert Path(file).read_text() == "mine"


def test_another_recovery_key_than_the_pinned_one_is_refused(world: World) -> None:
    world.log_in()
    config = stored(world)
    other = PrivateSealingKey.generate().public().pem
    config["contexts"]["127.0.0.1"]["recoveryKey"] = other  # type: ignore[index]
    world.config.write_text(yaml.safe_dump(config))

    told = world.refused(
        f"login {world.hub.url} --ca-file {world.ca} --password-file {world.admin_password}"
    )

    assert "another recovery key" in told
    assert stored(world)["contexts"]["127.0.0.1"]["recoveryKey"] == other  # type: ignore[index]


def test_a_viewer_makes_no_recovery_key(world: World) -> None:
    world.log_in()
    world.ok("users add bob", "--password-file", world.file("bob", "correct horse battery"))
    world.hub.do(world.hub.store.set_value("recovery-key", ""))

    said = world.ok(
        f"login {world.hub.url} -u bob --ca-file {world.ca} --name bob "
        f"--password-file {world.folder}/bob"
    )

    assert "RECOVERY" not in said.err
    assert "recoveryKey" not in stored(world)["contexts"]["bob"]  # type: ignore[index]


def test_a_wrong_password_is_told(world: World) -> None:
    wrong = world.file("wrong", "not the password")

    told = world.refused(f"login {world.hub.url} --ca-file {world.ca} --password-file {wrong}")

    assert "user name or password is wrong" in told
    assert not world.config.exists()


def test_a_hub_with_another_ca_is_refused(world: World) -> None:
    told = world.refused(f"login {world.hub.url} --password-file {world.admin_password}")

    assert world.hub.url in told
    assert "certificate" in told
    assert "--ca-file" in told
    assert "PRIVATE" not in told
    assert not world.config.exists()


def test_an_unreachable_hub_is_named(world: World) -> None:
    world.log_in()
    world.hub.stop()

    told = world.refused("clusters list")

    assert world.hub.url in told
    assert "does not answer" in told


def test_an_expired_session_says_how_to_begin_another(world: World) -> None:
    world.log_in()
    world.hub.clock.shift = timedelta(hours=13)

    told = world.refused("clusters list")

    assert "expired" in told
    assert f"moorage login {world.hub.url}" in told


def test_without_a_login_the_remedy_is_told(world: World) -> None:
    assert "moorage login" in world.refused("clusters list")


@pytest.mark.parametrize("address", ["http://hub", "hub.example.com", "https://hub/path"])
def test_an_address_that_is_none_is_refused(world: World, address: str) -> None:
    told = world.refused(f"login {address} --password-file {world.admin_password}", code=2)

    assert address in told
    assert "https://host[:port]" in told


def test_an_empty_password_is_not_sent(world: World) -> None:
    told = world.refused(f"login {world.hub.url} --ca-file {world.ca}", code=2, stdin="")

    assert "--password-file" in told


def test_logout_ends_the_session_and_forgets_it(world: World) -> None:
    world.log_in()
    token = stored(world)["contexts"]["127.0.0.1"]["token"]  # type: ignore[index]

    world.ok("logout")

    assert token not in world.config.read_text()
    world.refused("whoami")
    assert not world.hub.do(world.hub.store.get_value("nothing"))


def test_logout_forgets_also_when_the_hub_is_away(world: World) -> None:
    world.log_in()
    world.hub.stop()

    said = world.ok("logout")

    assert "forgotten here only" in said.err
    assert stored(world).get("contexts") == {}


def test_ones_own_password_is_changed(world: World) -> None:
    world.log_in()
    new = world.file("new", "a new and long password")

    world.ok(f"passwd --current-file {world.admin_password} --new-file {new}")

    assert not world.admin_password.exists()  # the hub takes the set-up password away
    world.ok("whoami")
    world.ok(f"login {world.hub.url} --ca-file {world.ca} --password-file {new}")


def test_a_broken_configuration_is_named(world: World) -> None:
    world.log_in()
    world.config.write_text("contexts: [")

    assert str(world.config) in world.refused("whoami", code=2)


def test_contexts_are_listed_and_chosen(world: World) -> None:
    world.log_in()
    world.ok(
        f"login {world.hub.url} --ca-file {world.ca} --password-file {world.admin_password} "
        "--name second"
    )

    assert [c["name"] for c in world.ok("contexts list").data if c["current"]] == ["second"]
    world.ok("contexts use 127.0.0.1 --default-project shop")
    (current,) = [c for c in world.ok("contexts list").data if c["current"]]

    assert (current["name"], current["project"]) == ("127.0.0.1", "shop")
    assert "*" in world.ok("contexts list -o table").out
    assert world.ok("whoami --context second").data["username"] == "admin"
    assert "known: 127.0.0.1, second" in world.refused("contexts use nowhere", code=2)
    assert "nowhere" in world.refused("whoami --context nowhere", code=2)

"""Roles, teams, service accounts, sessions and second factors from the command line."""

from moorage.auth import new_totp_secret, recovery_hash
from moorage.store.totp import begin_totp, confirm_totp
from tests.api.test_second_factor import code_of
from tests.cli.world import World

PASSWORD = "correct horse battery"


def test_roles_are_given_shown_and_taken(world: World) -> None:
    world.log_in()
    password = world.file("bob", PASSWORD)
    world.ok("projects add shop")
    world.ok(f"users add bob --in-project shop --role cluster-viewer --password-file {password}")

    world.ok("users grant bob cluster-admin --in-project shop --selector env=dev")
    assert "cluster-admin of shop where env=dev" in world.ok("users list -o table").out
    assert "cluster-admin" in world.ok("roles list -o table").out
    assert "clusters.update" in world.ok("roles show cluster-editor -o table").out
    told = world.ok("roles who-can clusters.delete --in-project shop -o table").out
    assert "bob" in told
    assert "where env=dev" in told
    world.ok("users revoke bob cluster-admin --in-project shop --selector env=dev")
    assert "bob" not in world.ok("roles who-can clusters.delete --in-project shop -o table").out
    assert "does not have" in world.refused("users revoke bob tenant-admin", code=2)


def test_own_roles_and_teams(world: World) -> None:
    world.log_in()
    password = world.file("bob", PASSWORD)
    world.ok("projects add shop")
    world.ok(f"users add bob --in-project shop --password-file {password}")
    assert "clusters.get" in world.ok("roles permissions -o table").out

    world.ok("roles add scaler clusters.list nodepools.update --description 'Scales'")
    world.ok("teams add ops --member bob --role scaler --in-project shop")
    world.ok("teams grant ops cluster-viewer")
    assert "bob" in world.ok("teams list -o table").out
    world.ok("roles set scaler clusters.list nodepools.update nodepools.get")
    assert "in use" in world.refused("roles delete scaler --yes")

    world.ok(
        f"login {world.hub.url} -u bob --ca-file {world.ca} --name bob --password-file {password}"
    )
    mine = world.ok("roles mine --in-project shop -o table").out
    assert "nodepools.update" in mine
    assert "scaler of shop (team ops)" in mine
    assert "users.list" not in mine

    world.ok("teams remove-member ops bob --context 127.0.0.1")
    assert "no member" in world.refused("teams remove-member ops bob --context 127.0.0.1", code=2)
    assert "nodepools.update" not in world.ok("roles mine --in-project shop -o table").out
    world.ok("teams add-member ops bob --context 127.0.0.1")
    world.ok("teams revoke ops scaler --in-project shop --context 127.0.0.1")
    world.ok("teams delete ops --yes --context 127.0.0.1")
    world.ok("roles delete scaler --yes --context 127.0.0.1")


def test_programs_get_keys_that_may_only_so_much(world: World) -> None:
    world.log_in()
    world.ok("projects add shop")
    world.ok("serviceaccounts add robot --role cluster-viewer --in-project shop")
    key = world.file("robot", world.ok("serviceaccounts create-key robot ci --days 30").out)
    narrow = world.ok("apikeys create narrow --role project-viewer --in-project shop").out

    world.ok(f"login {world.hub.url} --ca-file {world.ca} --api-key-file {key} --name robot")
    assert world.ok("clusters list -p shop").data == []
    assert "there is no project default" in world.refused("clusters list -p default")
    assert "robot" in world.ok("whoami -o table").out
    file = world.file("narrow", narrow)
    world.ok(f"login {world.hub.url} --ca-file {world.ca} --api-key-file {file} --name narrow")
    assert "may not" in world.refused("projects delete shop --yes")

    assert "robot" in world.ok("serviceaccounts list -o table --context 127.0.0.1").out
    world.ok("serviceaccounts delete robot --yes --context 127.0.0.1")
    assert "expired" in world.refused("whoami --context robot")


def test_sessions_are_listed_and_ended(world: World) -> None:
    world.log_in()
    password = world.file("bob", PASSWORD)
    world.ok(f"users add bob --password-file {password}")
    login = f"login {world.hub.url} -u bob --ca-file {world.ca} --password-file {password} --name"
    world.ok(f"{login} one")
    world.ok(f"{login} two")

    listed = world.ok("sessions list").data
    other = next(one["id"] for one in listed if not one["current"])
    assert "127.0.0.1" in world.ok("sessions list -o table").out
    world.ok(f"sessions end {other}")
    assert "expired" in world.refused("whoami --context one")
    assert len(world.ok("sessions list --user bob --context 127.0.0.1").data) == 1
    world.ok("sessions end --user bob --context 127.0.0.1")
    assert "expired" in world.refused("whoami --context two")
    assert "say which" in world.refused("sessions end --context 127.0.0.1", code=2)


def test_a_login_asks_for_the_code_of_the_app(world: World) -> None:
    world.log_in()
    password = world.file("bob", PASSWORD)
    world.ok(f"users add bob --password-file {password}")
    login = f"login {world.hub.url} -u bob --ca-file {world.ca} --password-file {password}"
    world.ok(f"{login} --name bob")
    wrong = world.cli(f"second-factor enable --password-file {password}", stdin="000000\n")
    assert wrong.code == 2
    assert "otpauth://totp/" in wrong.err
    assert "clock" in wrong.err
    world.ok(f"{login} --name still-without")

    secret, spare = new_totp_secret(), world.file("spare", "spare-code")
    store, hashes = world.hub.store, [recovery_hash("spare-code"), recovery_hash("another")]
    world.hub.do(begin_totp(store, "bob", secret))
    assert world.hub.do(confirm_totp(store, "bob", step=0, recovery=hashes))
    assert "wrong" in world.refused(f"{login} --name with", stdin="000000\n")
    world.ok(f"{login} --name with", stdin=f"{code_of(secret, world.hub.clock.now())}\n")
    world.ok(f"second-factor disable --password-file {password} --code-file {spare}")
    world.ok(f"{login} --name without")

    world.hub.do(begin_totp(store, "bob", secret))
    assert world.hub.do(confirm_totp(store, "bob", step=0, recovery=[]))
    world.ok("second-factor reset bob --context 127.0.0.1")
    world.ok(f"{login} --name again")

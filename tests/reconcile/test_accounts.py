"""Sessions of several processes: each has its own, and a wrong password is tried once by all."""

from moorage.kit.seal import seal
from moorage.resources import CloudAccount, Secret
from moorage.resources.account import SecretSpec, credential_context
from tests.reconcile.conftest import INSTALLATION, World


def logins(world: World) -> int:
    found: int = world.vcenter.control.counters()["calls"].get("Login", 0)
    return found


async def give_password(world: World, account: CloudAccount, password: str) -> None:
    sealed = seal(
        password.encode(),
        [world.sealing.public()],
        credential_context(INSTALLATION, account.metadata.name, account.spec),
    )
    secret = await world.store.get(Secret, "", account.spec.secret)
    secret.spec = SecretSpec(gateway="site-a", sealed=sealed)
    await world.ask(secret)


async def seen_by_the_next_process(world: World) -> CloudAccount:
    await world.stop()
    await world.start()
    asked = await world.ask(await world.store.get(CloudAccount, "", "lab"))
    (found,) = await world.until(
        CloudAccount,
        lambda a: a[0].status.observed_generation == asked.metadata.generation,
        "the next process has looked at the account",
    )
    return found


async def test_a_refused_login_is_not_tried_again_by_the_next_process(world: World) -> None:
    account = await world.ask_account()
    await world.until(CloudAccount, lambda a: a[0].status.is_true("Ready"), "account is ready")
    await give_password(world, account, "wrong")
    await world.until(
        CloudAccount,
        lambda a: a[0].status.login is not None and not a[0].status.login.accepted,
        "the wrong password is refused",
    )
    tried = logins(world)

    found = await seen_by_the_next_process(world)

    connected = found.status.condition("Connected")
    assert connected is not None
    assert connected.reason == "Forbidden"
    assert "refused the login" in connected.message
    assert logins(world) == tried
    await give_password(world, account, world.vcenter.password)
    await world.until(CloudAccount, lambda a: a[0].status.is_true("Ready"), "account is ready")


async def test_a_new_process_logs_in_once_with_what_was_accepted(world: World) -> None:
    await world.ask_account()
    await world.until(CloudAccount, lambda a: a[0].status.is_true("Ready"), "account is ready")
    tried = logins(world)

    found = await seen_by_the_next_process(world)

    assert found.status.login is not None
    assert found.status.login.accepted
    assert logins(world) == tried + 1

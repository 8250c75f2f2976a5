"""One client for each cluster, renewed with its certificate."""

from datetime import timedelta

import pytest

from moorage.kit.clock import FakeClock
from moorage.kube import Credentials, KubePool

from .certificates import a_pki, credentials_of

ONE, OTHER = "https://127.0.0.1:1", "https://127.0.0.1:2"


class Issuer:
    """Gives credentials for a day by the test's clock, and counts."""

    def __init__(self, clock: FakeClock) -> None:
        self.clock = clock
        self.made = 0

    def __call__(self) -> Credentials:
        self.made += 1
        real = credentials_of(a_pki())
        expires_at = self.clock.now() + timedelta(hours=24)
        return Credentials(real.ca, real.certificate, real.key, expires_at)


async def test_client_is_kept_until_two_thirds_of_its_time() -> None:
    clock = FakeClock()
    pool, issuer = KubePool(clock=clock), Issuer(clock)

    first = await pool.client("u", ONE, issuer)
    clock.advance(timedelta(hours=15))
    assert await pool.client("u", ONE, issuer) is first
    clock.advance(timedelta(hours=2))
    second = await pool.client("u", ONE, issuer)

    assert second is not first
    assert issuer.made == 2
    await pool.aclose()


async def test_requests_under_way_survive_a_renewal() -> None:
    clock = FakeClock()
    pool, issuer = KubePool(clock=clock), Issuer(clock)
    clients = []

    for _ in range(3):
        clients.append(await pool.client("u", ONE, issuer))
        clock.advance(timedelta(hours=20))

    assert [client._transport.is_closed for client in clients] == [True, False, False]
    await pool.aclose()


async def test_another_server_means_another_client() -> None:
    clock = FakeClock()
    pool, issuer = KubePool(clock=clock), Issuer(clock)

    first = await pool.client("u", ONE, issuer)
    second = await pool.client("u", OTHER, issuer)

    assert (first.server, second.server) == (ONE, OTHER)
    await pool.aclose()


@pytest.mark.parametrize("end", ["forget", "aclose"])
async def test_connections_are_closed_at_the_end(end: str) -> None:
    clock = FakeClock()
    pool, issuer = KubePool(clock=clock), Issuer(clock)
    first = await pool.client("u", ONE, issuer)
    clock.advance(timedelta(hours=20))
    second = await pool.client("u", ONE, issuer)

    await (pool.forget("u") if end == "forget" else pool.aclose())
    await pool.forget("u")

    assert [c._transport.is_closed for c in (first, second)] == [True, True]


async def test_a_clock_that_is_set_back_lets_no_certificate_run_out() -> None:
    clock = FakeClock()
    pool, issuer = KubePool(clock=clock), Issuer(clock)

    await pool.client("u", ONE, issuer)
    clock.set(-timedelta(days=3))
    clock.advance(timedelta(hours=17))
    await pool.client("u", ONE, issuer)

    assert issuer.made == 2
    await pool.aclose()

"""Addresses that are free in their pool and used by somebody else all the same."""

from collections.abc import Iterable, Mapping
from dataclasses import replace

import anyio

from moorage.controllers.gateway.addresses.users import user_of
from moorage.controllers.gateway.env import Env
from moorage.controllers.gateway.placement.place import targets_of_cluster
from moorage.planning import Choice, GivenAddress
from moorage.resources import Cluster, IPPool
from moorage.resources.spans import Address
from moorage.vsphere import Target

_ASKED_AT_A_TIME = 32


class OthersAddresses:
    """Which addresses somebody else uses: asked of vCenter, or the network, once for each."""

    def __init__(self, cluster: Cluster, env: Env) -> None:
        self._cluster, self._env = cluster, env
        self._targets = {name: target for name, _, target in targets_of_cluster(cluster)}
        self._used: dict[GivenAddress, bool] = {}

    def left_out(self, pool: str) -> set[Address]:
        """Return those of a pool that were found to be used."""
        return {one.address for one, used in self._used.items() if used and one.pool == pool}

    def open_questions(
        self, pools: Mapping[str, IPPool], choice: Choice
    ) -> list[tuple[GivenAddress, str]]:
        """Return the addresses to ask about, each with a failure domain that it would be in.

        Most need no question: no VM in memory reports them, and their pool does not probe.
        """
        vcenter = self._env.accounts.get(self._cluster.spec.account)
        chosen = [(one, new.place.domain) for new in choice.create for one in new.place.addresses]
        if choice.endpoint is not None:
            chosen.append((choice.endpoint, next(iter(self._targets))))
        return [
            (given, domain)
            for given, domain in chosen
            if given not in self._used
            and (
                pools[given.pool].spec.probe
                or (vcenter is not None and vcenter.addresses.is_seen(str(given.address)))
            )
        ]

    def _target_of(self, domain: str, pool: str) -> Target:
        """Return a failure domain with the network of the card that has addresses of a pool."""
        cards = self._cluster.spec.failure_domain(domain).cards()
        network = next(network for network, pools in cards if pool in pools)
        return replace(self._targets[domain], network=network)

    async def ask(
        self, pools: Mapping[str, IPPool], questions: Iterable[tuple[GivenAddress, str]]
    ) -> None:
        """Find the answers. It reaches the network, so never in a transaction."""
        turns, account = anyio.CapacityLimiter(_ASKED_AT_A_TIME), self._cluster.spec.account

        async def judge(given: GivenAddress, domain: str) -> None:
            async with turns:
                target = self._target_of(domain, given.pool)
                asked = user_of(self._env, [pools[given.pool]], account, target, "")
                self._used[given] = await asked(given.address) is not None

        async with anyio.create_task_group() as tasks:
            for given, domain in questions:
                tasks.start_soon(judge, given, domain)

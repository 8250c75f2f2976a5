"""What each replica knows and holds for itself: the index, and a session with each vCenter.

The passes of a key may run on any replica, so what one of them opened or learned is of no use to
the others. Every replica follows the changes of the store instead. It logs in only with what
vCenter has accepted from the replica that held the account's lease: a wrong password is tried
once, not once by each.
"""

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final

import anyio
import structlog
from anyio.abc import TaskGroup, TaskStatus

from moorage.controllers.gateway.env import Env
from moorage.engine.store import Changes
from moorage.kit.errors import ForbiddenError, MoorageError, UnavailableError
from moorage.resources import CloudAccount, Secret
from moorage.resources.account import credentials_digest
from moorage.resources.meta import GATEWAY_FINALIZER

log = structlog.get_logger(__name__)

_PATIENCE_S: Final = 5.0
"""For vCenters that are slow to answer: work on all others must not wait for them."""
_RETRY_S: Final = 2.0


class Keeper:
    """Follows the store's changes for as long as ``run`` runs."""

    def __init__(self, env: Env) -> None:
        self._env = env

    async def run(self, *, task_status: TaskStatus[None]) -> None:
        """Work until cancelled.

        It counts as started when everything is known, and the vCenters that are known to be good
        were called, if they answer soon: passes that run before would only wait for them.
        """
        async with self._env.store.watch() as changes, anyio.create_task_group() as tasks:
            await _persist(partial(self._env.index.load, self._env.store))
            with anyio.move_on_after(_PATIENCE_S):
                await self._open_all(tasks)
            task_status.started()
            await self._follow(changes, tasks)

    async def _open_all(self, tasks: TaskGroup) -> None:
        """Look at all accounts; what takes longer than the caller's patience goes on."""
        ends = []
        for key in sorted(self._env.index.accounts):
            ended = anyio.Event()
            tasks.start_soon(self._look, key, ended)
            ends.append(ended)
        for ended in ends:
            await ended.wait()

    async def _follow(self, changes: Changes, tasks: TaskGroup) -> None:
        async for change in changes:
            if change.is_resync:
                await _persist(partial(self._env.index.load, self._env.store))
                for key in self._env.index.accounts:
                    tasks.start_soon(self._look, key)
                continue
            self._env.index.learn(change)
            match change.kind:
                case "CloudAccount":
                    tasks.start_soon(self._look, change.key)
                case "ClusterKeys" if change.deleted:
                    tasks.start_soon(self._env.access.forget, change.owner_uid)
                case "Machine" if change.deleted:
                    self._env.leaving.pop(change.uid, None)
                    self._env.access.outdate_nodes(change.owner_uid)

    async def _look(self, key: str, ended: anyio.Event | None = None) -> None:
        """Open or close the session of an account, if it is time to."""
        try:
            await _persist(partial(self._keep_session, key))
        finally:
            if ended is not None:
                ended.set()

    async def _keep_session(self, key: str) -> None:
        env = self._env
        project, _, name = key.partition("/")
        account = await env.store.find(CloudAccount, project, name)
        if account is None or (
            account.is_deleting and GATEWAY_FINALIZER not in account.metadata.finalizers
        ):
            await env.accounts.forget(name)
            return
        password = await self._accepted_password(account)
        if password is None:
            return
        try:
            await env.accounts.ensure(account, password)
        except MoorageError as error:  # the session goes on trying by itself
            log.info("vcenter not connected", account=name, error=str(error))

    async def _accepted_password(self, account: CloudAccount) -> str | None:
        """Return the password, if vCenter has accepted it from whoever tried it first."""
        login = account.status.login
        if account.is_deleting or login is None or not login.accepted:
            return None
        secret = await self._env.store.find(Secret, "", account.spec.secret)
        if secret is None or credentials_digest(account, secret) != login.credentials:
            return None
        try:
            return self._env.vault.open_password(account, secret)
        except ForbiddenError:
            return None  # the account's own pass says so


async def _persist(attempt: Callable[[], Awaitable[None]]) -> None:
    """Repeat until the store answers: what was heard must not be forgotten."""
    while True:
        try:
            await attempt()
        except UnavailableError as error:
            log.warning("store cannot be read", error=str(error), retry_s=_RETRY_S)
            await anyio.sleep(_RETRY_S)
        else:
            return

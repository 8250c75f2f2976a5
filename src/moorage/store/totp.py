"""Second factors of users: who has one, and that no code is used twice."""

import json
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import delete, select, update

from moorage.store import tables
from moorage.store.operations import SqlOperations

_T = tables.totp.c


class Totp(NamedTuple):
    """A second factor; it counts once it is confirmed."""

    user: str
    secret: str
    """Base32; shared with the user's app."""
    confirmed_at: datetime | None
    step: int
    """Newest time step whose code was used; 0: none."""
    recovery: str
    """JSON list of the hashes of recovery codes that are left."""

    def recovery_hashes(self) -> list[str]:
        """Return the hashes of the recovery codes that are left."""
        return list(json.loads(self.recovery))


async def find_totp(store: SqlOperations, user: str) -> Totp | None:
    """Return a user's second factor, confirmed or not."""
    async with store.reading() as unit:
        row = (await unit.execute(select(tables.totp).where(_T.user == user))).first()
    return None if row is None else Totp._make(row)


async def begin_totp(store: SqlOperations, user: str, secret: str) -> None:
    """Store a secret that has to be confirmed, over an earlier one that was not."""
    new = {"secret": secret, "confirmed_at": None, "step": 0, "recovery": "[]"}
    async with store.writing() as unit:
        statement = unit.insert(tables.totp).values(user=user, **new)
        await unit.execute(
            statement.on_conflict_do_update(
                index_elements=["user"], set_=new, where=_T.confirmed_at.is_(None)
            )
        )


async def confirm_totp(store: SqlOperations, user: str, *, step: int, recovery: list[str]) -> bool:
    """Let the factor count from now on; ``False`` when it does already, or there is none."""
    statement = (
        update(tables.totp)
        .where(_T.user == user, _T.confirmed_at.is_(None))
        .values(confirmed_at=store.clock.now(), step=step, recovery=json.dumps(recovery))
    )
    async with store.writing() as unit:
        return bool((await unit.execute(statement)).rowcount)


async def use_step(store: SqlOperations, user: str, step: int) -> bool:
    """Use the code of a time step up; of two that do so at once, one succeeds."""
    statement = update(tables.totp).where(_T.user == user, _T.step < step).values(step=step)
    async with store.writing() as unit:
        return bool((await unit.execute(statement)).rowcount)


async def use_recovery(store: SqlOperations, found: Totp, hash_: str) -> bool:
    """Use a recovery code up; ``False`` when it is none, or was used meanwhile."""
    left = found.recovery_hashes()
    if hash_ not in left:
        return False
    left.remove(hash_)
    statement = (
        update(tables.totp)
        .where(_T.user == found.user, _T.recovery == found.recovery)
        .values(recovery=json.dumps(left))
    )
    async with store.writing() as unit:
        return bool((await unit.execute(statement)).rowcount)


async def forget_totp(store: SqlOperations, user: str) -> None:
    """Remove a user's second factor."""
    async with store.writing() as unit:
        await unit.execute(delete(tables.totp).where(_T.user == user))

"""The installation's recovery key, as a gateway knows it: pinned on first sight.

What is sealed to the recovery key can be opened by whoever holds its private half. A hub that was
taken over must not be able to put its own key there, so a change is refused until an administrator
of the gateway's machine forgets the old one.
"""

from moorage.engine.store import Store
from moorage.kit.errors import InvalidError
from moorage.kit.seal import PublicSealingKey

_NAME = "link.recoveryKey"


class RecoveryKeys:
    """Reads and pins the recovery key in the gateway's own store."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.pinned: PublicSealingKey | None = None
        """The pinned key; ``None`` until ``load``, and until the hub has told one."""

    async def load(self) -> PublicSealingKey | None:
        """Read what is pinned, perhaps by another replica; the same as ``pinned`` then."""
        text = await self._store.get_value(_NAME)
        self.pinned = PublicSealingKey.from_pem(text) if text else None
        return self.pinned

    async def offer(self, pem: str) -> str | None:
        """Pin the hub's key if none is pinned; returns why it is refused, if it is."""
        try:
            offered = PublicSealingKey.from_pem(pem)
        except InvalidError as error:
            return f"the hub's recovery key cannot be read: {error}"
        await self.load()
        if self.pinned is None:
            await self._store.set_value(_NAME, offered.pem)
            self.pinned = offered
        elif self.pinned.key_id != offered.key_id:
            return (
                f"the hub names recovery key {offered.key_id[:16]}…, but "
                f"{self.pinned.key_id[:16]}… is pinned here: if the change is wanted, stop the "
                "gateway and run `moorage-gateway forget-recovery-key` beside vCenter"
            )
        return None

    async def forget(self) -> None:
        """Take whatever key the hub tells next."""
        await self._store.set_value(_NAME, "")
        self.pinned = None

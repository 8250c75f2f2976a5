"""One vCenter session for each cloud account in this process, shared by all controllers."""

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import sha256
from weakref import WeakValueDictionary

import anyio

from moorage.kit.clock import Clock
from moorage.resources import CloudAccount
from moorage.vsphere import Endpoint, Limits, SessionNote, Turns, VCenter


@dataclass(frozen=True, slots=True)
class _Opened:
    endpoint: Endpoint
    password_digest: bytes
    vcenter: VCenter


@dataclass(slots=True)
class Sessions:
    """Implements the controllers' ``Accounts``."""

    installation: str
    clock: Clock
    on_change: Callable[[frozenset[str]], None]
    """Called from the inventory's thread with the UIDs whose VMs or tasks changed."""
    on_state: Callable[[str], None]
    """Called from the inventory's thread with the account whose connection changed."""
    on_open: Callable[[], None]
    """Called when an account can be used that could not be before."""
    note_for: Callable[[str], SessionNote | None] = lambda _: None
    """Returns where the session of an account is written down, if anywhere."""
    limits: Limits | None = None
    """How much may be asked at a time: clones of each vCenter, calls by each account."""
    _opened: dict[str, _Opened] = field(default_factory=dict)
    _turns: defaultdict[str, anyio.Lock] = field(default_factory=lambda: defaultdict(anyio.Lock))
    """By account: its own pass and the keeper must not open two sessions."""
    _places: WeakValueDictionary[tuple[str, int], Turns] = field(
        default_factory=WeakValueDictionary
    )
    """By address: accounts of one vCenter share what may be cloned there at a time."""

    async def ensure(self, account: CloudAccount, password: str) -> VCenter:
        """Return the account's vCenter, logging in (again) when address or password changed."""
        name = account.metadata.name
        endpoint = _endpoint(account)
        digest = sha256(password.encode()).digest()
        async with self._turns[name]:
            opened = self._opened.get(name)
            if opened and (opened.endpoint, opened.password_digest) != (endpoint, digest):
                await self._close(name)
                opened = None
            if opened is None:
                where = endpoint.host.lower(), endpoint.port
                turns = self._places.get(where) or Turns(
                    self.limits or Limits(), self.on_change, endpoint.server
                )
                self._places[where] = turns
                vcenter = await VCenter.connect(
                    endpoint,
                    password,
                    installation=self.installation,
                    on_change=self.on_change,
                    on_state=lambda: self.on_state(name),
                    limits=self.limits,
                    clock=self.clock,
                    note=self.note_for(name),
                    rest_note=self.note_for(f"{name}/rest"),  # no account has such a name
                    turns=turns,
                )
                vcenter.health.set_read_only(read_only=account.spec.read_only)
                opened = self._opened[name] = _Opened(endpoint, digest, vcenter)
                # The inventory may have been complete, and have told of it, before this.
                self.on_open()
            elif opened.vcenter.health.is_read_only is not account.spec.read_only:
                opened.vcenter.health.set_read_only(read_only=account.spec.read_only)
                if not account.spec.read_only:
                    self.on_open()  # wakes what waited
        opened.vcenter.check()
        return opened.vcenter

    def get(self, name: str) -> VCenter | None:
        """Return the vCenter of an account that is in use, else ``None``."""
        opened = self._opened.get(name)
        return opened.vcenter if opened else None

    async def forget(self, name: str) -> None:
        """Log out."""
        async with self._turns[name]:
            await self._close(name)

    async def close(self) -> None:
        """Log out everywhere; nothing else may use the sessions any more."""
        for name in list(self._opened):
            await self._close(name)

    async def _close(self, name: str) -> None:
        opened = self._opened.pop(name, None)
        if opened is not None:
            await opened.vcenter.close()


def _endpoint(account: CloudAccount) -> Endpoint:
    spec = account.spec
    return Endpoint(spec.server, spec.username, spec.trust, account.status.certificate)

"""What every request may use. Made once at start; handed on, never global."""

from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import anyio

from moorage.auth import LoginThrottle, RequestQuota
from moorage.hub.alerting.sending import Ways
from moorage.hub.listen import REQUESTS_PER_MINUTE
from moorage.hub.vouching import keep_trail
from moorage.kit.clock import Clock, SystemClock
from moorage.kit.errors import UnavailableError
from moorage.store import SqlStore, access, alerts, events, idempotency


@dataclass(frozen=True, slots=True)
class HubSettings:
    """How this hub was started."""

    data: Path | None = None
    """Directory of keys and, with SQLite, the database."""
    admin_password_file: Path | None = None
    """Where the first start finds admin's set-up password; ``None`` lets it make one."""
    public_url: str = "https://localhost"
    """Where clients and gateways reach this hub: part of the commands that it prints."""
    ca_certificate: str | None = None
    """PEM of the self-made CA; ``None`` when the certificate was given."""
    ca_fingerprint: str | None = None
    """``sha256:…`` of it, which gateways and the CLI pin."""
    session_lifetime: timedelta = timedelta(hours=12)
    watch_lifetime: timedelta = timedelta(hours=1)
    bookmark_every: timedelta = timedelta(seconds=15)
    max_body_bytes: int = 1024 * 1024
    certificate: Path | None = None
    """The server's certificate, if it was given; the hub renews its own by itself."""
    ways: Ways = field(default_factory=Ways)
    """How alerts are sent."""
    audit_kept_for: timedelta | None = timedelta(days=365)
    """How long audit entries are kept at least; ``None``: for ever."""
    requests_per_minute: int = REQUESTS_PER_MINUTE
    """Of one user, and of one API key; 0: no limit."""

    @property
    def initial_password_file(self) -> Path | None:
        """Where the first administrator's set-up password stands until it is changed."""
        return self.data / "initial-admin-password" if self.data else None


@dataclass(slots=True)
class Hub:
    """Store, settings and the few things that live as long as the process."""

    store: SqlStore
    settings: HubSettings
    installation: str
    incarnation: str
    clock: Clock = field(default_factory=SystemClock)
    throttle: LoginThrottle = field(init=False)
    quota: RequestQuota = field(init=False)
    password_slots: anyio.CapacityLimiter = field(init=False)
    """Each verification takes 19 MiB and a core: no more than two at once."""
    stopping: anyio.Event = field(default_factory=anyio.Event)
    """Set when the hub shuts down: streams end then."""

    def __post_init__(self) -> None:
        self.throttle = LoginThrottle(self.clock)
        self.quota = RequestQuota(self.clock, self.settings.requests_per_minute)
        self.password_slots = anyio.CapacityLimiter(2)

    async def check_ready(self) -> None:
        """Raise ``UnavailableError`` unless requests can be served."""
        if self.stopping.is_set():
            raise UnavailableError("the hub is stopping")
        with anyio.move_on_after(5) as scope:
            await self.store.version()
        if scope.cancelled_caught:
            raise UnavailableError("the database does not answer")

    async def full_disk(self) -> str | None:
        """Say what a write came back with for want of room, if the last one did.

        Then one is tried: there may be room again, and nobody may have written since.
        """
        if self.store.wellbeing.full is not None:
            with suppress(UnavailableError):
                await self.store.set_value("healthz", self.clock.now().isoformat())
        return self.store.wellbeing.full

    async def prune(self) -> None:
        """Forget what has expired or is old; vouch for the audit trail once a day."""
        await access.sweep(self.store)
        await events.prune(self.store)
        await idempotency.sweep(self.store)
        await alerts.prune(self.store)
        await keep_trail(self.store, self.settings, self.installation)

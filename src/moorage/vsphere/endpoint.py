"""Where a vCenter is, and who logs in."""

from dataclasses import dataclass, field

from moorage.resources.account import Trust


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A vCenter, who logs in, and how its certificate is verified."""

    server: str
    """``host`` or ``host:port``."""
    username: str
    trust: Trust = field(default_factory=Trust)
    certificate: str | None = field(default=None, compare=False)
    """Fingerprint that it showed when it was last accepted, if that is known: for texts."""

    @property
    def host(self) -> str:
        """Host name or address, without brackets."""
        return self._split()[0]

    @property
    def port(self) -> int:
        """443 unless the server says otherwise."""
        return self._split()[1]

    def _split(self) -> tuple[str, int]:
        if self.server.startswith("["):
            host, _, rest = self.server[1:].partition("]")
            return host, int(rest[1:]) if rest.startswith(":") else 443
        host, colon, port = self.server.partition(":")
        return host, int(port) if colon else 443

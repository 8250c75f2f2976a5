"""Where the hub listens and keeps its data: what its command line checks before it is loaded."""

import socket
from typing import NamedTuple

from moorage.kit.errors import FieldFault, InvalidError, UnavailableError

DATABASE = "hub.db"
"""Name of the SQLite file in the data directory."""
REQUESTS_PER_MINUTE = 12_000
"""Of one caller: far more than people and scripts need; it stops what runs away."""


class Listen(NamedTuple):
    """Address and port to listen on; port 0 lets the system choose."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> "Listen":
        """Read ``host:port`` or ``[v6]:port``; raises ``InvalidError``."""
        host, colon, port = text.rpartition(":")
        if not colon or not port.isdigit() or int(port) > 65535:  # noqa: PLR2004
            raise InvalidError(
                f"cannot listen on {text!r}",
                (FieldFault("listen", "give address:port, such as 0.0.0.0:443 or [::]:443"),),
            )
        return cls(host.strip("[]") or "0.0.0.0", int(port))  # noqa: S104 - a server's default

    def bind(self) -> socket.socket:
        """Return a bound socket that nobody can connect to yet; raises ``UnavailableError``."""
        made = socket.socket(socket.AF_INET6 if ":" in self.host else socket.AF_INET)
        try:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if made.family == socket.AF_INET6:
                made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, int(self.host != "::"))
            made.bind((self.host, self.port))
        except OSError as error:
            made.close()
            raise UnavailableError(
                f"cannot listen on {self.host}:{self.port}: {error.strerror or error}; stop what "
                "listens there, or give another --listen"
            ) from error
        return made

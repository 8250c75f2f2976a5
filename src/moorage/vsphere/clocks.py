"""Does our wall clock agree with vCenter's? Told by each login, and asked when there is doubt."""

import anyio
from pyVmomi import vim

from moorage.kit.skew import SKEW_LIMIT, describe_skew
from moorage.vsphere.session import Session

_TRUST_S = 3600.0
"""How long what vCenter said is good: its own clock may be set too, and steady ones drift."""
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 5.0, 60.0
"""Between two questions while the clocks disagree."""


class Clocks:
    """Compares two clocks at the cost of one call an hour, and only when somebody wants to know."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._peer = session.peer_clock
        self._turn = anyio.Lock()
        self._pause_s = _FIRST_PAUSE_S

    async def disagreement(self) -> str | None:
        """Say how far the clocks are apart and what to do; ``None`` if that is near enough.

        What is remembered is asked once more before it is believed that they disagree, and then
        every minute, because it may be vCenter's clock that is mended.

        Raises:
            UnavailableError: vCenter had to be asked, and did not answer.
        """
        if self._is_doubtful():
            async with self._turn:  # one question for all who want to know
                if self._is_doubtful():
                    await self.ask()
        if not self._peer.is_skewed:
            self._pause_s = _FIRST_PAUSE_S
            return None
        where = f"vCenter {self._session.endpoint.host}'s"
        return (
            f"{describe_skew(self._peer.skew(), 'the clock of this gateway', where)} "
            f"({SKEW_LIMIT.total_seconds():.0f} s are allowed); compare `date -u` on both, and let "
            "both, and the hosts, follow NTP: then it goes on by itself"
        )

    def _is_doubtful(self) -> bool:
        if self._peer.heard_at is None:
            return True
        age = self._peer.clock.steady() - self._peer.heard_at
        return age > (self._pause_s if self._peer.is_skewed else _TRUST_S)

    async def ask(self) -> None:
        """Ask vCenter for its time now, which is the least that it can be asked."""
        asked = self._peer.clock.steady()
        root = self._session.ref(vim.ServiceInstance, "ServiceInstance")
        told = await self._session.call("compare clocks", root.CurrentTime)
        self._peer.heard(told, since=asked)
        longer = min(self._pause_s * 2, _LONGEST_PAUSE_S)
        self._pause_s = longer if self._peer.is_skewed else _FIRST_PAUSE_S

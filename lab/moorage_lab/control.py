"""Client of lab-vcenter's control socket: counters, inventory, events, faults, restarts."""

from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx2

from moorage_lab.control_administration import Administration
from moorage_lab.control_ledger import Ledger
from moorage_lab.errors import LabError, NotRunningError


def unix_client(socket: Path, *, timeout_s: float = 30.0) -> httpx2.Client:
    """An HTTP client whose every request goes to one Unix socket."""
    return httpx2.Client(
        transport=httpx2.HTTPTransport(uds=str(socket)),
        base_url="http://lab",
        timeout=timeout_s,
        trust_env=False,
    )


class Control(Administration):
    """What tests may ask of the simulated vCenter behind its back. Blocking."""

    def __init__(self, socket: Path) -> None:
        self.socket = socket
        self._client = unix_client(socket)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        self._client.close()

    def counters(self) -> dict[str, Any]:
        """Calls by method, sessions, connections and stream returns since the last reset."""
        answer: dict[str, Any] = self._call("GET", "/counters")
        return answer

    def reset_counters(self) -> None:
        self._call("POST", "/counters/reset")

    def inventory(self) -> dict[str, Any]:
        """The vCenter's objects as plain data, made from the simulator's own: the witness."""
        answer: dict[str, Any] = self._call("GET", "/inventory")
        return answer

    def ledger(self) -> Ledger:
        """All that was made and destroyed since the start, for oracles."""
        return Ledger.of(self._call("GET", "/ledger"))

    def events(self) -> Any:
        return self._call("GET", "/events")

    def restart(self, seconds: float = 20) -> None:
        """Close the port for some seconds; sessions, version tokens and tasks are lost."""
        self._call("POST", "/restart", params={"seconds": f"{seconds:g}"})

    def report_tools(self, bios_uuid: str, nics: dict[str, list[str]]) -> None:
        """Have a VM's tools report addresses; ``nics`` is MAC -> addresses."""
        body = {
            "hostName": "",
            "toolsRunning": True,
            "nics": [{"mac": mac, "ips": ips} for mac, ips in nics.items()],
        }
        self._call("PUT", f"/guest/{bios_uuid}/state", json=body)

    def expire_sessions(self) -> None:
        self._call("POST", "/sessions/expire")

    def fault(
        self,
        method: str,
        action: str,
        *,
        fault: str = "",
        count: int = 1,
        after: int = 0,
        seconds: float = 0,
        late: bool = False,
        probability: float = 0,
        seed: int = 0,
        status: int = 0,
        retry_after: int = 0,
    ) -> None:
        """Inject a fault into the next calls of a SOAP method, or of verb and path of REST.

        Args:
            method: Name of the method, such as `CloneVM_Task` or `POST /api/session`.
            action: `dropAnswer`, `fail`, `delay`, `dieBefore`, `truncate`, `stall` or `status`.
            fault: Type of the fault to answer when the action is `fail`.
            count: How many calls it meets.
            after: How many calls pass before the first is met.
            seconds: How long `delay` takes.
            late: The task fails, not the call that starts it.
            probability: Chance of each call that is due; 0 is always. With one, `count` 0 means
                for as long as the fault is not cleared.
            seed: Of the chances: the same seed meets the same calls.
            status: Of HTTP, which `status` answers with a page of HTML; 503 by default.
            retry_after: Seconds for which `status` asks not to be asked again, if any.
        """
        body = {
            "method": method,
            "action": action,
            "fault": fault,
            "count": count,
            "after": after,
            "seconds": seconds,
            "late": late,
            "probability": probability,
            "seed": seed,
            "status": status,
            "retryAfter": retry_after,
        }
        self._call("POST", "/faults", json=body)

    def clear_faults(self) -> None:
        self._call("DELETE", "/faults")

    def is_healthy(self) -> bool:
        try:
            self._call("GET", "/healthz")
        except LabError:
            return False
        return True

    def _call(self, verb: str, path: str, **kwargs: Any) -> Any:
        try:
            answer = self._client.request(verb, path, **kwargs)
        except (httpx2.ConnectError, httpx2.ReadError, httpx2.RemoteProtocolError) as error:
            raise NotRunningError(
                f"{verb} {path} on the vCenter's control socket {self.socket}: {error}. "
                "Is the lab up (moorage-lab status)?"
            ) from error
        except httpx2.HTTPError as error:
            raise LabError(f"{verb} {path} on control socket {self.socket}: {error!r}") from error
        if answer.is_error:
            raise LabError(
                f"{verb} {path} on the vCenter's control socket answered "
                f"{answer.status_code}: {answer.text.strip()}"
            )
        if not answer.content or "json" not in answer.headers.get("content-type", ""):
            return None
        return answer.json()

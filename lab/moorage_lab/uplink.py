"""What guests report goes to vCenter at once, or as soon as vCenter is back.

Reports of one VM are merged while they wait: the last word on each key counts.
"""

import logging
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio
import httpx2

log = logging.getLogger(__name__)

_FIRST_PAUSE_S, _LAST_PAUSE_S = 0.1, 2.0


@dataclass(slots=True)
class _Report:
    guestinfo: dict[str, str] = field(default_factory=dict)
    state: dict[str, Any] | None = None
    power: str | None = None

    def under(self, newer: "_Report") -> "_Report":
        """This report with a newer one's words over it."""
        return _Report(
            guestinfo=self.guestinfo | newer.guestinfo,
            state=self.state if newer.state is None else newer.state,
            power=self.power if newer.power is None else newer.power,
        )


class Uplink:
    """The way from the hypervisor to the vCenter's control socket."""

    def __init__(self, socket: Path) -> None:
        self._socket = socket
        self._waiting: dict[str, _Report] = {}
        self._news = anyio.Event()

    def guestinfo(self, uuid: str, values: dict[str, str]) -> None:
        """The guest wrote guestinfo values."""
        self._add(uuid, _Report(guestinfo=values))

    def state(self, uuid: str, state: dict[str, Any]) -> None:
        """The guest's tools reported name and addresses, or went away."""
        self._add(uuid, _Report(state=state))

    def power(self, uuid: str, power: str) -> None:
        """The VM changed its power state by itself."""
        self._add(uuid, _Report(power=power))

    def forget(self, uuid: str) -> None:
        """The VM is no more."""
        self._waiting.pop(uuid, None)

    def forget_run(self, uuid: str) -> None:
        """Drop what waits of an older run: vCenter itself has changed the VM's power."""
        if (report := self._waiting.get(uuid)) is not None:
            report.state = report.power = None

    def _add(self, uuid: str, report: _Report) -> None:
        self._waiting[uuid] = self._waiting.get(uuid, _Report()).under(report)
        self._news.set()

    async def run(self) -> None:
        """Send what waits, for ever."""
        transport = httpx2.AsyncHTTPTransport(uds=str(self._socket))
        async with httpx2.AsyncClient(
            transport=transport, base_url="http://vcenter", timeout=10, trust_env=False
        ) as client:
            pause = _FIRST_PAUSE_S
            while True:
                await self._news.wait()
                self._news = anyio.Event()
                if await self._send_all(client):
                    pause = _FIRST_PAUSE_S
                else:
                    await anyio.sleep(pause)
                    pause = min(2 * pause, _LAST_PAUSE_S)
                    self._news.set()

    async def _send_all(self, client: httpx2.AsyncClient) -> bool:
        """Send every report; false if some must be sent again."""
        taken, self._waiting = self._waiting, {}
        done = True
        for uuid, report in taken.items():
            if not await self._send(client, uuid, report):
                self._waiting[uuid] = report.under(self._waiting.get(uuid, _Report()))
                done = False
        return done

    async def _send(self, client: httpx2.AsyncClient, uuid: str, report: _Report) -> bool:
        if report.guestinfo and not await self._put(
            client, f"/guest/{uuid}/guestinfo", report.guestinfo
        ):
            return False
        if report.state is not None and not await self._put(
            client, f"/guest/{uuid}/state", report.state
        ):
            return False
        power = {"state": report.power}
        return report.power is None or await self._put(client, f"/guest/{uuid}/power", power)

    async def _put(self, client: httpx2.AsyncClient, path: str, body: dict[str, Any]) -> bool:
        """Send one message. One that vCenter refuses for good is logged and dropped."""
        try:
            answer = await client.put(path, json=body)
        except httpx2.HTTPError as error:
            log.info("vCenter is away, will send %s again: %r", path, error)
            return False
        if answer.is_server_error:
            log.warning("vCenter answered %s to %s: %s", answer.status_code, path, answer.text)
            return False
        if answer.is_error:
            log.warning("vCenter refused %s with %s: %s", path, answer.status_code, answer.text)
        return True

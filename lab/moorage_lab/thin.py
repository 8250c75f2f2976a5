"""Thin guests: VMs of a simulated vCenter that behave like Kubernetes nodes and boot nothing."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any, Literal, Self

import httpx2

from moorage_lab import program
from moorage_lab.control import unix_client
from moorage_lab.errors import LabError
from moorage_lab.program import Progress

Moment = Literal["boot", "cloud-init", "redacted", "address", "kubeadm"]


def find_or_build(progress: Progress = lambda _: None) -> Path:
    """The binary: $MOORAGE_LAB_THIN, or the cache's for these sources, built if missing."""
    return program.find_or_build("lab-thin", "thin", "MOORAGE_LAB_THIN", progress)


@dataclass(frozen=True, slots=True)
class ThinGuest:
    """One machine, as the lab sees it."""

    uuid: str
    name: str
    on: bool
    hung: bool
    phase: str
    """The last word of its boot script, or why nothing runs on it."""
    detail: str
    address: str
    node: str
    """Name of its node once it has joined, else empty."""


class ThinGuests:
    """A running lab-thin: the hypervisor behind one lab-vcenter. Blocking."""

    def __init__(self, socket: Path, network: IPv4Network) -> None:
        self.socket = socket
        self.network = network
        """Of the guests. Its lower half is free for IP pools, DHCP gives from the upper."""
        self._client = unix_client(socket)

    @classmethod
    @contextmanager
    def start(
        cls, directory: Path, control: Path, *, network: str = "", timeout_s: float = 30
    ) -> Iterator[Self]:
        """Run thin guests for the length of a `with` block.

        Args:
            directory: For socket and log.
            control: Control socket of the lab-vcenter, which need not run yet.
            network: An IPv4 network of this machine; by default a free 127.N.0.0/16.
            timeout_s: How long it may take until it listens.

        Raises:
            LabError: It cannot be built or does not start; the text has its last words.
        """
        log_file = directory / "thin.log"
        command = [str(find_or_build()), "--listen", str(directory / "hypervisor.sock")]
        command += ["--control", str(control), "--network", network]
        with program.running(command, log_file) as process:
            said = program.first_line("lab-thin", process, timeout_s, log_file)
            guests = cls(Path(said["socket"]), IPv4Network(said["network"]))
            try:
                yield guests
            finally:
                guests.close()

    def close(self) -> None:
        self._client.close()

    def pool(self, size: int = 4096) -> dict[str, Any]:
        """The fields of an IP pool whose addresses the guests can have."""
        first = self.network.network_address
        return {
            "start": str(first + 10),
            "end": str(first + 9 + size),
            "prefix": self.network.prefixlen,
            "router": str(first + 1),
        }

    def guests(self) -> list[ThinGuest]:
        """Every machine, sorted by name."""
        return [ThinGuest(**one) for one in self._call("GET", "/thin/guests")]

    def settings(self, **seconds: float) -> dict[str, float]:
        """Change how long things take from now on; return all times.

        Known: ``bootSeconds``, ``initSeconds``, ``joinSeconds``, ``readySeconds``,
        ``stopSeconds``, ``graceSeconds``, ``vipSeconds``, ``retrySeconds``.
        """
        answer: dict[str, float] = self._call("PUT", "/thin/settings", json=seconds)
        return answer

    def die(self, name: str) -> None:
        """Let a machine lose its power; vCenter is told."""
        self._call("POST", f"/thin/guests/{self._uuid(name)}/die")

    def hang(self, name: str) -> None:
        """Let a machine fall silent while vCenter sees it powered on, until it is reset."""
        self._call("POST", f"/thin/guests/{self._uuid(name)}/hang")

    def change_lease(self, name: str) -> None:
        """Let the DHCP server give a machine another address."""
        self._call("POST", f"/thin/guests/{self._uuid(name)}/lease")

    def fault(
        self,
        match: str,
        at: Moment,
        action: Literal["fail", "hang"] = "fail",
        *,
        detail: str = "",
        count: int = 1,
    ) -> None:
        """Make boots fail of machines whose names match.

        Args:
            match: Pattern over VM names, such as ``demo-workers-*``.
            at: The moment. ``boot``: it loses power again, or hangs; ``cloud-init``: it reads no
                data; ``redacted``: it loses power when its user data is taken out of guestinfo, and
                not on its disk; ``address``: it gets none; ``kubeadm``: init or join ends with an
                error.
            action: What happens then; ``hang`` at ``boot`` and ``kubeadm`` only.
            detail: The error's text.
            count: How many boots it meets; -1: all.
        """
        body = {"match": match, "at": at, "action": action, "detail": detail, "count": count}
        self._call("POST", "/thin/faults", json=body)

    def clear_faults(self) -> None:
        self._call("DELETE", "/thin/faults")

    def counters(self, *, reset: bool = False) -> dict[str, Any]:
        """Requests to API servers by verb and resource, and connections to them."""
        path = "/thin/counters/reset" if reset else "/thin/counters"
        answer: dict[str, Any] = self._call("POST" if reset else "GET", path)
        return answer

    def _uuid(self, name: str) -> str:
        for guest in self.guests():
            if guest.name == name:
                return guest.uuid
        raise LabError(f"no thin guest is called {name}")

    def _call(self, verb: str, path: str, **kwargs: Any) -> Any:
        try:
            answer = self._client.request(verb, path, **kwargs)
        except httpx2.HTTPError as error:
            raise LabError(f"{verb} {path} at the thin guests {self.socket}: {error!r}") from error
        if answer.is_error:
            raise LabError(
                f"{verb} {path} at the thin guests answered {answer.status_code}: "
                f"{answer.text.strip()}"
            )
        return answer.json() if answer.content else None

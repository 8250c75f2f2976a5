"""Offer an address inside the lab on the user's loopback.

The listening socket is made in the caller's network, then the process moves into the lab's
and connects from there: the two networks need no route to each other.
"""

import argparse
import ipaddress
import json
import logging
import re
import socket
import subprocess
import sys
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import anyio
from anyio.abc import SocketListener, SocketStream

from moorage_lab import cgroup
from moorage_lab.errors import LabError
from moorage_lab.namespace import enter_network
from moorage_lab.places import NETNS, State
from moorage_lab.process import Identity, write_atomically

log = logging.getLogger(__name__)

GROUP = "forward"
_ENDPOINT = re.compile(r"(?:\[([0-9a-f:]+)\]|([0-9.]+)):([0-9]{1,5})")
_CHUNK = 65536
_CONNECT_TIMEOUT_S = 10


@dataclass(frozen=True, slots=True)
class Endpoint:
    address: str
    port: int

    @classmethod
    def parse(cls, text: str) -> "Endpoint":
        match = _ENDPOINT.fullmatch(text)
        if match is None or int(match[3]) > 65535:  # noqa: PLR2004 - a port
            raise LabError(f"{text!r} is no ADDRESS:PORT, such as 10.77.0.3:443")
        try:
            address = ipaddress.ip_address(match[1] or match[2])
        except ValueError as error:
            raise LabError(f"{text!r} has no IP address: {error}") from error
        return cls(str(address), int(match[3]))

    def __str__(self) -> str:
        host = f"[{self.address}]" if ":" in self.address else self.address
        return f"{host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Forward:
    """One running forward."""

    listen: str
    target: str
    process: Identity

    @property
    def file_name(self) -> str:
        return re.sub(r"[^0-9a-z.]", "_", self.listen) + ".json"


def parse(spec: str) -> tuple[Endpoint, Endpoint]:
    """Read LISTEN=TARGET."""
    listen, equals, target = spec.partition("=")
    if not equals:
        raise LabError(f"{spec!r} is no LISTEN=TARGET, such as 127.0.0.1:8443=10.77.0.3:443")
    return Endpoint.parse(listen), Endpoint.parse(target)


def start(state: State, spec: str, *, netns: Path | None = NETNS) -> Forward:
    """Start a forward that outlives the caller; the same one again is no error.

    Without `netns` it connects from the caller's own network.

    Raises:
        LabError: The address cannot be listened on, or goes elsewhere already.
    """
    listen, target = parse(spec)
    for known in running(state):
        if known.listen == str(listen) and known.target == str(target):
            return known
        if known.listen == str(listen) and listen.port != 0:
            raise LabError(
                f"{listen} is forwarded to {known.target} already: "
                f"`moorage-lab forward --remove {listen}` first"
            )
    with _listen(listen) as listener:
        bound = Endpoint(*listener.getsockname()[:2])
        command = [sys.executable, "-m", "moorage_lab.forward"]
        command += ["--listener", str(listener.fileno()), "--target", str(target)]
        if netns is not None:
            command = cgroup.launched_in(GROUP, [*command, "--netns", str(netns)])
        state.logs.mkdir(parents=True, exist_ok=True)
        with (state.logs / "forward.log").open("ab") as log:
            child = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                pass_fds=[listener.fileno()],
                start_new_session=True,
                cwd="/",
            )
    identity = Identity.of(child.pid)
    ready = b""
    if child.stdout is not None:
        with child.stdout:
            ready = child.stdout.readline()
    if identity is None or not ready:
        raise LabError(f"the forward {spec} ended at once: see {state.logs / 'forward.log'}")
    forward = Forward(str(bound), str(target), identity)
    state.forwards.mkdir(parents=True, exist_ok=True)
    write_atomically(state.forwards / forward.file_name, json.dumps(asdict(forward)))
    return forward


def _listen(endpoint: Endpoint) -> socket.socket:
    family = socket.AF_INET6 if ":" in endpoint.address else socket.AF_INET
    try:
        return socket.create_server(
            (endpoint.address, endpoint.port), family=family, reuse_port=False
        )
    except OSError as error:
        raise LabError(f"cannot listen on {endpoint}: {error.strerror}") from error


def running(state: State) -> list[Forward]:
    """The forwards whose process runs; records of dead ones are removed."""
    found = []
    for path in sorted(state.forwards.glob("*.json")):
        try:
            fields = json.loads(path.read_text())
        except FileNotFoundError:  # somebody else has removed it meanwhile
            continue
        forward = Forward(fields["listen"], fields["target"], Identity(**fields["process"]))
        if forward.process.is_alive():
            found.append(forward)
        else:
            path.unlink(missing_ok=True)
    return found


def remove(state: State, listen: str) -> None:
    """End a forward."""
    for forward in running(state):
        if forward.listen == listen:
            if not forward.process.stop(grace_s=2):
                raise LabError(f"the forward of {listen} survives SIGKILL")
            (state.forwards / forward.file_name).unlink(missing_ok=True)
            return
    known = ", ".join(forward.listen for forward in running(state)) or "none"
    raise LabError(f"nothing is forwarded from {listen}; known: {known}")


async def serve(listener: SocketListener, target: Endpoint) -> None:
    """Pass each connection on to the target, for ever."""

    async def handle(client: SocketStream) -> None:
        async with client:
            try:
                with anyio.fail_after(_CONNECT_TIMEOUT_S):
                    server = await anyio.connect_tcp(target.address, target.port)
            except OSError as error:  # TimeoutError is one
                log.warning("cannot connect to %s: %s", target, error)
                return
            async with server, anyio.create_task_group() as group:
                group.start_soon(_copy, client, server)
                group.start_soon(_copy, server, client)

    await listener.serve(handle)


async def _copy(source: SocketStream, sink: SocketStream) -> None:
    """Pass on bytes until the end, and the end too; a broken side ends both."""
    try:
        while True:
            try:
                await sink.send(await source.receive(_CHUNK))
            except anyio.EndOfStream:
                await sink.send_eof()
                return
    except (anyio.BrokenResourceError, anyio.ClosedResourceError, OSError):
        await source.aclose()
        await sink.aclose()


async def _main(descriptor: int, target: Endpoint) -> None:
    listener = await SocketListener.from_socket(descriptor)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    async with listener:
        await serve(listener, target)


def main() -> None:
    """Entry of `python -m moorage_lab.forward`, which `start` runs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--listener", type=int, required=True, help="descriptor of the socket")
    parser.add_argument("--target", type=Endpoint.parse, required=True)
    parser.add_argument("--netns", type=Path, help="network namespace to connect from")
    arguments = parser.parse_args()
    if arguments.netns is not None:
        enter_network(arguments.netns)
    logging.basicConfig(format="%(asctime)s %(message)s")
    with suppress(KeyboardInterrupt):
        anyio.run(_main, arguments.listener, arguments.target)


if __name__ == "__main__":
    main()

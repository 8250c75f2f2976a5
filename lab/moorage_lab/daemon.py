"""The lab's daemon: the hypervisor, and the supervisor of vCenter and DHCP server.

It may be killed at any time: nodes, vCenter and DHCP server go on, and the next daemon
takes them over. vCenter's inventory is in its memory, so when vCenter itself is gone, its
VMs are removed before a new one starts from the inventory file.
"""

import argparse
import logging
import os
import signal
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import anyio
from anyio import to_thread
from anyio.abc import TaskGroup

from moorage_lab import cgroup, network
from moorage_lab.config import Config
from moorage_lab.container import reap
from moorage_lab.errors import LabError
from moorage_lab.httpserver import UnixServer
from moorage_lab.hypervisor import Hypervisor
from moorage_lab.hypervisor_http import hypervisor_app
from moorage_lab.places import GATEWAY, NETNS, VCENTER, State
from moorage_lab.process import Identity
from moorage_lab.service import Service
from moorage_lab.uplink import Uplink
from moorage_lab.vcenter import vcenter_command

log = logging.getLogger(__name__)

_PAUSE_S = 1.0


async def _nothing() -> None:
    return


async def _supervise(
    service: Service,
    command: Sequence[str],
    before: Callable[[], Awaitable[None]] = _nothing,
) -> None:
    """Keep a service running; `before` is awaited ahead of each start, not of an adoption."""
    while True:
        try:
            identity = service.running()
            if identity is None:
                await before()
                identity = await to_thread.run_sync(service.start, command)
                log.info("started %s, process %s", service.name, identity.pid)
            else:
                log.info("adopted %s, process %s", service.name, identity.pid)
            await _end_of(identity)
            log.warning("%s ended: %s", service.name, service.tail())
        except (LabError, OSError):
            log.exception("cannot start %s", service.name)
        await anyio.sleep(_PAUSE_S)


async def _end_of(identity: Identity) -> None:
    with identity.open() as descriptor:
        if descriptor is not None:
            await anyio.wait_readable(descriptor)
    reap(identity.pid)


async def serve(state: State) -> None:
    """Run the daemon until it is signalled."""
    config = Config.load(state)
    uplink = Uplink(state.control_socket)
    hypervisor = Hypervisor(state, config.find_image, uplink)
    dhcp, vcenter = Service("dhcp", state), Service("vcenter", state)
    dhcp_config = state.root / "dnsmasq.conf"
    dhcp_config.write_text(network.dhcp_config(state.root))
    state.resolv_conf.write_text(f"nameserver {GATEWAY}\nsearch lab\n")
    _kill_strays(dhcp, vcenter)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_stop_on_signal, tasks)
        if config.nodes:
            await hypervisor.adopt(tasks)
            server = UnixServer(hypervisor_app(hypervisor), state.hypervisor_socket)
            await tasks.start(server.run_here)
            tasks.start_soon(uplink.run)
        tasks.start_soon(_supervise, dhcp, network.dhcp_command(dhcp_config))
        command = vcenter_command(
            Path(config.vcenter),
            listen=f"{VCENTER}:443",
            inventory=Path(config.inventory),
            control=state.control_socket,
            state_dir=state.root,
            hypervisor=state.hypervisor_socket if config.nodes else None,
        )
        inside = ["nsenter", f"--net={NETNS}", *command]
        tasks.start_soon(_supervise, vcenter, inside, hypervisor.delete_all)


async def _stop_on_signal(tasks: TaskGroup) -> None:
    with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async for number in signals:
            log.info("stopped by signal %s; nodes and vCenter go on", int(number))
            tasks.cancel_scope.cancel()
            return


def _kill_strays(*services: Service) -> None:
    """End what a killed daemon had started and not written down yet."""
    running = (service.running() for service in services)
    spare = {identity.pid for identity in running if identity is not None} | {os.getpid()}
    cgroup.kill(cgroup.SERVICES, spare=frozenset(spare))


def main() -> None:
    """Entry of `python -m moorage_lab.daemon`, which `moorage-lab up` starts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--state", type=Path, required=True, help="the lab's state directory")
    state = State(parser.parse_args().state)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    logging.getLogger("httpx2").setLevel(logging.WARNING)
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
    anyio.run(serve, state)


if __name__ == "__main__":
    main()

"""The gateway's controllers on the real engine, store and pyVmomi, before a simulated vCenter.

Time is real here: vCenter is a process of its own, and answers when it does.
"""

import ssl
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, Self, TypeVar

import anyio
import pytest
from anyio.abc import TaskGroup
from pyVim.connect import Disconnect, SmartConnect
from pyVim.task import WaitForTask
from pyVmomi import vim

from moorage.controllers.gateway.build import Work, wire
from moorage.controllers.gateway.templates.replica import IDLE
from moorage.gateway.vault import Vault
from moorage.kit.clock import Clock, SystemClock
from moorage.kit.ids import new_uid
from moorage.kit.seal import PrivateSealingKey, seal
from moorage.kit.skew import PeerClock
from moorage.resources import Assignment, CloudAccount, Metadata, Resource, Secret
from moorage.resources.account import CloudAccountSpec, SecretSpec, Trust, credential_context
from moorage.resources.gateway import AssignmentSpec
from moorage.resources.meta import GATEWAY_FINALIZER
from moorage.store import SqlStore, open_store
from moorage.vsphere import Endpoint, Limits, VCenter
from moorage_lab.api import VCenterProcess
from tests.clocks import ShiftedClock

R = TypeVar("R", bound=Resource)

INSTALLATION = "11111111-1111-4111-8111-111111111111"
PATIENCE_S = 60.0


async def _all_acknowledged() -> int:
    return 1 << 60


async def _no_recovery_key() -> None:
    return None


@dataclass
class World:
    """One gateway without its process: what is asked is put in as the link would."""

    vcenter: VCenterProcess
    database: Path
    brake: dict[str, int] = field(default_factory=dict)
    replica_idle: timedelta = IDLE
    imports_folder: Path | None = None
    limits: Limits | None = None
    clock: Clock = field(default_factory=SystemClock)
    user: str = ""
    """Who logs in to vCenter; its own first user by default. All have the same password."""
    sealing: PrivateSealingKey = field(default_factory=PrivateSealingKey.generate)
    store: SqlStore = field(init=False)
    hub_clock: PeerClock = field(init=False)
    _stack: AsyncExitStack = field(init=False)
    _tasks: TaskGroup = field(init=False)
    _work: Work = field(init=False)

    @classmethod
    @asynccontextmanager
    async def running(
        cls, vcenter: VCenterProcess, folder: Path, **more: Any
    ) -> AsyncIterator[Self]:
        """Work until the block ends."""
        world = cls(vcenter, folder / "gateway.db", **more)
        await world.start()
        try:
            yield world
        finally:
            await world.stop()

    async def start(self) -> None:
        """Start the gateway's work, as a new process would on the same disk."""
        self._stack = AsyncExitStack()
        self.hub_clock = PeerClock(self.clock)
        url = f"sqlite:///{self.database}"
        self.store = await open_store(url, clock=self.clock, mirror=True, exclusive=True)
        self._work = wire(
            self.store,
            clock=self.clock,
            vault=Vault(self.sealing, INSTALLATION, _no_recovery_key),
            installation=INSTALLATION,
            gateway="site-a",
            acknowledged=_all_acknowledged,
            hub_clock=self.hub_clock,
            kube_timeout_s=1,
            limits=self.limits,
            replica_idle=self.replica_idle,
            imports_folder=self.imports_folder,
            **self.brake,
        )
        self._tasks = await self._stack.enter_async_context(anyio.create_task_group())
        self._tasks.start_soon(self._work.run)

    async def stop(self) -> None:
        """Stop all work and close the store."""
        self._tasks.cancel_scope.cancel()
        await self._stack.aclose()
        await self._work.close()
        await self.store.close()

    async def restart_with_clock(self, shift: timedelta) -> ShiftedClock:
        """Start the gateway again with a clock that is off, and may be set further."""
        await self.stop()
        clock = self.clock = ShiftedClock(shift)
        await self.start()
        return clock

    async def ask(self, resource: R) -> R:
        """Put in an intent as the link would."""
        wanted = resource.copy_deep()
        wanted.metadata.uid = wanted.metadata.uid or new_uid()
        wanted.metadata.route = "site-a"
        wanted.metadata.generation += 1
        if wanted.kind in ("Cluster", "NodePool", "IPPool", "CloudAccount", "Template"):
            wanted.metadata.finalizers = [GATEWAY_FINALIZER]
        await self.store.put_mirror(wanted, keep_status=True)
        return await self.store.get(type(wanted), *wanted.key)

    async def ask_account(
        self, name: str = "lab", vcenter: VCenterProcess | None = None, **more: Any
    ) -> CloudAccount:
        """Put in an account of a simulated vCenter with its sealed password."""
        vcenter = vcenter or self.vcenter
        spec = CloudAccountSpec(
            gateway="site-a",
            server=vcenter.address,
            secret=name,
            **{
                "username": self.user or vcenter.user,
                "trust": Trust(ca_bundle=vcenter.ca_file.read_text()),
                **more,
            },
        )
        sealed = seal(
            vcenter.password.encode(),
            [self.sealing.public()],
            credential_context(INSTALLATION, name, spec),
        )
        await self.ask(
            Secret(metadata=Metadata(name=name), spec=SecretSpec(gateway="site-a", sealed=sealed))
        )
        return await self.ask(CloudAccount(metadata=Metadata(name=name), spec=spec))

    async def connect(self) -> VCenter:
        """Connect to vCenter beside the gateway, as somebody else; to be closed by the caller."""
        trust = Trust(ca_bundle=self.vcenter.ca_file.read_text())
        endpoint = Endpoint(self.vcenter.address, self.vcenter.user, trust)
        somebody = await VCenter.connect(endpoint, self.vcenter.password)
        await somebody.wait_synced(PATIENCE_S)
        return somebody

    async def ask_cluster(self, cluster: Any) -> Any:
        """Put in a cluster and its assignment to this gateway."""
        uid = cluster.metadata.uid
        await self.ask(
            Assignment(
                metadata=Metadata(name=f"cluster-{uid}"),
                spec=AssignmentSpec(
                    subject_kind="Cluster",
                    subject_project=cluster.metadata.project,
                    subject_name=cluster.metadata.name,
                    subject_uid=uid,
                    gateway="site-a",
                    epoch=1,
                ),
            )
        )
        return await self.ask(cluster)

    async def delete(self, resource: Resource) -> None:
        """Ask for a deletion as the hub would."""
        await self.store.request_deletion(type(resource), *resource.key)

    async def until(self, kind: type[R], claim: Callable[[list[R]], bool], what: str) -> list[R]:
        """Wait until a claim about all resources of a kind holds."""
        deadline = time.monotonic() + PATIENCE_S
        async with self.store.watch() as changes:
            while True:
                items = await self.store.list(kind)
                if claim(items):
                    return items
                if time.monotonic() > deadline:
                    said = {item.key: item.status.condition("Ready") for item in items}
                    pytest.fail(f"{what}: not so after {PATIENCE_S:.0f} s; {said}")
                with anyio.move_on_after(0.5):
                    await changes.__anext__()

    def make_foreign_vm(
        self, name: str, *, network: str | None = None, addresses: Sequence[str] = ()
    ) -> str:
        """Make a VM in the clusters' folder as another user of vCenter would; returns its moref.

        With ``network`` (inventory path) it has a card there, whose addresses its tools report.
        """
        with self._as_somebody() as index:
            pool = index.FindByInventoryPath("/dc1/host/cc1/Resources")
            files = vim.vm.FileInfo(vmPathName="[ds1]")
            card = [] if network is None else [_card(index.FindByInventoryPath(network))]
            task = index.FindByInventoryPath("/dc1/vm/clusters").CreateVM_Task(
                vim.vm.ConfigSpec(name=name, guestId="otherGuest", files=files, deviceChange=card),
                pool,
            )
            while task.info.state not in ("success", "error"):
                time.sleep(0.01)
            assert task.info.state == "success", task.info.error
            made = task.info.result
            if network is not None:
                (mac,) = (
                    device.macAddress
                    for device in made.config.hardware.device
                    if isinstance(device, vim.vm.device.VirtualEthernetCard)
                )
                self.vcenter.control.report_tools(made.config.uuid, {mac: [*addresses]})
            return str(made._moId)

    def make_folder(self, parent: str, name: str) -> None:
        """Make a VM folder as another user of vCenter would."""
        with self._as_somebody() as index:
            index.FindByInventoryPath(parent).CreateFolder(name)

    def move_folder(self, path: str, into: str) -> None:
        """Move a VM folder as another user of vCenter would."""
        with self._as_somebody() as index:
            folder = index.FindByInventoryPath(path)
            WaitForTask(index.FindByInventoryPath(into).MoveIntoFolder_Task([folder]))

    async def sees(self, address: str, account: str = "lab") -> None:
        """Wait until the gateway has heard that some VM has an address."""
        with anyio.fail_after(PATIENCE_S):
            while not (  # noqa: ASYNC110 - the stream's thread has no event for this
                (vcenter := self._work.env.accounts.get(account))
                and vcenter.addresses.is_seen(address)
            ):
                await anyio.sleep(0.05)

    def link_foreign_vm(self, template: str, name: str) -> None:
        """Make a linked clone of a template (inventory path) as another user of vCenter would."""
        with self._as_somebody() as index:
            source = index.FindByInventoryPath(template)
            where = vim.vm.RelocateSpec(
                datastore=source.datastore[0],
                pool=index.FindByInventoryPath("/dc1/host/cc1/Resources"),
                diskMoveType="createNewChildDiskBacking",
            )
            spec = vim.vm.CloneSpec(location=where, snapshot=source.snapshot.currentSnapshot)
            folder = index.FindByInventoryPath("/dc1/vm/clusters")
            WaitForTask(source.CloneVM_Task(folder=folder, name=name, spec=spec))

    def take_foreign_snapshot(self, name: str) -> None:
        """Take a snapshot of a VM in the clusters' folder, as a backup tool would."""
        with self._as_somebody() as index:
            vm = index.FindByInventoryPath(f"/dc1/vm/clusters/{name}")
            WaitForTask(vm.CreateSnapshot_Task(name="backup", memory=False, quiesce=False))

    def change_template(self, path: str) -> None:
        """Change a template's configuration as an administrator would."""
        with self._as_somebody() as index:
            vm = index.FindByInventoryPath(path)
            vm.MarkAsVirtualMachine(index.FindByInventoryPath("/dc1/host/cc1/Resources"))
            WaitForTask(vm.ReconfigVM_Task(vim.vm.ConfigSpec(annotation="changed")))
            vm.MarkAsTemplate()

    def destroy_foreign_vm(self, name: str) -> None:
        """Take that VM away again."""
        with self._as_somebody() as index:
            task = index.FindByInventoryPath(f"/dc1/vm/clusters/{name}").Destroy_Task()
            while task.info.state not in ("success", "error"):
                time.sleep(0.01)
            assert task.info.state == "success", task.info.error

    def make_rule(self, name: str, vms: list[str]) -> None:
        """Make a rule in compute cluster cc1 that keeps VMs apart, as another user would."""
        with self._as_somebody() as index:
            cluster = index.FindByInventoryPath("/dc1/host/cc1")
            stub = cluster._stub
            members = [vim.VirtualMachine(one, stub) for one in vms]
            info = vim.cluster.AntiAffinityRuleSpec(name=name, enabled=True, vm=members)
            spec = vim.cluster.RuleSpec(operation="add", info=info)
            change = vim.cluster.ConfigSpecEx(rulesSpec=[spec])
            WaitForTask(cluster.ReconfigureComputeResource_Task(change, modify=True))

    @contextmanager
    def _as_somebody(self) -> Iterator[Any]:
        """Log in beside the gateway; yields vCenter's search index."""
        vcenter = self.vcenter
        context = ssl.create_default_context(cafile=str(vcenter.ca_file))
        service = SmartConnect(
            host=vcenter.host,
            port=vcenter.port,
            user=vcenter.user,
            pwd=vcenter.password,
            sslContext=context,
        )
        try:
            yield service.RetrieveContent().searchIndex
        finally:
            Disconnect(service)

    def templates(self) -> list[dict[str, Any]]:
        """Return the templates that the simulator has, replicas among them."""
        return [vm for vm in self.vcenter.control.inventory()["vms"] if vm["template"]]

    def vms(self) -> list[dict[str, Any]]:
        """Return the VMs (templates left out) that the simulator has, by its own account."""
        return [vm for vm in self.vcenter.control.inventory()["vms"] if not vm["template"]]


def _card(network: Any) -> vim.vm.device.VirtualDeviceSpec:
    """Return a new network card in a standard or distributed port group."""
    card = vim.vm.device.VirtualVmxnet3
    if isinstance(network, vim.dvs.DistributedVirtualPortgroup):
        backing = vim.vm.device.VirtualEthernetCard.DistributedVirtualPortBackingInfo(
            port=vim.dvs.PortConnection(
                portgroupKey=network.key,
                switchUuid=network.config.distributedVirtualSwitch.uuid,
            )
        )
    else:
        backing = vim.vm.device.VirtualEthernetCard.NetworkBackingInfo(deviceName=network.name)
    return vim.vm.device.VirtualDeviceSpec(
        operation="add", device=card(key=-1, backing=backing, addressType="generated")
    )


@pytest.fixture
def vcenter() -> Iterator[VCenterProcess]:
    with VCenterProcess.start() as process:
        yield process


@pytest.fixture
async def world(vcenter: VCenterProcess, tmp_path: Path) -> AsyncIterator[World]:
    async with World.running(vcenter, tmp_path) as world:
        yield world

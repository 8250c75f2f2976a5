"""Wrong bootstrap data: thin guests refuse it as real nodes would, in the same words."""

import dataclasses
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import httpx2
import pytest

from moorage.bootstrap import (
    Card,
    ClusterPKI,
    NodeInput,
    StaticAddress,
    bootstrap_token_secret,
    certs_access,
    gateway_client,
    generate,
    kubeadm_certs_secret,
    render_guestinfo,
)
from moorage.kube import Credentials, KubeClient
from moorage.resources import Cluster, Machine
from moorage.resources.kubernetes import Role
from moorage_lab.api import ThinGuest, ThinGuests
from moorage_lab.control import unix_client
from tests.builders import a_cluster, a_machine

NOW = datetime.now(UTC)


@dataclass
class Site:
    """Thin guests without a vCenter, powered on by hand."""

    guests: ThinGuests
    http: httpx2.Client
    cluster: Cluster = field(default_factory=a_cluster)
    pki: ClusterPKI = field(init=False)
    made: int = 0

    def __post_init__(self) -> None:
        self.pki = generate(self.cluster.spec.key_type, "demo", NOW)

    def address(self, number: int) -> str:
        return str(self.guests.network.network_address + 10 + number)

    def machine(self, name: str, role: Role, *, founds: bool = False) -> Machine:
        bootstrap = "init" if founds else "join"
        return a_machine(name, role=role, bootstrap=bootstrap)

    def guestinfo(self, machine: Machine, pki: ClusterPKI) -> dict[str, str]:
        self.made += 1
        network = (Card((StaticAddress(self.address(self.made), 16, self.address(-9)),)),)
        node = NodeInput(machine, self.cluster, self.address(0), 6443, pki, network)
        return render_guestinfo(node)

    def boot(self, machine: Machine, guestinfo: dict[str, str]) -> None:
        uid = machine.metadata.uid
        nic = {"mac": "00:50:56:80:00:01", "network": "nodes", "connected": True}
        document = {
            "name": machine.metadata.name,
            "image": "1.34.4",
            "cpus": 2,
            "memoryMib": 2048,
            "diskMib": 20480,
            "nics": [nic],
            "guestinfo": guestinfo,
        }
        assert self.http.put(f"/vms/{uid}", json=document).status_code == 204
        assert self.http.post(f"/vms/{uid}/power-on").status_code == 204

    def until(self, name: str, claim: Callable[[ThinGuest], bool]) -> ThinGuest:
        deadline = time.monotonic() + 15
        while True:
            (guest,) = [guest for guest in self.guests.guests() if guest.name == name]
            if claim(guest):
                return guest
            if time.monotonic() > deadline:
                pytest.fail(f"not so after 15 s: {guest}")
            time.sleep(0.02)

    def found(self) -> None:
        founder = self.machine("founder", Role.CONTROL_PLANE, founds=True)
        self.boot(founder, self.guestinfo(founder, self.pki))
        self.until("founder", lambda guest: guest.phase == "Joined")

    def client(self) -> KubeClient:
        signed = gateway_client(self.pki, now=NOW)
        assert signed.key is not None
        return KubeClient(
            f"https://{self.address(0)}:6443",
            Credentials(self.pki.ca.certificate, signed.certificate, signed.key, signed.expires_at),
        )


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with ExitStack() as stack:
        guests = stack.enter_context(ThinGuests.start(tmp_path, tmp_path / "no-vcenter.sock"))
        yield Site(guests, stack.enter_context(unix_client(guests.socket)))


def waits(words: str) -> Callable[[ThinGuest], bool]:
    return lambda guest: guest.phase.startswith("Waiting") and words in guest.detail


async def test_a_wrong_token_is_not_let_in_and_the_right_one_is_at_once(site: Site) -> None:
    site.found()
    worker = site.machine("worker", Role.WORKER)
    stranger = dataclasses.replace(site.pki, master=b"another master of the same CA...")
    async with site.client() as api:
        for pki in (stranger, site.pki):
            await api.apply(
                [
                    bootstrap_token_secret(
                        pki, worker.metadata.uid, Role.WORKER, machine_name="worker", now=NOW
                    )
                ]
            )
            if pki is stranger:
                site.boot(worker, site.guestinfo(worker, site.pki))
                site.until("worker", waits("the API does not know this machine's token yet"))
        site.until("worker", lambda guest: guest.phase == "Joined")
        node = await api.find_node("worker")

    assert node is not None
    assert node.provider_id == f"vsphere://{worker.metadata.uid}"
    assert not node.ready  # there is no pod network yet
    assert "cni plugin not initialized" in node.ready_reason


def test_another_authority_is_not_trusted(site: Site) -> None:
    site.found()
    worker = site.machine("worker", Role.WORKER)
    other = generate(site.cluster.spec.key_type, "demo", NOW)

    site.boot(worker, site.guestinfo(worker, other))

    site.until("worker", waits("its certificate is not of this cluster's authority"))


def test_keys_that_do_not_fit_found_no_cluster(site: Site) -> None:
    other = generate(site.cluster.spec.key_type, "demo", NOW)
    mixed = dataclasses.replace(site.pki, ca=dataclasses.replace(site.pki.ca, key=other.ca.key))
    founder = site.machine("founder", Role.CONTROL_PLANE, founds=True)

    site.boot(founder, site.guestinfo(founder, mixed))

    guest = site.until("founder", lambda guest: guest.phase == "KubeadmFailed")
    assert guest.detail == "kubeadm init ended with 1: error: ca.key does not belong to ca.crt"
    assert site.guests.counters()["clusters"] == 0


async def test_a_control_plane_needs_the_certificate_key(site: Site) -> None:
    site.found()
    second = site.machine("second", Role.CONTROL_PLANE)
    sealed_otherwise = dataclasses.replace(site.pki, master=b"another master of the same CA...")
    async with site.client() as api:
        await api.apply(
            [
                kubeadm_certs_secret(sealed_otherwise),
                *certs_access(),
                bootstrap_token_secret(
                    site.pki, second.metadata.uid, Role.CONTROL_PLANE, machine_name="s", now=NOW
                ),
            ]
        )

        site.boot(second, site.guestinfo(second, site.pki))

        guest = site.until("second", lambda guest: guest.phase == "KubeadmFailed")
        assert "error downloading certs: failed to decrypt" in guest.detail
        assert [member.name for member in await api.etcd_members()] == ["founder"]


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("guestinfo.userdata", "bm90IGd6" * 9, "gzip: invalid header"),
        ("guestinfo.userdata.encoding", "rot13", 'encoding "rot13" is not known'),
        ("guestinfo.metadata", "bm90aGluZw==", "guestinfo.metadata"),
        ("guestinfo.userdata", "x" * (64 * 1024 + 1), "a guest can read 65536"),
    ],
)
def test_what_cloud_init_cannot_read_starts_nothing(
    site: Site, key: str, value: str, said: str
) -> None:
    founder = site.machine("founder", Role.CONTROL_PLANE, founds=True)

    site.boot(founder, {**site.guestinfo(founder, site.pki), key: value})

    guest = site.until("founder", lambda guest: guest.phase == "CloudInitFailed")
    assert said in guest.detail


def test_a_control_plane_that_was_interrupted_never_founds_again(site: Site) -> None:
    site.guests.settings(initSeconds=60)
    founder = site.machine("founder", Role.CONTROL_PLANE, founds=True)
    site.boot(founder, site.guestinfo(founder, site.pki))
    site.until("founder", lambda guest: guest.phase == "RunningKubeadm")

    assert site.http.post(f"/vms/{founder.metadata.uid}/reset").status_code == 204

    site.until("founder", lambda guest: guest.phase == "Interrupted")

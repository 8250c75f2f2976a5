"""Login, trust, deadlines: what is said and what is not done when something is wrong."""

import socket
import ssl
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import anyio
import pytest
from cryptography import x509

from moorage.kit.errors import ForbiddenError, InvalidError, TerminalError, UnavailableError
from moorage.resources.account import Trust
from moorage.vsphere import Absent, Endpoint, Limits, State
from moorage.vsphere.session import Session
from moorage.vsphere.wire import fingerprint, server_fingerprint
from moorage_lab.api import VCenterProcess
from vsphere.harness import Site

pytestmark = pytest.mark.anyio


async def test_connects_with_one_session_and_few_connections(site: Site) -> None:
    vcenter = await site.connect()

    assert vcenter.state is State.CONNECTED
    assert vcenter.api_version == "8.0.3.0"
    assert vcenter.instance_uuid
    counters = site.process.control.counters()
    assert counters["sessions"] == {"open": 1, "logins": 1, "logouts": 0}
    assert counters["connections"]["opened"] <= 2


async def test_close_logs_out_and_leaves_nothing(site: Site) -> None:
    vcenter = await site.connect()

    started = time.monotonic()
    await vcenter.close()

    assert time.monotonic() - started < 20, "the waiting stream is cancelled, not waited for"
    assert site.process.control.counters()["sessions"] == {"open": 0, "logins": 1, "logouts": 1}
    assert vcenter.state is State.CLOSED
    with pytest.raises(UnavailableError, match="closed"):
        vcenter.check()


async def test_a_wrong_password_is_tried_once(site: Site) -> None:
    vcenter = await site.connect_only(password="wrong")

    async with anyio.create_task_group() as group:
        for _ in range(5):
            group.start_soon(_refused, vcenter.wait_synced, 0.2)
    with pytest.raises(ForbiddenError, match=r"refused the login of moorage@vsphere\.local"):
        vcenter.check()

    assert vcenter.state is State.INVALID_CREDENTIALS
    assert site.calls()["Login"] == 1


async def _refused(call: Callable[..., Awaitable[Any]], *arguments: Any) -> None:
    with pytest.raises(ForbiddenError):
        await call(*arguments)


async def test_the_same_wrong_password_again_is_not_tried(site: Site) -> None:
    vcenter = await site.connect_only(password="wrong")

    with pytest.raises(ForbiddenError, match="give the right password"):
        await vcenter.set_password("wrong")

    assert site.calls()["Login"] == 1


async def test_a_new_password_is_tried_and_the_inventory_follows(site: Site) -> None:
    vcenter = await site.connect_only(password="wrong")

    await vcenter.set_password(site.process.password)
    await vcenter.wait_synced(60)

    assert vcenter.state is State.CONNECTED
    assert site.calls()["Login"] == 2
    assert isinstance(vcenter.find("no-such-uid"), Absent)


async def test_a_certificate_of_an_unknown_ca_is_refused(site: Site) -> None:
    vcenter = await site.connect_only(endpoint=site.endpoint_with(Trust()))

    with pytest.raises(TerminalError, match="not trusted") as refused:
        vcenter.check()

    assert refused.value.reason == "UntrustedCertificate"
    assert vcenter.state is State.UNTRUSTED_CERTIFICATE
    shown = server_fingerprint(site.endpoint, 5)
    assert shown is not None
    assert shown in str(refused.value), "the fingerprint to compare is named"
    assert "Login" not in site.calls()


async def test_a_pinned_certificate_needs_no_ca(site: Site) -> None:
    pin = server_fingerprint(site.endpoint, 5)

    vcenter = await site.connect(endpoint=site.endpoint_with(Trust(sha256=pin)))

    assert vcenter.state is State.CONNECTED


async def test_another_certificate_than_the_pinned_is_refused_every_time(site: Site) -> None:
    wrong = ":".join(["AB"] * 32)
    session = Session(site.endpoint_with(Trust(sha256=wrong)), "secret", Limits())
    shown = server_fingerprint(site.endpoint, 5)

    for _ in range(3):
        with pytest.raises(TerminalError) as refused:
            await session.call("log in", lambda: None)
        assert wrong in str(refused.value)
        assert str(shown) in str(refused.value)

    assert site.calls() == {}, "nothing was sent"


async def test_a_pin_holds_even_for_a_certificate_that_verifies(site: Site) -> None:
    """PyVmomi itself compares a thumbprint only when the chain does not verify."""
    ca = x509.load_pem_x509_certificate(site.process.ca_file.read_bytes())
    ca_pin = fingerprint(ssl.PEM_cert_to_DER_cert(site.process.ca_file.read_text()))
    assert ca.subject == ca.issuer

    vcenter = await site.connect_only(endpoint=site.endpoint_with(Trust(sha256=ca_pin)))

    assert vcenter.state is State.UNTRUSTED_CERTIFICATE, "the pin is of the leaf, not of its CA"


async def test_insecure_asks_nothing(site: Site) -> None:
    vcenter = await site.connect(endpoint=site.endpoint_with(Trust(insecure=True)))

    assert vcenter.state is State.CONNECTED


async def test_a_broken_ca_bundle_is_invalid_input(site: Site) -> None:
    broken = Trust(ca_bundle="-----BEGIN CERTIFICATE-----\nnonsense\n-----END CERTIFICATE-----\n")

    with pytest.raises(InvalidError, match="caBundle"):
        await site.connect_only(endpoint=site.endpoint_with(broken))


async def test_a_closed_port_is_named(site: Site) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        vcenter = await site.connect_only(
            endpoint=Endpoint(f"127.0.0.1:{port}", "u@vsphere.local", Trust(insecure=True))
        )

        assert vcenter.state is State.UNREACHABLE
        with pytest.raises(UnavailableError, match=f"127.0.0.1:{port} refuses connections"):
            vcenter.check()
        await vcenter.close()


async def test_an_unknown_name_is_named(site: Site) -> None:
    endpoint = Endpoint("vcenter.invalid", "u@vsphere.local", Trust(insecure=True))

    vcenter = await site.connect_only(endpoint=endpoint)

    with pytest.raises(UnavailableError, match=r"vcenter\.invalid cannot be resolved"):
        vcenter.check()
    await vcenter.close()


@contextmanager
def _silent_server() -> Iterator[int]:
    """Accepts connections and says nothing, ever."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


async def test_a_silent_server_costs_no_more_than_the_deadline() -> None:
    with _silent_server() as port:
        endpoint = Endpoint(f"127.0.0.1:{port}", "u", Trust(insecure=True))
        session = Session(endpoint, "secret", Limits())

        started = time.monotonic()
        async with anyio.create_task_group() as group:
            for _ in range(3):
                group.start_soon(_times_out, session)

        assert time.monotonic() - started < 2.5


async def _times_out(session: Session) -> None:
    with pytest.raises(UnavailableError):
        await session.call("log in", lambda: None, deadline_s=1.0)


async def test_a_call_whose_turn_comes_too_late_is_not_sent(process: VCenterProcess) -> None:
    trust = Trust(ca_bundle=process.ca_file.read_text())
    endpoint = Endpoint(process.address, process.user, trust)
    session = Session(endpoint, process.password, Limits(calls=1))
    await session.call("log in", lambda: None)
    root = session.content.rootFolder
    process.control.fault("FindByUuid", "delay", seconds=1.0)
    index = session.content.searchIndex

    async with anyio.create_task_group() as group:
        group.start_soon(session.call, "slow", lambda: index.FindByUuid(None, "x", vmSearch=True))
        await anyio.sleep(0.2)
        with pytest.raises(UnavailableError, match="not sent"):
            await session.call("late", lambda: index.FindChild(root, "x"), deadline_s=0.3)

    assert "FindChild" not in process.control.counters()["calls"]
    session.close()


async def test_an_expired_session_is_renewed_once_for_all(site: Site) -> None:
    vcenter = await site.connect()

    site.process.control.expire_sessions()
    async with anyio.create_task_group() as group:
        for number in range(6):
            group.start_soon(vcenter._session.call, "look", _find(vcenter._session, str(number)))
    await vcenter.wait_synced(60)

    assert site.process.control.counters()["sessions"]["logins"] == 2
    assert vcenter.state is State.CONNECTED


@dataclass
class Note:
    """What a killed process has written down."""

    held: str = ""
    is_open: bool = True

    def read(self) -> str:
        return self.held

    def write(self, session: str) -> None:
        self.held = session

    def close(self) -> None:
        self.is_open = False


async def test_the_session_of_a_killed_process_is_ended_by_the_next(site: Site) -> None:
    killed = Note()
    dead = await site.connect(note=killed)
    left = killed.held
    assert left
    dead._stream.stop()  # it is as if no more came from there

    note = Note(left)
    vcenter = await site.connect(note=note)

    assert site.process.control.counters()["sessions"] == {"open": 1, "logins": 2, "logouts": 1}
    assert note.held not in {"", left}
    await vcenter.close()
    assert (note.held, note.is_open) == ("", False)


async def test_the_session_of_a_killed_process_is_ended_though_vcenter_gives_no_further_one(
    site: Site,
) -> None:
    killed = Note()
    dead = await site.connect(note=killed)
    left = killed.held
    dead._stream.stop()
    site.process.control.set_limits(sessions=1)

    vcenter = await site.connect(note=Note(left))

    assert vcenter.state is State.CONNECTED
    assert site.process.control.counters()["sessions"] == {"open": 1, "logins": 2, "logouts": 1}


async def test_a_noted_session_that_has_ended_is_no_hindrance(site: Site) -> None:
    note = Note('vmware_soap_session="gone"')

    vcenter = await site.connect(note=note)
    site.process.control.expire_sessions()
    await vcenter.wait_synced(60)
    with anyio.fail_after(10):
        while site.process.control.counters()["sessions"]["logins"] < 2:  # noqa: ASYNC110 - a process
            await anyio.sleep(0.05)
    await vcenter.wait_synced(60)

    assert site.calls()["Logout"] == 1, "only the session of the process before is ended"
    assert note.held


def _find(session: Session, uuid: str) -> Callable[[], Any]:
    return lambda: session.content.searchIndex.FindByUuid(None, uuid, vmSearch=True)

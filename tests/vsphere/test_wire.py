"""What the wire does when the other side is not, or not yet, a vCenter."""

import gc
import ssl
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import MappingProxyType

import anyio
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from pyVmomi.SoapAdapter import SoapResponseDeserializer

from moorage.kit.errors import DeferredError, TerminalError, UnavailableError
from moorage.resources.account import Trust
from moorage.vsphere import Endpoint, Limits, State
from moorage.vsphere.properties import moref
from moorage.vsphere.session import Session
from vsphere.harness import Site

pytestmark = pytest.mark.anyio

ESXI = """<?xml version="1.0" encoding="UTF-8"?>
<soapenv:Envelope xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/"
 xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"><soapenv:Body>
<RetrieveServiceContentResponse xmlns="urn:vim25"><returnval>
<rootFolder type="Folder">ha-folder-root</rootFolder>
<propertyCollector type="PropertyCollector">ha-property-collector</propertyCollector>
<about><name>VMware ESXi</name><fullName>VMware ESXi 8.0.3 build-24022510</fullName>
<vendor>VMware, Inc.</vendor><version>8.0.3</version><build>24022510</build>
<osType>vmnix-x86</osType><productLineId>embeddedEsx</productLineId>
<apiType>HostAgent</apiType><apiVersion>8.0.3.0</apiVersion></about>
<sessionManager type="SessionManager">ha-sessionmgr</sessionManager>
</returnval></RetrieveServiceContentResponse></soapenv:Body></soapenv:Envelope>"""


def _certificate(where: Path) -> Path:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "somebody")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    file = where / "server.pem"
    file.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        + certificate.public_bytes(serialization.Encoding.PEM)
    )
    return file


@contextmanager
def _https(
    where: Path,
    status: int,
    body: str,
    kind: str = "text/xml",
    *,
    headers: Mapping[str, str] = MappingProxyType({}),
    drop_s: float = 0,
) -> Iterator[Endpoint]:
    """An HTTPS server that answers everything alike; with ``drop_s`` a byte at a time."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body.encode())))
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            with suppress(OSError):
                for byte in body.encode() if drop_s else ():
                    self.wfile.write(bytes([byte]))
                    if stopped.wait(drop_s):
                        return
                self.wfile.write(b"" if drop_s else body.encode())

        def log_message(self, *_: object) -> None:
            pass

    stopped = threading.Event()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(_certificate(where))
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield Endpoint(f"127.0.0.1:{server.server_port}", "root", Trust(insecure=True))
    finally:
        stopped.set()
        server.shutdown()
        thread.join()
        server.server_close()


async def test_an_esxi_host_is_not_taken_for_a_vcenter(tmp_path: Path) -> None:
    with _https(tmp_path, 200, ESXI) as endpoint:
        session = Session(endpoint, "secret", Limits())

        with pytest.raises(TerminalError, match=r"VMware ESXi 8\.0\.3") as refused:
            await session.call("log in", lambda: None)

        assert refused.value.reason == "NotVCenter"
        assert session.state is State.NOT_VCENTER
        assert session.logins == 0, "no password was sent"


@pytest.mark.parametrize(
    ("status", "body", "says"),
    [
        (503, "Service Unavailable", "answered HTTP 503"),
        (404, "not here", "answered HTTP 404"),
        (200, "<html><body>hello<br></body></html>", "is not SOAP"),
        (200, "no XML at all", "is not SOAP"),
        (503, "Service Unavailable", "its limit of sessions is reached"),
    ],
)
async def test_other_answers_are_named(tmp_path: Path, status: int, body: str, says: str) -> None:
    with _https(tmp_path, status, body) as endpoint:
        session = Session(endpoint, "secret", Limits())

        with pytest.raises(UnavailableError, match=says):
            await session.call("log in", lambda: None)

        assert session.state is State.UNREACHABLE


@pytest.mark.parametrize("status", [200, 500])
async def test_a_page_of_a_proxy_is_no_answer_even_if_it_is_xml(
    tmp_path: Path, status: int
) -> None:
    """Or nothing at all would be taken for what a method returns."""
    page = "<html><body><h1>The service is starting</h1></body></html>"
    with _https(tmp_path, status, page, "text/html") as endpoint:
        session = Session(endpoint, "secret", Limits())

        with pytest.raises(UnavailableError, match="text/html, which is not SOAP"):
            await session.call("log in", lambda: None)


async def test_a_server_that_asks_for_it_is_left_alone(tmp_path: Path) -> None:
    headers = {"Retry-After": "120"}
    with _https(tmp_path, 503, "later", headers=headers) as endpoint:
        session = Session(endpoint, "secret", Limits())
        with pytest.raises(UnavailableError, match="HTTP 503"):
            await session.call("log in", lambda: None)
        opened = session.stub.connections_opened

        with pytest.raises(DeferredError) as deferred:
            await session.call("log in", lambda: None)

        assert deferred.value.after_s > 60
        assert session.stub.connections_opened == opened, "nothing is sent"


async def test_an_answer_in_drops_costs_no_more_than_the_deadline(tmp_path: Path) -> None:
    with _https(tmp_path, 200, ESXI, drop_s=0.2) as endpoint:
        session = Session(endpoint, "secret", Limits())

        with anyio.fail_after(60), pytest.raises(UnavailableError, match="did not answer in time"):
            await session.call("log in", lambda: None, deadline_s=1.5)


async def test_a_connection_that_the_server_closed_is_not_used_again(site: Site) -> None:
    """A restart closes idle connections: the next call must not die of that."""
    vcenter = await site.connect(limits=Limits(calls=2))
    session = vcenter._session
    await session.call("open one", lambda: session.content.viewManager.CreateListView([]))
    for pooled, _ in session.stub.pool:
        pooled.sock.shutdown(2)

    made = await session.call("look", lambda: moref(session.content.viewManager.CreateListView([])))

    assert made


async def test_an_answer_goes_without_the_garbage_collector(site: Site) -> None:
    """Else the pages of a large inventory pile up until it comes."""
    session = (await site.connect())._session
    gc.collect()
    gc.disable()
    try:
        await session.call("look", lambda: session.content.viewManager.CreateListView([]))
        left = [one for one in gc.get_objects() if isinstance(one, SoapResponseDeserializer)]
    finally:
        gc.enable()

    assert left == []


async def test_a_listener_that_fails_does_not_end_the_stream(site: Site) -> None:
    def fail(_: frozenset[str]) -> None:
        raise RuntimeError("the listener is broken")

    vcenter = await site.connect(on_change=fail)
    site.process.control.expire_sessions()
    await vcenter.wait_synced(60)

    assert vcenter.counters.stream_restarts <= 1
    assert vcenter.state is State.CONNECTED

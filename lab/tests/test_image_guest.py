"""Programs inside a node: vmware-rpctool and lab-tools against a hypervisor's socket."""

import http.server
import json
import os
import queue
import shutil
import socketserver
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent / "image" / "root"
SOCKET = "/opt/vmware/guestinfo/rpc.sock"


class Hypervisor(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    """Keeps guestinfo and the reports of VMware Tools."""

    daemon_threads = True

    def __init__(self, path: Path) -> None:
        self.guestinfo: dict[str, str] = {}
        self.reports: queue.Queue[dict[str, object]] = queue.Queue()
        self.failures = 0
        super().__init__(str(path), Handler)


class Handler(http.server.BaseHTTPRequestHandler):
    server: Hypervisor

    def log_message(self, *_args: object) -> None:
        """Stay quiet."""

    def answer(self, status: int, body: bytes = b"") -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self) -> None:
        value = self.server.guestinfo.get(self.path.removeprefix("/guestinfo/"))
        if value is None:
            self.answer(404)
        else:
            self.answer(200, value.encode())

    def do_PUT(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        if self.server.failures:
            self.server.failures -= 1
            self.answer(503)
        elif self.path == "/tools":
            self.server.reports.put(json.loads(body))
            self.answer(204)
        else:
            self.server.guestinfo[self.path.removeprefix("/guestinfo/")] = body
            self.answer(204)


@pytest.fixture
def hypervisor(tmp_path: Path) -> Iterator[Hypervisor]:
    with Hypervisor(tmp_path / "rpc.sock") as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield server
        server.shutdown()
        thread.join(10)


def installed(source: str, tmp_path: Path) -> Path:
    """The program, with the places of a guest replaced by the test's."""
    program = tmp_path / Path(source).name
    text = (ROOT / source).read_text()
    assert SOCKET in text
    text = text.replace(SOCKET, str(tmp_path / "rpc.sock")).replace("mktemp /run/", "mktemp /tmp/")
    program.write_text(text)
    program.chmod(0o755)
    return program


@pytest.fixture
def rpctool(hypervisor: Hypervisor, tmp_path: Path) -> Path:
    if shutil.which("curl") is None:
        pytest.skip("vmware-rpctool of the image is written with curl, which is not installed")
    return installed("usr/bin/vmware-rpctool", tmp_path)


def call(program: Path, *arguments: str) -> tuple[int, str, str]:
    done = subprocess.run(
        [program, *arguments], capture_output=True, text=True, check=False, timeout=30
    )
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize(
    "arguments", [("info-get guestinfo.metadata",), ("info-get", "guestinfo.metadata")]
)
def test_a_value_is_read(rpctool: Path, hypervisor: Hypervisor, arguments: tuple[str, ...]) -> None:
    hypervisor.guestinfo["guestinfo.metadata"] = "aW5zdGFuY2U=" * 30_000
    code, out, err = call(rpctool, *arguments)

    assert (code, err) == (0, "")
    assert out == "aW5zdGFuY2U=" * 30_000 + "\n"


def test_an_absent_value_is_told_as_the_real_tool_does(rpctool: Path) -> None:
    # cloud-init compares standard error with these very words.
    assert call(rpctool, "info-get guestinfo.vendordata") == (1, "", "No value found")


@pytest.mark.parametrize("value", ["---", "two words", "with 'quotes' and $HOME", "a\nb", ""])
def test_a_value_is_set_as_it_is(rpctool: Path, hypervisor: Hypervisor, value: str) -> None:
    hypervisor.guestinfo["guestinfo.userdata"] = "secret"

    assert call(rpctool, f"info-set guestinfo.userdata {value}") == (0, "", "")
    assert hypervisor.guestinfo == {"guestinfo.userdata": value}


def test_clearing_needs_no_trailing_blank(rpctool: Path, hypervisor: Hypervisor) -> None:
    hypervisor.guestinfo["guestinfo.userdata"] = "secret"

    assert call(rpctool, "info-set", "guestinfo.userdata") == (0, "", "")
    assert hypervisor.guestinfo == {"guestinfo.userdata": ""}


@pytest.mark.parametrize("request_", ["log hello", "info-get config.version", "machine.id.get"])
def test_other_requests_are_refused(rpctool: Path, request_: str) -> None:
    assert call(rpctool, request_) == (1, "", "Unknown command")


def test_a_refusal_by_the_hypervisor_is_told(rpctool: Path, hypervisor: Hypervisor) -> None:
    hypervisor.failures = 1
    code, _, err = call(rpctool, "info-set guestinfo.x 1")

    assert (code, err) == (1, "info-set guestinfo.x: the hypervisor answered 503")


def an_address(ifname: str, mac: str, *ips: str, tentative: str = "") -> dict[str, object]:
    addresses: list[dict[str, object]] = [{"local": ip} for ip in ips]
    if tentative:
        addresses.append({"local": tentative, "tentative": True})
    return {"ifname": ifname, "address": mac, "addr_info": addresses}


@pytest.fixture
def guest(hypervisor: Hypervisor, tmp_path: Path) -> Iterator[Path]:
    """lab-tools running with an `ip` whose answers are the files `links` and `events`."""
    (tmp_path / "bin").mkdir()
    fake = tmp_path / "bin" / "ip"
    fake.write_text(
        "#!/bin/sh\n"
        f'if [ "$1" = monitor ]; then exec cat {tmp_path}/events; fi\n'
        f"cat {tmp_path}/links\n"
    )
    fake.chmod(0o755)
    os.mkfifo(tmp_path / "events")
    links = [
        an_address("lo", "00:00:00:00:00:00", "127.0.0.1"),
        an_address("eth0", "00:50:56:00:00:01", "10.77.1.10", tentative="fe80::1"),
        an_address("veth12", "0a:00:00:00:00:02", "fe80::2"),
        an_address("flannel.1", "0a:00:00:00:00:03", "10.244.0.0"),
    ]
    (tmp_path / "links").write_text(json.dumps(links))
    program = installed("usr/lib/moorage-lab/lab-tools", tmp_path)
    environment = {**os.environ, "PATH": f"{tmp_path}/bin:{os.environ['PATH']}"}
    with subprocess.Popen(["python3", program], env=environment) as process:
        yield tmp_path
        process.terminate()


def test_tools_report_at_start_and_on_change_only(guest: Path, hypervisor: Hypervisor) -> None:
    first = hypervisor.reports.get(timeout=10)
    assert first["nics"] == [
        {"mac": "00:50:56:00:00:01", "ips": ["10.77.1.10"]},
        {"mac": "0a:00:00:00:00:03", "ips": ["10.244.0.0"]},
    ]

    with (guest / "events").open("w", buffering=1) as events:
        events.write("4: veth12: something that changes nothing\n")
        with pytest.raises(queue.Empty):
            hypervisor.reports.get(timeout=1)
        links = [an_address("eth0", "00:50:56:00:00:01", "10.77.1.10", "10.77.1.5")]
        (guest / "links").write_text(json.dumps(links))
        events.write("2: eth0 inet 10.77.1.5/32\n")
        second = hypervisor.reports.get(timeout=10)
        assert second["nics"] == [{"mac": "00:50:56:00:00:01", "ips": ["10.77.1.10", "10.77.1.5"]}]


def test_tools_report_again_until_the_hypervisor_takes_it(
    hypervisor: Hypervisor, request: pytest.FixtureRequest
) -> None:
    hypervisor.failures = 2
    guest = request.getfixturevalue("guest")

    with (guest / "events").open("w"):
        assert hypervisor.reports.get(timeout=15)["hostName"]
    assert hypervisor.failures == 0

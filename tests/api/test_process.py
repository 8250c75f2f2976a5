"""The process: TLS, settings, signals, backup and restore, as an administrator meets them."""

import os
import signal
import socket
import ssl
import stat
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import httpx2
import pytest
from cryptography import x509

from moorage.hub.backup import DATABASE, back_up, restore
from moorage.hub.context import HubSettings
from moorage.hub.main import main, sqlite_url
from moorage.hub.serve import Listen, TLSChoice
from moorage.hub.start import open_hub
from moorage.hub.tls import CA_LIFETIME, SERVER_LIFETIME, SelfMadeTLS, fingerprint
from moorage.kit.clock import FakeClock, SystemClock
from moorage.kit.errors import ConflictError, InvalidError, NotFoundError, UnavailableError
from moorage.resources import Project
from moorage.store import open_store

HUB = [sys.executable, "-m", "moorage.hub"]


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


@contextmanager
def running(*arguments: str, port: int, data: Path, **env: str) -> Iterator[subprocess.Popen[str]]:
    """Run a hub until the block ends."""
    process = subprocess.Popen(
        [*HUB, *arguments],
        env={**os.environ, **env},
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        deadline = time.monotonic() + 30
        while True:
            if process.poll() is not None:
                pytest.fail(f"the hub ended: {process.communicate()}")
            try:
                with socket.create_connection(("127.0.0.1", port), 0.2):
                    break
            except OSError:
                assert time.monotonic() < deadline, "the hub does not listen"
                time.sleep(0.05)
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate(timeout=20)


def client(port: int, ca: Path) -> httpx2.Client:
    return httpx2.Client(
        base_url=f"https://localhost:{port}",
        verify=ssl.create_default_context(cafile=str(ca)),
        trust_env=False,
    )


@pytest.mark.enable_socket
def test_a_hub_starts_serves_and_stops_in_order(tmp_path: Path) -> None:
    port, data = free_port(), tmp_path / "hub"
    config = tmp_path / "hub.yaml"
    config.write_text(f"listen: 127.0.0.1:{port}\nname: [localhost]\nlog-format: json\n")
    with running(
        "run", "--config", str(config), port=port, data=data, MOORAGE_HUB_DATA=str(data)
    ) as process:
        password = (data / "initial-admin-password").read_text().strip()
        with client(port, data / "ca.crt") as http:
            body = {"username": "admin", "password": password}
            token = http.post("/v1/login", json=body).json()["token"]
            http.headers["Authorization"] = f"Bearer {token}"
            installation = http.get("/v1/installation").json()
            assert installation["hubFingerprint"] == fingerprint(data / "ca.crt")
            assert http.get("/v1/projects").json()["items"][0]["metadata"]["name"] == "default"
            with http.stream("GET", "/v1/projects", params={"watch": True}) as stream:
                lines = stream.iter_lines()
                assert next(lines) == "event: ADDED"
                back_up(data, tmp_path / "backup.tar.gz", SystemClock())
                process.send_signal(signal.SIGTERM)
                assert "event: BOOKMARK" in list(lines)  # and then the stream ends by itself
                process.wait(timeout=20)
        assert process.returncode == 0
        assert process.stderr is not None
        said = process.stderr.read()
    assert said.count("initial-admin-password") == 1
    assert fingerprint(data / "ca.crt") in said
    assert password not in said
    assert token not in said
    assert "Traceback" not in said
    assert stat.S_IMODE(data.stat().st_mode) == 0o700


@pytest.mark.enable_socket
def test_two_hubs_on_one_database_are_refused(tmp_path: Path) -> None:
    port, data = free_port(), tmp_path / "hub"
    arguments = ("run", "--data", str(data), "--listen", f"127.0.0.1:{port}")
    with running(*arguments, port=port, data=data):
        second = subprocess.run(
            [*HUB, "run", "--data", str(data), "--listen", "127.0.0.1:0"],
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
    assert second.returncode == 1
    assert "another process works with this database" in second.stderr
    assert "Traceback" not in second.stderr


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["run", "--listen", "443"], "address:port"),
        (["run", "--tls-cert", "x.pem"], "tls-key"),
        (["run", "--config", "no-such.yaml"], "no configuration file"),
        (["backup", "x.tgz"], "give --data"),
        (["restore", "no-such.tgz"], "there is no no-such.tgz"),
    ],
)
def test_wrong_use_is_explained(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    why: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["moorage-hub", *arguments, "--data", "hub"])

    with pytest.raises(SystemExit) as ended:
        main()

    assert ended.value.code == 1
    said = capsys.readouterr().err
    assert why in said
    assert "Traceback" not in said


async def test_a_backup_restores_all_but_sessions_as_a_new_incarnation(tmp_path: Path) -> None:
    data, clock = tmp_path / "hub", FakeClock()
    data.mkdir()
    SelfMadeTLS(data, ["hub"], clock).ensure()
    store = await open_store(sqlite_url(data), clock=clock)
    before = await open_hub(store, HubSettings(data=data), clock=clock)
    target = tmp_path / "backup.tar.gz"
    back_up(data, target, clock)  # while the database is open
    await store.close()
    assert stat.S_IMODE(target.stat().st_mode) == 0o600

    incarnation = restore(target, tmp_path / "new")

    new = tmp_path / "new"
    store = await open_store(sqlite_url(new), clock=clock)
    after = await open_hub(store, HubSettings(data=new), clock=clock)
    assert after.installation == before.installation
    assert after.incarnation == incarnation != before.incarnation
    assert [p.metadata.name for p in await store.list(Project)] == ["default"]
    await store.close()
    assert (new / "ca.crt").read_bytes() == (data / "ca.crt").read_bytes()
    assert stat.S_IMODE((new / "tls" / "ca-key.pem").stat().st_mode) == 0o600


def test_what_is_no_backup_is_not_restored(tmp_path: Path) -> None:
    file = tmp_path / "x.tgz"
    with pytest.raises(NotFoundError, match="there is no"):
        restore(file, tmp_path / "new")
    file.write_bytes(b"no archive")
    with pytest.raises(InvalidError, match="cannot be unpacked"):
        restore(file, tmp_path / "new")
    other = tmp_path / "other.tgz"
    with tarfile.open(other, "w:gz") as archive:
        archive.add(file, "something")
    with pytest.raises(InvalidError, match="no backup of a Moorage hub"):
        restore(other, tmp_path / "new")
    full = tmp_path / "full"
    full.mkdir()
    (full / "x").touch()
    with pytest.raises(ConflictError, match="is not empty"):
        restore(other, full)
    with pytest.raises(NotFoundError, match=DATABASE):
        back_up(full, tmp_path / "b.tgz", SystemClock())
    assert list(tmp_path.glob(".restore-*")) == []


def test_a_backup_overwrites_nothing(tmp_path: Path) -> None:
    (tmp_path / DATABASE).touch()
    target = tmp_path / "b.tgz"
    target.write_text("precious")
    with pytest.raises(ConflictError, match="exists already"):
        back_up(tmp_path, target, SystemClock())
    assert target.read_text() == "precious"


def test_certificates_last_and_are_renewed_before_they_end(tmp_path: Path) -> None:
    clock = FakeClock()
    tls = SelfMadeTLS(tmp_path, ["hub.example.com", "192.0.2.1"], clock)
    files = tls.ensure()
    first = files.certificate.read_bytes()
    assert tls.ensure().certificate.read_bytes() == first

    certificate, ca = x509.load_pem_x509_certificates(first)
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert "hub.example.com" in names.get_values_for_type(x509.DNSName)
    assert "192.0.2.1" in map(str, names.get_values_for_type(x509.IPAddress))
    certificate.verify_directly_issued_by(ca)
    assert certificate.not_valid_after_utc == clock.now() + SERVER_LIFETIME
    assert ca.not_valid_after_utc == clock.now() + CA_LIFETIME
    # A hub that is two hours ahead is trusted by those whose clocks are right.
    right = clock.now() - timedelta(hours=2)
    assert max(ca.not_valid_before_utc, certificate.not_valid_before_utc) < right

    clock.advance(timedelta(days=61))
    renewed = tls.ensure().certificate.read_bytes()
    assert renewed != first
    assert x509.load_pem_x509_certificates(renewed)[1] == ca


def test_a_new_name_makes_a_new_certificate_of_the_same_ca(tmp_path: Path) -> None:
    clock = FakeClock()
    first = SelfMadeTLS(tmp_path, ["a.example.com"], clock).ensure()
    pin = fingerprint(tmp_path / "ca.crt")
    before = first.certificate.read_bytes()

    SelfMadeTLS(tmp_path, ["b.example.com"], clock).ensure()

    assert first.certificate.read_bytes() != before
    assert fingerprint(tmp_path / "ca.crt") == pin


def test_half_a_ca_is_refused(tmp_path: Path) -> None:
    tls = SelfMadeTLS(tmp_path, ["a"], FakeClock())
    tls.ensure()
    (tmp_path / "tls" / "ca-key.pem").unlink()
    with pytest.raises(InvalidError, match="belong together"):
        tls.ensure()


def test_a_given_certificate_is_loaded_and_loaded_again_when_it_changes(tmp_path: Path) -> None:
    clock = FakeClock(SystemClock().now())
    made = SelfMadeTLS(tmp_path / "x", ["hub"], clock)
    (tmp_path / "x").mkdir()
    files = made.ensure()
    choice = TLSChoice(tmp_path, ["hub"], (files.certificate, files.key), clock)
    assert choice.load().ca is None
    context = choice.context
    clock.advance(timedelta(days=61))
    made.ensure()
    choice.load()
    assert choice.context is context

    files.key.write_text("no key")
    files.certificate.write_text("no certificate")
    with pytest.raises(InvalidError, match=r"server\.pem"):
        choice.load()


def test_a_taken_port_is_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(UnavailableError, match=r"in use.* another --listen"):
            Listen("127.0.0.1", port).bind()


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [("0.0.0.0:443", "0.0.0.0", 443), ("[::]:8443", "::", 8443), (":443", "0.0.0.0", 443)],  # noqa: S104
)
def test_where_to_listen_is_read(text: str, host: str, port: int) -> None:
    assert Listen.parse(text) == (host, port)

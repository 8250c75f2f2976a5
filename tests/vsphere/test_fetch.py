"""OVAs from elsewhere: what is not to be had, or not to be trusted, is told as such."""

import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from moorage.kit.errors import MoorageError, TerminalError, UnavailableError
from moorage.vsphere.fetch import open_file, open_url
from tests.link.pki import make, server_context

Answer = Callable[[BaseHTTPRequestHandler], None]


@contextmanager
def serving(answer: Answer, context: ssl.SSLContext | None = None) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            answer(self)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    if context is not None:
        server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        scheme = "http" if context is None else "https"
        yield f"{scheme}://127.0.0.1:{server.server_address[1]}/a.ova"
    finally:
        server.shutdown()
        server.server_close()


def sending(body: bytes, *, announced: int | None = None, status: int = 200) -> Answer:
    def answer(request: BaseHTTPRequestHandler) -> None:
        request.send_response(status)
        if announced != -1:
            request.send_header("Content-Length", str(announced or len(body)))
        request.end_headers()
        request.wfile.write(body)

    return answer


def led_to(url: str) -> Answer:
    def answer(request: BaseHTTPRequestHandler) -> None:
        request.send_response(302)
        request.send_header("Location", url)
        request.end_headers()

    return answer


def read(url: str, ca_bundle: str | None = None) -> bytes:
    with open_url(url, ca_bundle=ca_bundle, timeout_s=60) as incoming:
        found = b"".join(incoming.pieces)
        assert len(found) == incoming.size
        return found


def test_a_file_is_read_over_http_and_where_it_leads() -> None:
    with serving(sending(b"abc" * 1000)) as url, serving(led_to(url)) as first:
        assert read(first) == b"abc" * 1000


@pytest.mark.parametrize(
    ("answer", "kind", "word"),
    [
        (sending(b"", status=404), TerminalError, "404"),
        (sending(b"", status=503), UnavailableError, "503"),
        (sending(b"abc", announced=-1), TerminalError, "how large"),
        (sending(b"abc", announced=10), UnavailableError, "a.ova"),
    ],
)
def test_what_is_not_to_be_had_is_told(answer: Answer, kind: type[MoorageError], word: str) -> None:
    with serving(answer) as url, pytest.raises(kind, match=word):
        read(url)


def test_a_server_that_does_not_answer_is_tried_again() -> None:
    with pytest.raises(UnavailableError, match="does not answer"):
        read("http://127.0.0.1:9/a.ova")


def test_the_servers_certificate_is_verified(tmp_path: Path) -> None:
    ca = make("ca")
    context = server_context(tmp_path, make("server", ca))
    with serving(sending(b"abc"), context) as url:
        with pytest.raises(TerminalError, match="not trusted") as told:
            read(url)
        assert told.value.reason == "SourceUntrusted"
        assert read(url, ca.pem) == b"abc"


def test_nobody_is_led_from_https_to_plain_http(tmp_path: Path) -> None:
    ca = make("ca")
    context = server_context(tmp_path, make("server", ca))
    with (
        serving(sending(b"abc")) as plain,
        serving(led_to(plain), context) as url,
        pytest.raises(UnavailableError, match="away from HTTPS"),
    ):
        read(url, ca.pem)


@pytest.mark.parametrize("name", ["../secret", "a/b.ova", ".hidden", "none.ova", "/etc/passwd"])
def test_only_files_of_the_folder_are_opened(name: str, tmp_path: Path) -> None:
    folder = tmp_path / "imports"
    (folder / "a").mkdir(parents=True)
    for path in (tmp_path / "secret", folder / "a" / "b.ova", folder / ".hidden"):
        path.write_bytes(b"x")

    with pytest.raises(TerminalError) as told, open_file(folder, name):
        pass

    assert told.value.reason == "SourceNotFound"

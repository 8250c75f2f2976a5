"""A web server with one OVA: it may let its readers wait, cut them off, and go on in the middle."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.ova import OVA


class Site:
    """What is served, and how."""

    def __init__(self, content: bytes = OVA) -> None:
        self.content = content
        self.etag = ""
        """Version of the file; without one, nobody can go on in the middle."""
        self.asked: list[str] = []
        """Range of each request; empty for the whole."""
        self.cuts = 0
        """How many of the next answers end in the middle."""
        self.half_way = threading.Event()
        self.go_on = threading.Event()
        self.go_on.set()


@contextmanager
def serving(site: Site) -> Iterator[str]:
    """Serve on loopback; yields the URL."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path != "/template.ova":
                self.send_error(404)
                return
            wanted = self.headers.get("Range", "")
            site.asked.append(wanted)
            goes_on = wanted and site.etag and self.headers.get("If-Range") == site.etag
            first = int(wanted.removeprefix("bytes=").rstrip("-")) if goes_on else 0
            size = len(site.content)
            self.send_response(206 if goes_on else 200)
            self.send_header("Content-Length", str(size - first))
            if site.etag:
                self.send_header("ETag", site.etag)
            if goes_on:
                self.send_header("Content-Range", f"bytes {first}-{size - 1}/{size}")
            self.end_headers()
            half = first + (size - first) // 2
            self.wfile.write(site.content[first:half])
            self.wfile.flush()
            site.half_way.set()
            if site.cuts:
                site.cuts -= 1
                self.close_connection = True
                return
            site.go_on.wait(60)
            self.wfile.write(site.content[half:])

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/template.ova"
    finally:
        site.go_on.set()
        server.shutdown()
        server.server_close()

"""A web server on this machine that misbehaves on purpose."""

from __future__ import annotations

import re
import socket
import ssl
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from urllib.parse import urlsplit

from PIL import Image


def picture(seed: int = 0, kind: str = "JPEG", size: tuple[int, int] = (64, 48)) -> bytes:
    """An image of noise, so that it is some kilobytes long; the same for the same seed."""
    noise = Image.effect_noise(size, 60 + seed)
    made = BytesIO()
    noise.convert("RGB").save(made, kind)
    return made.getvalue()


class FaultyServer(ThreadingHTTPServer):
    """Serves ``/img/N.jpg`` and one path for each fault.

    Attributes:
        hits: Requests per path.
        ranges: ``Range`` headers per path, in order.
        seen: ``Authorization`` headers per path.
        open_gate: Stalled answers wait for it.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.hits: Counter[str] = Counter()
        self.ranges: dict[str, list[str | None]] = {}
        self.seen: dict[str, str | None] = {}
        self.times: dict[str, list[float]] = {}
        self.pictures: dict[str, bytes] = {}
        self.raw: list[bytes] = []
        self.proxy_logins: list[str | None] = []
        self.etags: dict[str, str] = {}
        self.pause = 0.0
        self.scheme = "http"
        self.target = ""
        self.open_gate = threading.Event()
        self.lock = threading.Lock()

    @property
    def url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.server_address[1]}"

    def handle_error(self, request: object, client_address: object) -> None:
        """Clients hang up on purpose here."""

    def body(self, path: str) -> bytes:
        with self.lock:
            if path not in self.pictures:
                number = re.search(r"\d+", path)
                self.pictures[path] = picture(int(number[0]) if number else 0)
            return self.pictures[path]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: FaultyServer

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        path = urlsplit(self.path).path
        if self.path.startswith("http:"):
            self.server.proxy_logins.append(self.headers.get("Proxy-Authorization"))
        with self.server.lock:
            self.server.hits[path] += 1
            self.server.ranges.setdefault(path, []).append(self.headers.get("Range"))
            self.server.seen[path] = self.headers.get("Authorization")
            self.server.times.setdefault(path, []).append(time.monotonic())
        name = path.strip("/").partition("/")[0]
        handler = getattr(self, f"on_{name}", None)
        if handler is None:
            self.answer(404, b"nothing here", "text/plain")
        else:
            handler(path)

    def answer(
        self, status: int, body: bytes, kind: str | None = "image/jpeg", **headers: str
    ) -> None:
        self.send_response(status)
        if kind:
            self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        for key, value in headers.items():
            self.send_header(key.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def on_img(self, path: str) -> None:
        if self.server.pause:
            time.sleep(self.server.pause)
        self.answer(200, self.server.body(path))

    def on_flaky(self, path: str) -> None:
        """500 twice, then the image."""
        if self.server.hits[path] <= 2:
            self.answer(500, b"oops", "text/plain")
        else:
            self.answer(200, self.server.body(path))

    def on_busy(self, path: str) -> None:
        if self.server.hits[path] == 1:
            self.answer(429, b"", None, Retry_After="1")
        else:
            self.answer(200, self.server.body(path))

    def on_patient(self, path: str) -> None:
        self.answer(503, b"", None, Retry_After="86400")

    def on_down(self, path: str) -> None:
        self.answer(503, b"", None)

    def on_circle(self, path: str) -> None:
        other = "/circle/b" if path.endswith("a") else "/circle/a"
        self.answer(302, b"", None, Location=other)

    def on_chain(self, path: str) -> None:
        number = int(path.rpartition("/")[2])
        self.answer(302, b"", None, Location=f"/chain/{number + 1}")

    def on_moved(self, path: str) -> None:
        self.answer(301, b"", None, Location="/img/7.jpg")

    def on_elsewhere(self, path: str) -> None:
        self.answer(302, b"", None, Location="file:///etc/passwd")

    def on_inside(self, path: str) -> None:
        port = self.server.server_address[1]
        self.answer(302, b"", None, Location=f"http://localhost:{port}/img/secret.jpg")

    def on_away(self, path: str) -> None:
        """Leads wherever the test wants."""
        self.answer(302, b"", None, Location=self.server.target)

    def on_locked(self, path: str) -> None:
        """The image for whoever brings the right token, and a reproach for anybody else."""
        said = self.headers.get("Authorization")
        if said == "Bearer s3cret-t0ken":
            self.answer(200, self.server.body(path))
        else:
            self.answer(401, b"", None)

    def on_echo(self, path: str) -> None:
        """Says aloud what it was told, in every place."""
        said = self.headers.get("Authorization") or "nothing"
        if path.endswith("status"):
            self.send_response(403, f"Not with {said}")
            self.send_header("Content-Length", "0")
            self.end_headers()
        elif path.endswith("kind"):
            self.answer(200, self.server.body(path), f"image/{said}")
        else:
            self.answer(302, b"", None, Location=f"{path}?{said.replace(' ', '+')}")

    def on_html(self, path: str) -> None:
        self.answer(200, b"<html>please log in</html>", "text/html; charset=utf-8")

    def on_text(self, path: str) -> None:
        self.answer(200, b"not an image at all", "application/octet-stream")

    def on_empty(self, path: str) -> None:
        self.answer(200, b"")

    def on_png(self, path: str) -> None:
        self.answer(200, picture(1, "PNG"), "image/jpeg")

    def on_untyped(self, path: str) -> None:
        self.answer(200, picture(2, "PNG"), None)

    def on_half(self, path: str) -> None:
        """A whole answer of half an image."""
        self.answer(200, self.server.body(path)[:-900])

    def on_huge(self, path: str) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(10**12))
        self.end_headers()

    def on_endless(self, path: str) -> None:
        """No length, and no end."""
        self.send_response(200)
        self.send_header("Connection", "close")
        self.end_headers()
        for _ in range(10_000):
            self.wfile.write(b"\xff" * 65536)
        self.close_connection = True

    def on_short(self, path: str) -> None:
        """States less than it sends: the rest lies on the connection."""
        body = self.server.body(path)
        self.send_response(200)
        self.send_header("Content-Length", str(len(body) // 2))
        self.end_headers()
        self.wfile.write(body)

    def on_cut(self, path: str) -> None:
        """States more than it sends, and hangs up; knows no ranges."""
        body = self.server.body(path)
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: len(body) // 2] if self.server.hits[path] < 3 else body)
        self.close_connection = True

    def on_resumable(self, path: str) -> None:
        """Hangs up half way; knows ranges."""
        body = self.server.body(path)
        tag = self.server.etags.get(path, '"one"')
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range") or "")
        start = int(asked[1]) if asked and self.headers.get("If-Range") == tag else 0
        rest = body[start:]
        self.send_response(206 if start else 200)
        self.send_header("Content-Type", "image/jpeg")
        self.send_header("ETag", tag)
        self.send_header("Content-Length", str(len(rest)))
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
        self.end_headers()
        if self.server.hits[path] == 1:
            self.wfile.write(rest[: len(rest) // 2])
            self.wfile.flush()
            self.server.open_gate.wait(10 if "gate" in path else 0)
            self.close_connection = True
        else:
            self.wfile.write(rest)

    def on_liar(self, path: str) -> None:
        """Sends another part than it was asked for."""
        body = self.server.body(path)
        if self.headers.get("Range"):
            self.answer(206, body[10:], Content_Range=f"bytes 10-{len(body) - 1}/{len(body)}",
                        ETag='"x"')  # fmt: skip
        elif self.server.hits[path] == 1:
            self.send_response(200)
            self.send_header("ETag", '"x"')
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body[:500])
            self.close_connection = True
        else:
            self.answer(200, body)

    def on_stalled(self, path: str) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "5000")
        self.end_headers()
        self.wfile.write(b"\xff\xd8")
        self.wfile.flush()
        self.server.open_gate.wait(20)
        self.close_connection = True

    def on_drip(self, path: str) -> None:
        """Headers byte by byte: never late, never done."""
        self.wfile.write(b"HTTP/1.1 200 OK\r\nX-Slow: ")
        while not self.server.open_gate.wait(0.05):
            self.wfile.write(b"a")
            self.wfile.flush()
        self.close_connection = True

    def on_raw(self, path: str) -> None:
        """Whatever bytes the test wants."""
        self.wfile.write(self.server.raw[int(path.split("/")[2])])
        self.wfile.flush()
        self.close_connection = True

    def on_trickle(self, path: str) -> None:
        """A byte now and then: never late, hardly ever done."""
        self.send_response(200)
        self.send_header("Content-Length", "1000")
        self.end_headers()
        while not self.server.open_gate.wait(0.05):
            self.wfile.write(b"a")
            self.wfile.flush()
        self.close_connection = True

    def on_hangup(self, path: str) -> None:
        self.connection.shutdown(socket.SHUT_RDWR)
        self.close_connection = True


@contextmanager
def serving(tls: tuple[str, str] | None = None) -> Iterator[FaultyServer]:
    """Run a server; over TLS with a certificate and its key, both paths of PEM files."""
    server = FaultyServer()
    if tls is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*tls)
        # The handshake is made by the thread that answers: it may fail, and others have to go on.
        server.socket = context.wrap_socket(
            server.socket, server_side=True, do_handshake_on_connect=False
        )
        server.scheme = "https"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server
    finally:
        server.open_gate.set()
        server.shutdown()
        thread.join()
        server.server_close()

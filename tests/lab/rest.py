"""A server on loopback that speaks JSON over HTTP: a table of routes, each a function of the request."""

import json
import re
import ssl
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from email.message import Message, MIMEPart
from email.parser import BytesParser
from email.policy import HTTP
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from tests.lab.machine import run


class Refused(Exception):
    """An answer that is an error."""

    def __init__(self, status: HTTPStatus) -> None:
        super().__init__(status.phrase)
        self.status = status


@dataclass(frozen=True, kw_only=True)
class Request:
    """One request."""

    method: str
    path: str
    """Without the query."""
    headers: Message
    body: bytes
    words: tuple[str, ...] = ()
    """What the pattern of the path caught."""

    @property
    def token(self) -> str:
        """Of ``Authorization: Bearer``; empty where there is none."""
        return (self.headers["Authorization"] or "").removeprefix("Bearer").strip()

    def json(self) -> Any:
        """The body; raises Refused where it is no JSON."""
        try:
            return json.loads(self.body)
        except ValueError:
            raise Refused(HTTPStatus.BAD_REQUEST) from None

    def part(self, name: str) -> MIMEPart:
        """What a form has as ``name``; raises Refused where it has none."""
        head = b"Content-Type: " + self.headers["Content-Type"].encode() + b"\r\n\r\n"
        form = BytesParser(policy=HTTP).parsebytes(head + self.body)
        for part in form.iter_parts():
            if part.get_param("name", header="Content-Disposition") == name:
                return part
        raise Refused(HTTPStatus.BAD_REQUEST)

    def file(self, name: str) -> bytes:
        """The file that a form has as ``name``; raises Refused where it has none."""
        return bytes(self.part(name).get_payload(decode=True))


@dataclass(frozen=True, kw_only=True)
class Route:
    """What is answered to one kind of request."""

    method: str
    path: str
    """Regular expression of the whole path, without the query."""
    answer: Callable[[Any, Request], Any]
    """Of the store and the request: an object for JSON, text, bytes, or None; raises Refused."""
    status: HTTPStatus = HTTPStatus.OK


Check = Callable[[Any, Request], None]
"""Of the store and any request, before it is answered; raises Refused."""


class _Handler(BaseHTTPRequestHandler):
    routes: Sequence[Route]
    store: Any
    lock: threading.Condition
    check: Check
    refused: list[str]

    def _answer(self) -> None:
        body = self._body()
        with self.lock:
            try:
                status, said = self._found(body)
            except Refused as err:
                status, said = err.status, {"error": str(err)}
                self.refused.append(f"{status:d} {self.command} {self.path} {body.decode(errors='replace')}")
            self.lock.notify_all()
        kind, data = _written(said)
        with suppress(OSError):  # the power of the device went
            self.send_response(status)
            if status != HTTPStatus.NO_CONTENT:
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            if status != HTTPStatus.NO_CONTENT:
                self.wfile.write(data)

    def _found(self, body: bytes) -> tuple[HTTPStatus, Any]:
        request = Request(method=self.command, path=self.path.partition("?")[0], headers=self.headers, body=body)
        type(self).check(self.store, request)
        for route in self.routes:
            if route.method == request.method and (match := re.fullmatch(route.path, request.path)):
                said = route.answer(self.store, replace(request, words=match.groups()))
                return (HTTPStatus.NO_CONTENT if said is None else route.status), said
        raise Refused(HTTPStatus.NOT_FOUND)

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        chunks = []
        while size := int(self.rfile.readline(), 16):
            chunks.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(chunks)

    do_GET = do_POST = do_PUT = _answer

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the library's name
        pass


def _written(said: Any) -> tuple[str, bytes]:
    """Content type and bytes of an answer."""
    if isinstance(said, bytes):
        return "application/octet-stream", said
    return ("text/plain", said.encode()) if isinstance(said, str) else ("application/json", json.dumps(said).encode())


@contextmanager
def serve(
    routes: Sequence[Route],
    store: Any,
    lock: threading.Condition,
    *,
    tls: ssl.SSLContext | None = None,
    check: Check = lambda _store, _request: None,
    refused: list[str] | None = None,
) -> Iterator[str]:
    """Serve until the end, one request at a time under ``lock``, which is notified of each; yields the URL.

    ``refused`` gets a line for each request that was answered with an error.
    """
    own = {
        "routes": routes,
        "store": store,
        "lock": lock,
        "check": check,
        "refused": [] if refused is None else refused,
    }
    with ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), own)) as server:
        if tls is not None:
            server.socket = tls.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"{'http' if tls is None else 'https'}://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()


def make_certificate(folder: Path) -> tuple[Path, ssl.SSLContext]:
    """A certificate of 127.0.0.1, which is its own CA, and what a server needs to show it."""
    key, certificate = folder / "server.key", folder / "server.crt"
    run(
        *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"),
        *("-days", "2", "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"),
        *("-keyout", key, "-out", certificate),
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return certificate, context

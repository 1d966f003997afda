"""What of hawkBit a roll-out needs, on loopback: the management API that upload.py calls, and DDI, which devices poll.

Sources: https://eclipse.dev/hawkbit/rest-api/mgmt.html and .../ddi.html. As hawkBit does, it refuses feedback that is
no JSON and feedback to a closed action, and an action waits until the device took the cancellation of the last one.
"""

import base64
import hashlib
import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from email.parser import BytesParser
from email.policy import HTTP
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

LOGIN = "DEFAULT\\admin:secret"
"""User with tenant, and password, of the management API."""
TOKEN = "0123456789abcdef"
"""The device's."""
SLEEP = "00:00:01"
"""Between two polls, HH:MM:SS; suricatta takes 00:00:00 for its own 45 s."""
PARTS = {"application": "bApp", "os": "os"}
"""DDI's name of a chunk by the type of the software module."""


@dataclass(kw_only=True)
class Action:
    """One distribution set for one device."""

    number: int
    module: dict[str, Any]
    feedback: list[dict[str, Any]] = field(default_factory=list)
    """What the device said of it, in order."""
    finished: str | None = None
    """``success``, ``failure`` or ``canceled``; None while it is open."""
    canceling: bool = False

    def details(self) -> str:
        """All that the device said, for an assertion's message and for looking things up in."""
        return "\n".join(line for said in self.feedback for line in said["status"].get("details", ()))


@dataclass(kw_only=True)
class HawkBit:
    """The server's store; its lock is held for each request."""

    address: str = ""
    modules: dict[int, dict[str, Any]] = field(default_factory=dict)
    sets: dict[int, dict[str, Any]] = field(default_factory=dict)
    rollouts: dict[int, dict[str, Any]] = field(default_factory=dict)
    actions: list[Action] = field(default_factory=list)
    """Of the one device there is."""
    attributes: dict[str, str] = field(default_factory=dict)
    """configData of the device."""
    downloads: int = 0
    refused: list[str] = field(default_factory=list)
    """Requests that were answered with an error."""
    reachable: bool = True
    """False: 503 to the device, as a proxy says while hawkBit is away."""
    lock: threading.Condition = field(default_factory=lambda: threading.Condition(threading.RLock()))

    def wait_for(self, reached: Callable[["HawkBit"], object], *, timeout_s: float, log: Callable[[], str]) -> None:
        """Wait until ``reached`` holds; raises AssertionError with what the device logged."""
        with self.lock:
            held = self.lock.wait_for(lambda: reached(self), timeout_s)
        assert held, f"not within {timeout_s:g} s; actions {self.actions}; the device: {log()[-6000:]}"

    def open_action(self) -> Action | None:
        """What is offered: the oldest, since a newer one waits for its cancellation."""
        return next((action for action in self.actions if action.finished is None), None)

    def assign(self, module: dict[str, Any]) -> None:
        for action in self.actions:
            action.canceling = action.finished is None
        self.actions.append(Action(number=len(self.actions) + 100, module=module))


class Refused(Exception):
    """An answer that is an error."""

    def __init__(self, status: HTTPStatus) -> None:
        super().__init__(status.phrase)
        self.status = status


@dataclass(frozen=True, kw_only=True)
class Request:
    """One request as the functions below get it."""

    headers: Any
    body: bytes
    words: tuple[str, ...]
    """What the pattern of the path caught."""

    def json(self) -> Any:
        try:
            return json.loads(self.body)
        except ValueError:
            raise Refused(HTTPStatus.BAD_REQUEST) from None


def _new(store: dict[int, dict[str, Any]], value: dict[str, Any]) -> dict[str, Any]:
    """hawkBit refuses a second of one name and version."""
    keys = [key for key in ("name", "version", "type") if key in value]
    if any(all(old.get(key) == value[key] for key in keys) for old in store.values()):
        raise Refused(HTTPStatus.CONFLICT)
    number = len(store) + 1
    store[number] = {**value, "id": number}
    return store[number]


def new_module(server: HawkBit, request: Request) -> Any:
    return [_new(server.modules, value) for value in request.json()]


def new_artifact(server: HawkBit, request: Request) -> Any:
    head = b"Content-Type: " + request.headers["Content-Type"].encode() + b"\r\n\r\n"
    (part,) = BytesParser(policy=HTTP).parsebytes(head + request.body).iter_parts()
    data = part.get_content()
    hashes = {name: hashlib.new(name, data, usedforsecurity=False).hexdigest() for name in ("sha1", "md5", "sha256")}
    artifact = {"filename": part.get_filename(), "hashes": hashes, "size": len(data), "data": data}
    server.modules[int(request.words[0])]["artifact"] = artifact
    return {"hashes": hashes, "size": len(data)}


def new_set(server: HawkBit, request: Request) -> Any:
    return [_new(server.sets, value) for value in request.json()]


def new_rollout(server: HawkBit, request: Request) -> Any:
    return _new(server.rollouts, {**request.json(), "status": "ready"})


def get_rollout(server: HawkBit, request: Request) -> Any:
    return server.rollouts[int(request.words[0])]


def start_rollout(server: HawkBit, request: Request) -> Any:
    rollout = server.rollouts[int(request.words[0])]
    rollout["status"] = "running"
    for module in server.sets[rollout["distributionSetId"]]["modules"]:
        server.assign(server.modules[module["id"]])
    return None


def poll(server: HawkBit, request: Request) -> Any:
    base = f"{server.address}/DEFAULT/controller/v1/{request.words[0]}"
    links = {} if server.attributes else {"configData": {"href": f"{base}/configData"}}
    action = server.open_action()
    if action is not None:
        name, query = ("cancelAction", "") if action.canceling else ("deploymentBase", "?c=-1")
        links[name] = {"href": f"{base}/{name}/{action.number}{query}"}
    return {"config": {"polling": {"sleep": SLEEP}}, "_links": links}


def _action(server: HawkBit, number: str) -> Action:
    found = next((action for action in server.actions if action.number == int(number)), None)
    if found is None:
        raise Refused(HTTPStatus.NOT_FOUND)
    if found.finished is not None:
        raise Refused(HTTPStatus.GONE)
    return found


def deployment(server: HawkBit, request: Request) -> Any:
    action = _action(server, request.words[1])
    artifact = action.module["artifact"]
    path = f"/DEFAULT/controller/v1/{request.words[0]}/softwaremodules/{action.module['id']}/artifacts"
    link = {"href": f"{server.address}{path}/{artifact['filename']}"}
    file = {name: artifact[name] for name in ("filename", "hashes", "size")} | {"_links": {"download-http": link}}
    chunk = {name: action.module[name] for name in ("name", "version")} | {"artifacts": [file]}
    chunk["part"] = PARTS.get(action.module["type"], action.module["type"])
    return {
        "id": str(action.number),
        "deployment": {"download": "forced", "update": "forced", "chunks": [chunk]},
    }


def feedback(server: HawkBit, request: Request) -> Any:
    said, action = request.json(), _action(server, request.words[1])
    action.feedback.append(said)
    if said["status"]["execution"] == "closed":
        action.finished = said["status"]["result"]["finished"]
        server.attributes = {}  # hawkBit asks for them again after an update


def cancellation(server: HawkBit, request: Request) -> Any:
    number = str(_action(server, request.words[1]).number)
    return {"id": number, "cancelAction": {"stopId": number}}


def cancelled(server: HawkBit, request: Request) -> Any:
    action = _action(server, request.words[1])
    if request.json()["status"]["execution"] == "closed":
        action.finished = "canceled"


def config(server: HawkBit, request: Request) -> Any:
    server.attributes = request.json()["data"]


def artifact(server: HawkBit, request: Request) -> bytes:
    server.downloads += 1
    data: bytes = server.modules[int(request.words[1])]["artifact"]["data"]
    return data


DEVICE = r"/DEFAULT/controller/v1/([\w.-]+)"
ROUTES: tuple[tuple[str, str, Callable[[HawkBit, Request], Any]], ...] = (
    ("POST", r"/rest/v1/softwaremodules", new_module),
    ("POST", r"/rest/v1/softwaremodules/(\d+)/artifacts", new_artifact),
    ("POST", r"/rest/v1/distributionsets", new_set),
    ("POST", r"/rest/v1/rollouts", new_rollout),
    ("GET", r"/rest/v1/rollouts/(\d+)", get_rollout),
    ("POST", r"/rest/v1/rollouts/(\d+)/start", start_rollout),
    ("GET", DEVICE, poll),
    ("PUT", DEVICE + r"/configData", config),
    ("GET", DEVICE + r"/deploymentBase/(\d+)", deployment),
    ("POST", DEVICE + r"/deploymentBase/(\d+)/feedback", feedback),
    ("GET", DEVICE + r"/cancelAction/(\d+)", cancellation),
    ("POST", DEVICE + r"/cancelAction/(\d+)/feedback", cancelled),
    ("GET", DEVICE + r"/softwaremodules/(\d+)/artifacts/[\w.+-]+", artifact),
)


def answer(server: HawkBit, method: str, path: str, headers: Any, body: bytes) -> Any:
    """What the server says: an object for JSON, or bytes; raises Refused."""
    management = path.startswith("/rest/")
    login = "Basic " + base64.b64encode(LOGIN.encode()).decode()
    if not management and not server.reachable:
        raise Refused(HTTPStatus.SERVICE_UNAVAILABLE)
    if headers.get("Authorization") != (login if management else f"TargetToken {TOKEN}"):
        raise Refused(HTTPStatus.UNAUTHORIZED)
    for verb, pattern, function in ROUTES:
        if verb == method and (found := re.fullmatch(pattern, path)):
            return function(server, Request(headers=headers, body=body, words=found.groups()))
    raise Refused(HTTPStatus.NOT_FOUND)


class _Handler(BaseHTTPRequestHandler):
    hawkbit: HawkBit

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        status = HTTPStatus.OK
        with self.hawkbit.lock:
            try:
                said = answer(self.hawkbit, self.command, self.path.partition("?")[0], self.headers, body)
            except Refused as err:
                status, said = err.status, {"message": str(err)}
                self.hawkbit.refused.append(f"{status:d} {self.command} {self.path} {body.decode(errors='replace')}")
            self.hawkbit.lock.notify_all()
        data = said if isinstance(said, bytes) else b"" if said is None else json.dumps(said).encode()
        with suppress(ConnectionError):  # the device lost its power
            self.send_response(status)
            kind = "octet-stream" if isinstance(said, bytes) else "json"
            self.send_header("Content-Type", f"application/{kind}")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

    do_GET = do_POST = do_PUT = _answer

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the library's name
        pass


@contextmanager
def hawkbit() -> Iterator[HawkBit]:
    """A server with one device to which whatever is rolled out goes."""
    store = HawkBit()
    handler = type("Handler", (_Handler,), {"hawkbit": store})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as served:
        thread = threading.Thread(target=served.serve_forever)
        thread.start()
        store.address = f"http://127.0.0.1:{served.server_address[1]}"
        try:
            yield store
        finally:
            served.shutdown()
            thread.join()

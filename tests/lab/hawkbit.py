"""What of hawkBit a roll-out needs, on loopback: the management API that upload.py calls, and DDI, which devices poll.

Sources: https://eclipse.dev/hawkbit/rest-api/mgmt.html and .../ddi.html. As hawkBit does, it refuses feedback that is
no JSON and feedback to a closed action, and an action waits until the device took the cancellation of the last one.
"""

import base64
import hashlib
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from tests.lab.rest import Refused, Request, Route, serve

LOGIN = "DEFAULT\\admin:secret"
"""User with tenant, and password, of the management API."""
TOKEN = "0123456789abcdef"
"""The device's."""
SLEEP = "00:00:01"
"""Between two polls, HH:MM:SS; suricatta takes 00:00:00 for its own 45 s."""
EMPTY = ""
"""Body of an answer with status 200."""
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
    part, data = request.part("file"), request.file("file")
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
    return EMPTY


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
    return EMPTY


def cancellation(server: HawkBit, request: Request) -> Any:
    number = str(_action(server, request.words[1]).number)
    return {"id": number, "cancelAction": {"stopId": number}}


def cancelled(server: HawkBit, request: Request) -> Any:
    action = _action(server, request.words[1])
    if request.json()["status"]["execution"] == "closed":
        action.finished = "canceled"
    return EMPTY


def config(server: HawkBit, request: Request) -> Any:
    server.attributes = request.json()["data"]
    return EMPTY


def artifact(server: HawkBit, request: Request) -> bytes:
    server.downloads += 1
    data: bytes = server.modules[int(request.words[1])]["artifact"]["data"]
    return data


DEVICE = r"/DEFAULT/controller/v1/([\w.-]+)"
ROUTES = (
    Route(method="POST", path=r"/rest/v1/softwaremodules", answer=new_module),
    Route(method="POST", path=r"/rest/v1/softwaremodules/(\d+)/artifacts", answer=new_artifact),
    Route(method="POST", path=r"/rest/v1/distributionsets", answer=new_set),
    Route(method="POST", path=r"/rest/v1/rollouts", answer=new_rollout),
    Route(method="GET", path=r"/rest/v1/rollouts/(\d+)", answer=get_rollout),
    Route(method="POST", path=r"/rest/v1/rollouts/(\d+)/start", answer=start_rollout),
    Route(method="GET", path=DEVICE, answer=poll),
    Route(method="PUT", path=DEVICE + r"/configData", answer=config),
    Route(method="GET", path=DEVICE + r"/deploymentBase/(\d+)", answer=deployment),
    Route(method="POST", path=DEVICE + r"/deploymentBase/(\d+)/feedback", answer=feedback),
    Route(method="GET", path=DEVICE + r"/cancelAction/(\d+)", answer=cancellation),
    Route(method="POST", path=DEVICE + r"/cancelAction/(\d+)/feedback", answer=cancelled),
    Route(method="GET", path=DEVICE + r"/softwaremodules/(\d+)/artifacts/[\w.+-]+", answer=artifact),
)


def check(server: HawkBit, request: Request) -> None:
    """Whether whoever asks may, and whether hawkBit is there."""
    management = request.path.startswith("/rest/")
    login = "Basic " + base64.b64encode(LOGIN.encode()).decode()
    if not management and not server.reachable:
        raise Refused(HTTPStatus.SERVICE_UNAVAILABLE)
    if request.headers["Authorization"] != (login if management else f"TargetToken {TOKEN}"):
        raise Refused(HTTPStatus.UNAUTHORIZED)


@contextmanager
def hawkbit() -> Iterator[HawkBit]:
    """A server with one device to which whatever is rolled out goes."""
    store = HawkBit()
    with serve(ROUTES, store, store.lock, check=check, refused=store.refused) as store.address:
        yield store

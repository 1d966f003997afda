"""What of Mender's server a deployment needs, on loopback: the API of devices, and that of upload.sh.

Sources: https://docs.mender.io/api/, device API (authentication v1, inventory v1, deployments v1 and, for the next
deployment, v2) and management API v1 of deployments. As Mender's, it gives no token before somebody has accepted the
device, verifies what the device signs, chooses by the artifact's own name and device types, and takes no report of a
deployment that was aborted.
"""

import base64
import json
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any
from uuid import uuid4

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from edgekit.bundle.archives.tar import read_tar
from tests.lab.rest import Refused, Request, Route, serve

USER_TOKEN = "a personal access token"
DEVICE_TOKEN = "header.payload.signature"
FINAL = ("success", "failure", "already-installed")


@dataclass(frozen=True, kw_only=True)
class Uploaded:
    """An artifact, as its header-info names it."""

    data: bytes
    device_types: tuple[str, ...]


@dataclass(kw_only=True)
class Deployment:
    """One artifact for the one device."""

    artifact: str
    id: str = field(default_factory=lambda: str(uuid4()))
    """The client keeps one log a deployment, under this name."""
    statuses: list[str] = field(default_factory=list)
    """What the device reported, in order, the same twice only once."""
    log: str = ""
    aborted: bool = False

    @property
    def ended(self) -> bool:
        return self.aborted or self.statuses[-1:] in [[status] for status in FINAL]


@dataclass(kw_only=True)
class MenderServer:
    """The store; its lock is held for each request."""

    address: str = ""
    artifacts: dict[str, Uploaded] = field(default_factory=dict)
    deployments: list[Deployment] = field(default_factory=list)
    identity: dict[str, str] = field(default_factory=dict)
    """Of the device that asked to be accepted."""
    accepted: bool = False
    inventory: dict[str, Any] = field(default_factory=dict)
    provides: dict[str, str] = field(default_factory=dict)
    """What the device said of itself when it asked for the next deployment."""
    lock: threading.Condition = field(default_factory=lambda: threading.Condition(threading.RLock()))

    def accept(self) -> None:
        """What a user does with a device that is pending."""
        with self.lock:
            self.accepted = True

    def wait_for(self, reached: Callable[["MenderServer"], object], log: Callable[[], str]) -> None:
        """Wait until ``reached`` holds after a request; AssertionError with what the device logged."""
        with self.lock:
            held = self.lock.wait_for(lambda: reached(self), 60.0)
        assert held, f"never reached; {self.deployments}; the device: {log()[-6000:]}"

    def ended(self, log: Callable[[], str]) -> Deployment:
        """The newest deployment, once the device has told its end."""
        newest = self.deployments[-1]
        self.wait_for(lambda _: newest.ended, log)
        return newest

    def failed(self, log: Callable[[], str]) -> str:
        """The device's log of the newest deployment, which failed."""
        newest = self.ended(log)
        assert newest.statuses[-1] == "failure", f"{newest}; the device: {log()[-6000:]}"
        self.wait_for(lambda _: newest.log, log)
        return newest.log

    def deployment(self, id_: str) -> Deployment:
        for found in self.deployments:
            if found.id == id_:
                return found
        raise Refused(HTTPStatus.NOT_FOUND)


def upload(server: MenderServer, request: Request) -> Any:
    _check_user(request)
    data = request.file("artifact")
    outer = {member.name: member.data for member in read_tar(data)}
    header = {member.name: member.data for member in read_tar(outer["header.tar"])}
    info = json.loads(header["header-info"])
    name = info["artifact_provides"]["artifact_name"]
    if name in server.artifacts:
        raise Refused(HTTPStatus.CONFLICT)
    server.artifacts[name] = Uploaded(data=data, device_types=tuple(info["artifact_depends"]["device_type"]))
    return {}


def deploy(server: MenderServer, request: Request) -> Any:
    _check_user(request)
    name = request.json()["artifact_name"]
    if name not in server.artifacts:
        raise Refused(HTTPStatus.UNPROCESSABLE_ENTITY)
    server.deployments.append(Deployment(artifact=name))
    return {}


def authenticate(server: MenderServer, request: Request) -> Any:
    said = request.json()
    key = load_pem_public_key(said["pubkey"].encode())
    assert isinstance(key, RSAPublicKey)
    try:
        key.verify(base64.b64decode(request.headers["X-MEN-Signature"] or ""), request.body, PKCS1v15(), SHA256())
    except InvalidSignature:
        raise Refused(HTTPStatus.UNAUTHORIZED) from None
    server.identity = json.loads(said["id_data"])
    if not server.accepted:
        raise Refused(HTTPStatus.UNAUTHORIZED)
    return DEVICE_TOKEN


def replace_inventory(server: MenderServer, request: Request) -> Any:
    _check_device(request)
    server.inventory = {item["name"]: item["value"] for item in request.json()}
    return {}


def next_deployment(server: MenderServer, request: Request) -> Any:
    _check_device(request)
    server.provides = request.json()["device_provides"]
    for deployment in server.deployments:
        artifact = server.artifacts[deployment.artifact]
        if not deployment.ended and server.provides["device_type"] in artifact.device_types:
            return {
                "id": deployment.id,
                "artifact": {
                    "artifact_name": deployment.artifact,
                    "source": {
                        "uri": f"{server.address}/download/{deployment.artifact}",
                        "expire": "2099-01-01T00:00:00Z",
                    },
                    "device_types_compatible": artifact.device_types,
                },
            }
    return None


def report(server: MenderServer, request: Request) -> Any:
    _check_device(request)
    deployment = server.deployment(request.words[0])
    if deployment.aborted:
        raise Refused(HTTPStatus.CONFLICT)
    status = request.json()["status"]
    if deployment.statuses[-1:] != [status]:
        deployment.statuses.append(status)


def keep_log(server: MenderServer, request: Request) -> Any:
    _check_device(request)
    deployment = server.deployment(request.words[0])
    deployment.log = "\n".join(line["message"] for line in request.json()["messages"])


def download(server: MenderServer, request: Request) -> Any:
    return server.artifacts[request.words[0]].data


def _check_user(request: Request) -> None:
    if request.token != USER_TOKEN:
        raise Refused(HTTPStatus.UNAUTHORIZED)


def _check_device(request: Request) -> None:
    if request.token != DEVICE_TOKEN:
        raise Refused(HTTPStatus.UNAUTHORIZED)


MANAGEMENT = "/api/management/v1/deployments"
DEVICE = "/api/devices/v1"
ROUTES = (
    Route(method="POST", path=MANAGEMENT + "/artifacts", answer=upload, status=HTTPStatus.CREATED),
    Route(method="POST", path=MANAGEMENT + r"/deployments/group/[\w-]+", answer=deploy, status=HTTPStatus.CREATED),
    Route(method="POST", path=DEVICE + "/authentication/auth_requests", answer=authenticate),
    Route(method="PUT", path=DEVICE + "/inventory/device/attributes", answer=replace_inventory),
    Route(method="POST", path="/api/devices/v2/deployments/device/deployments/next", answer=next_deployment),
    Route(method="PUT", path=DEVICE + r"/deployments/device/deployments/([\w-]+)/status", answer=report),
    Route(method="PUT", path=DEVICE + r"/deployments/device/deployments/([\w-]+)/log", answer=keep_log),
    Route(method="GET", path=r"/download/([\w.-]+)", answer=download),
)


@contextmanager
def mender_server(tls: ssl.SSLContext) -> Iterator[MenderServer]:
    """A server with one device, to which every deployment goes."""
    store = MenderServer()
    with serve(ROUTES, store, store.lock, tls=tls) as store.address:
        yield store

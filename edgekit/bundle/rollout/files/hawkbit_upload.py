"""Upload a bundle to hawkBit and create its rollout, from the JSON files beside this script.

Set HAWKBIT_URL, HAWKBIT_USER (login with tenant) and HAWKBIT_PASSWORD; then: python3 upload.py BUNDLE [--start]

The rollout waits until it is started: here with --start, or in hawkBit. Needs Python 3.7 and nothing else.
"""

import argparse
import base64
import hashlib
import http.client
import json
import os
import secrets
import sys
import time
import urllib.parse
from pathlib import Path
from typing import Any, Dict, Iterator, NamedTuple

HERE = Path(__file__).resolve().parent
API = "/rest/v1"
WAIT_S = 120
SUCCESS = 2
CONFLICT = 409


class Refused(Exception):
    """hawkBit said no."""


class Server(NamedTuple):
    """Where the requests go."""

    connection: http.client.HTTPConnection
    headers: Dict[str, str]
    prefix: str


def connect() -> Server:
    """The server of HAWKBIT_URL; ends with what is missing."""
    missing = [name for name in ("HAWKBIT_URL", "HAWKBIT_USER", "HAWKBIT_PASSWORD") if not os.environ.get(name)]
    if missing:
        sys.exit("Set %s." % ", ".join(missing))
    url = urllib.parse.urlsplit(os.environ["HAWKBIT_URL"])
    kinds = {"https": http.client.HTTPSConnection, "http": http.client.HTTPConnection}
    if url.scheme not in kinds or not url.hostname:
        sys.exit("HAWKBIT_URL is no http(s) address: %s" % os.environ["HAWKBIT_URL"])
    login = "%s:%s" % (os.environ["HAWKBIT_USER"], os.environ["HAWKBIT_PASSWORD"])
    headers = {"Authorization": "Basic " + base64.b64encode(login.encode()).decode(), "Accept": "application/json"}
    return Server(kinds[url.scheme](url.hostname, url.port, timeout=300), headers, url.path.rstrip("/") + API)


def call(server: Server, method: str, path: str, body: Any = None, **headers: str) -> Any:
    """The decoded answer; raises Refused with what hawkBit said."""
    if isinstance(body, (dict, list)):
        body, headers = json.dumps(body).encode(), {"Content-Type": "application/json"}
    server.connection.request(method, server.prefix + path, body=body, headers=dict(server.headers, **headers))
    answer = server.connection.getresponse()
    data = answer.read().decode("utf-8", "replace").strip()
    if answer.status // 100 != SUCCESS:
        hint = ": it is there already; raise the version" if answer.status == CONFLICT else ""
        raise Refused("%s %s: %d %s%s %s" % (method, path, answer.status, answer.reason, hint, data[:500]))
    return json.loads(data) if data else None


def upload(server: Server, module: int, bundle: Path) -> None:
    """Send the file as it is read, and compare hawkBit's sha256 with ours."""
    boundary = secrets.token_hex(16)
    head = '--%s\r\nContent-Disposition: form-data; name="file"; filename="%s"\r\n' % (boundary, bundle.name)
    start = (head + "Content-Type: application/octet-stream\r\n\r\n").encode()
    end = ("\r\n--%s--\r\n" % boundary).encode()
    total = hashlib.sha256()

    def pieces() -> Iterator[bytes]:
        yield start
        with bundle.open("rb") as stream:
            for chunk in iter(lambda: stream.read(1 << 20), b""):
                total.update(chunk)
                yield chunk
        yield end

    headers = {
        "Content-Type": "multipart/form-data; boundary=" + boundary,
        "Content-Length": str(len(start) + bundle.stat().st_size + len(end)),
    }
    found = call(server, "POST", "/softwaremodules/%d/artifacts" % module, pieces(), **headers)
    if found.get("hashes", {}).get("sha256") != total.hexdigest():
        raise Refused("it stored other bytes than were sent: %s" % found.get("hashes"))


def read(name: str) -> Any:
    """A document beside this script."""
    return json.loads((HERE / name).read_text(encoding="utf-8"))


def wait_until_ready(server: Server, rollout: int) -> None:
    """Wait while the server fills the groups of a rollout, which it does in the background."""
    end = time.monotonic() + WAIT_S
    while call(server, "GET", "/rollouts/%d" % rollout)["status"] == "creating":
        if time.monotonic() > end:
            raise Refused("the rollout %d is still being created after %d s" % (rollout, WAIT_S))
        time.sleep(1)


def main() -> int:
    """Upload, create, start where it was asked for; 0, or 1 with what hawkBit said."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--start", action="store_true", help="start the rollout: devices install it")
    arguments = parser.parse_args()
    if not arguments.bundle.is_file():
        sys.exit(f"{arguments.bundle} is no file.")
    server = connect()
    try:
        module = call(server, "POST", "/softwaremodules", [read("softwaremodule.json")])[0]["id"]
        upload(server, module, arguments.bundle)
        sets = dict(read("distributionset.json"), modules=[{"id": module}])
        collection = call(server, "POST", "/distributionsets", [sets])[0]["id"]
        body = dict(read("rollout.json"), distributionSetId=collection)
        rollout = call(server, "POST", "/rollouts", body)["id"]
        wait_until_ready(server, rollout)
        if arguments.start:
            call(server, "POST", "/rollouts/%d/start" % rollout)
    except (Refused, OSError, http.client.HTTPException) as err:
        sys.exit(f"hawkBit: {err}")
    print("rollout %d %s" % (rollout, "is started" if arguments.start else "waits to be started"))
    return 0


if __name__ == "__main__":
    sys.exit(main())

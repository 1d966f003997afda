"""The files for a fleet's server: what they say, and what the scripts do with a server that answers as documented."""

import base64
import hashlib
import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest

from edgekit.agent.layout import Place, point
from edgekit.agent.state import Activation, Hooks, Named, State, write_state
from edgekit.bundle.rollout import SYSTEMS, rollout_files
from edgekit.bundle.rollout.types import RolloutRequest
from edgekit.errors import BundleError
from tests.bundles import make_release

pytestmark = pytest.mark.unit
BUNDLE = b"bundle " * 300_000


def request(format_: str = "swupdate", **settings: str) -> RolloutRequest:
    release = make_release(name="kws", hardware=("rpi4", "rpi4:1.5"), artifact="a" * 64)
    return RolloutRequest(
        file="kws-1.2.0.swu",
        format=format_,  # type: ignore[arg-type]
        sha256=hashlib.sha256(BUNDLE).hexdigest(),
        size=len(BUNDLE),
        release=release,
        tree={"release.json": b"{}", "install.sh": b"#!/bin/sh\n", "requirements.txt": b"numpy\n"},
        settings=settings,
        now=datetime(2026, 11, 21, 12, 0, tzinfo=UTC),
    )


def written(folder: Path, files: Any) -> Path:
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


class Server(BaseHTTPRequestHandler):
    """A server that answers what ``answers`` says and keeps what it was asked."""

    asked: ClassVar[list[tuple[str, str, dict[str, str], bytes]]] = []
    answers: ClassVar[dict[str, tuple[int, Any]]] = {}

    def _answer(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        self.asked.append((self.command, self.path, dict(self.headers), self.rfile.read(length)))
        status, body = self.answers[f"{self.command} {self.path}"]
        data = json.dumps(body).encode() if body is not None else b""
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    do_GET = do_POST = _answer

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the library's name
        pass


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setattr(Server, "asked", [])
    with ThreadingHTTPServer(("127.0.0.1", 0), Server) as found:
        thread = threading.Thread(target=found.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{found.server_address[1]}"
        found.shutdown()
        thread.join()


def run_hawkbit(folder: Path, server: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
    bundle = folder / "kws-1.2.0.swu"
    bundle.write_bytes(BUNDLE)
    environment = dict(os.environ, HAWKBIT_URL=server, HAWKBIT_USER="DEFAULT\\admin", HAWKBIT_PASSWORD="secret")
    command = [sys.executable, str(folder / "upload.py"), str(bundle), *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def hawkbit_answers() -> dict[str, tuple[int, Any]]:
    return {
        "POST /rest/v1/softwaremodules": (201, [{"id": 7}]),
        "POST /rest/v1/softwaremodules/7/artifacts": (201, {"hashes": {"sha256": hashlib.sha256(BUNDLE).hexdigest()}}),
        "POST /rest/v1/distributionsets": (201, [{"id": 8}]),
        "POST /rest/v1/rollouts": (201, {"id": 9}),
        "GET /rest/v1/rollouts/9": (200, {"status": "ready"}),
        "POST /rest/v1/rollouts/9/start": (200, None),
    }


def test_hawkbit_gets_module_file_set_and_rollout(tmp_path: Path, server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Server, "answers", hawkbit_answers())
    written(tmp_path, rollout_files("hawkbit", request(targets="attribute.board==rpi4")))
    ran = run_hawkbit(tmp_path, server, "--start")
    assert (ran.returncode, ran.stdout) == (0, "rollout 9 is started\n"), ran.stderr
    assert [f"{method} {path}" for method, path, _, _ in Server.asked] == list(hawkbit_answers())
    bodies = [body for _, _, _, body in Server.asked]
    assert json.loads(bodies[0])[0]["version"] == "1.2.0"
    assert BUNDLE in bodies[1]
    assert b'filename="kws-1.2.0.swu"' in bodies[1]
    assert json.loads(bodies[2])[0]["modules"] == [{"id": 7}]
    rollout = json.loads(bodies[3])
    assert rollout["distributionSetId"] == 8
    assert rollout["targetFilterQuery"] == "attribute.board==rpi4"
    assert [group["targetPercentage"] for group in rollout["groups"]] == [5, 25, 100]
    login = base64.b64decode(Server.asked[0][2]["Authorization"].split()[1])
    assert login == b"DEFAULT\\admin:secret"


def test_hawkbit_does_not_start_unasked(tmp_path: Path, server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Server, "answers", hawkbit_answers())
    written(tmp_path, rollout_files("hawkbit", request()))
    ran = run_hawkbit(tmp_path, server)
    assert (ran.returncode, ran.stdout) == (0, "rollout 9 waits to be started\n")
    assert not any(path.endswith("/start") for _, path, _, _ in Server.asked)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"POST /rest/v1/softwaremodules": (409, {"message": "exists"})}, "it is there already; raise the version"),
        ({"POST /rest/v1/softwaremodules": (401, None)}, "401"),
        ({"POST /rest/v1/softwaremodules/7/artifacts": (201, {"hashes": {"sha256": "0" * 64}})}, "other bytes"),
    ],
)
def test_hawkbit_refusals_are_said(
    tmp_path: Path, server: str, monkeypatch: pytest.MonkeyPatch, change: dict[str, tuple[int, Any]], said: str
) -> None:
    monkeypatch.setattr(Server, "answers", {**hawkbit_answers(), **change})
    written(tmp_path, rollout_files("hawkbit", request()))
    ran = run_hawkbit(tmp_path, server)
    assert ran.returncode == 1
    assert said in ran.stderr
    assert "Traceback" not in ran.stderr
    assert "secret" not in ran.stderr


def test_mender_uploads_and_deploys(tmp_path: Path, server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    api = "/api/management/v1/deployments"
    answers = {f"POST {api}/artifacts": (201, None), f"POST {api}/deployments/group/canaries": (201, None)}
    monkeypatch.setattr(Server, "answers", answers)
    written(tmp_path, rollout_files("mender", request("mender")))
    bundle = tmp_path / "kws.mender"
    bundle.write_bytes(BUNDLE)
    environment = dict(os.environ, MENDER_SERVER=server, MENDER_TOKEN="t0ken")
    command = ["sh", str(tmp_path / "upload.sh"), str(bundle), "canaries"]
    ran = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stdout) == (0, "deployed to the group canaries\n"), ran.stderr
    assert [path for _, path, _, _ in Server.asked] == [f"{api}/artifacts", f"{api}/deployments/group/canaries"]
    assert BUNDLE in Server.asked[0][3]
    assert json.loads(Server.asked[1][3])["artifact_name"] == "kws-1.2.0"
    assert Server.asked[1][2]["Authorization"] == "Bearer t0ken"


def test_azure_manifest_names_both_files_with_their_digests() -> None:
    files = rollout_files("azure", request(provider="Contoso", manufacturer="raspberrypi"))
    manifest = json.loads(files["kws-1.2.0.importmanifest.json"])
    assert manifest["updateId"] == {"provider": "Contoso", "name": "kws", "version": "1.2.0"}
    assert manifest["compatibility"][0] == {"manufacturer": "raspberrypi", "model": "rpi4"}
    sizes = {file["filename"]: file["sizeInBytes"] for file in manifest["files"]}
    script = files["edgekit-device-update.sh"]
    assert sizes == {"kws-1.2.0.swu": len(BUNDLE), "edgekit-device-update.sh": len(script)}
    digests = [base64.b64decode(file["hashes"]["sha256"]) for file in manifest["files"]]
    assert digests == [hashlib.sha256(BUNDLE).digest(), hashlib.sha256(script).digest()]
    step = manifest["instructions"]["steps"][0]
    assert step["files"] == list(reversed(sizes))
    assert re.fullmatch(r"\S+/\S+:\d{1,5}", step["handler"])
    assert len(step["description"]) <= 64


def test_azure_needs_numbers_and_names() -> None:
    with pytest.raises(BundleError, match="provider: found nothing, expected") as missing:
        rollout_files("azure", request())
    assert "--setting provider=" in missing.value.hint
    early = request(provider="c", manufacturer="m")
    early = replace(early, release=make_release(version="1.2.0-rc.1"))
    with pytest.raises(BundleError, match="knows numbers only"):
        rollout_files("azure", early)


def test_azure_leaves_no_device_out() -> None:
    many = replace(request(provider="c", manufacturer="m"), release=make_release(hardware=tuple("abcdefghijk")))
    with pytest.raises(BundleError, match="names 10 kinds of devices, and the release is for 11"):
        rollout_files("azure", many)


@pytest.mark.parametrize(
    ("state", "action", "code"),
    [
        (None, "is-installed", 901),
        ("1.2.0", "is-installed", 900),
        ("1.1.0", "is-installed", 901),
        (None, "download", 500),
        (None, "apply", 700),
        (None, "cancel", 801),
    ],
)
def test_azure_script_answers_the_agent(tmp_path: Path, state: str | None, action: str, code: int) -> None:
    script = written(tmp_path, rollout_files("azure", request(provider="c", manufacturer="m")))
    if state is not None:
        active_release(tmp_path / "root", state)
    found = _device_update(script, tmp_path, action, "--installed-criteria", "1.2.0")
    assert found["resultCode"] == code


def active_release(root: Path, version: str) -> None:
    """What the agent leaves of an active release."""
    place = Place(root=str(root), name="kws")
    digest = "d" * 64
    Path(place.version(digest)).mkdir(parents=True)
    point(place, digest)
    named = Named(version=version, sha256="e" * 64)
    history = (Activation(digest, "xnnpack", {}, named),)
    write_state(place, State(history=history, hooks=Hooks(), pending=None, floor=named))


@pytest.mark.parametrize(("status", "code"), [(0, 600), (3, 0)])
def test_azure_script_installs_a_tar(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, status: int, code: int) -> None:
    folder = written(tmp_path, rollout_files("azure", request("tar", provider="c", manufacturer="m")))
    unpack = tmp_path / "bin/edgekit-unpack"
    unpack.parent.mkdir()
    unpack.write_text(f"""#!/bin/sh
mkdir "$2"; printf '%s\\n' 'echo "said \\"so\\" of $(cat '"$1"')"; exit {status}' >"$2/install.sh"
""")
    unpack.chmod(0o755)
    monkeypatch.setenv("PATH", f"{unpack.parent}:{os.environ['PATH']}")
    (tmp_path / "kws.tar").write_text("the bundle")
    found = _device_update(folder, tmp_path, "install", "--bundle", "kws.tar", "--format", "tar")
    assert found["resultCode"] == code
    assert list((tmp_path / "root").iterdir()) == []
    if status:
        assert found["extendedResultCode"] == status
        assert "said so of the bundle" in found["resultDetails"]


def test_azure_script_reports_the_cause_in_json_that_can_be_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What an application says may be coloured, cut, or long, and the cause comes last."""
    folder = written(tmp_path, rollout_files("azure", request("tar", provider="c", manufacturer="m")))
    unpack = tmp_path / "bin/edgekit-unpack"
    unpack.parent.mkdir()
    unpack.write_text(
        "#!/bin/sh\nseq 1000\nprintf 'the cause: \\033[31m\\r\\b\\377\\303 \\\\ \"dark\"\\nthe step\\n'; exit 8\n"
    )
    unpack.chmod(0o755)
    monkeypatch.setenv("PATH", f"{unpack.parent}:{os.environ['PATH']}")
    found = _device_update(folder, tmp_path, "install", "--bundle", "kws.tar", "--format", "tar")
    assert (found["extendedResultCode"], found["resultDetails"]) == (8, "the cause: [31m  dark the step")


def test_azure_script_runs_nothing_of_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = written(tmp_path, rollout_files("azure", request(provider="c", manufacturer="m")))
    active_release(tmp_path / "root", "1.2.0")
    (tmp_path / "json.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    monkeypatch.chdir(tmp_path)
    assert _device_update(script, tmp_path, "is-installed", "--installed-criteria", "1.2.0")["resultCode"] == 900
    assert not (tmp_path / "ran").exists()


def test_azure_script_says_that_a_program_is_missing(tmp_path: Path) -> None:
    folder = written(tmp_path, rollout_files("azure", request("tar", provider="c", manufacturer="m")))
    found = _device_update(folder, tmp_path, "install", "--bundle", "kws.tar", "--format", "tar")
    assert found["resultCode"] == 0
    assert "edgekit-unpack" in found["resultDetails"]


def _device_update(folder: Path, work: Path, action: str, *arguments: str) -> dict[str, Any]:
    result = work / "out" / "result.json"
    command = ["sh", str(folder / "edgekit-device-update.sh"), f"--action-{action}", "--work-folder", str(work)]
    command += ["--name", "kws", "--result-file", str(result), "--root", str(work / "root"), *arguments]
    subprocess.run(command, check=True, capture_output=True)
    found: dict[str, Any] = json.loads(result.read_text())
    return found


def test_balena_folder_has_the_release_and_a_volume() -> None:
    files = rollout_files("balena", request("tar"))
    assert files["release/install.sh"] == b"#!/bin/sh\n"
    assert "edgekit:/var/lib/edgekit" in files["docker-compose.yml"].decode()
    assert "EDGEKIT_ROOT=/var/lib/edgekit" in files["Dockerfile"].decode()


@pytest.mark.parametrize(("status", "said"), [(0, "is active"), (3, "NOT active (exit status 3)")])
def test_balena_start_keeps_the_container_up(tmp_path: Path, status: int, said: str) -> None:
    (tmp_path / "install.sh").write_text(f'echo "$@"; exit {status}\n')
    (tmp_path / "sleep").write_text("#!/bin/sh\necho slept\n")
    (tmp_path / "sleep").chmod(0o755)
    written(tmp_path, {"start.sh": rollout_files("balena", request("tar"))["start.sh"]})
    environment = dict(
        os.environ,
        EDGEKIT_ROOT="/r",
        EDGEKIT_RELEASE=str(tmp_path),
        EDGEKIT_ALLOW_DOWNGRADE="1",
        PATH=f"{tmp_path}:{os.environ['PATH']}",
    )
    ran = subprocess.run(["sh", tmp_path / "start.sh"], env=environment, capture_output=True, text=True, check=True)
    assert ran.stdout.startswith("--root /r --allow-downgrade\n")
    assert ran.stdout.endswith("slept\n")
    assert said in ran.stdout + ran.stderr


@pytest.mark.parametrize("name", list(SYSTEMS))
def test_formats_and_settings_are_checked(name: str) -> None:
    with pytest.raises(BundleError, match="does not install bundles of the format deb"):
        rollout_files(name, request("deb"))
    fits = {"hawkbit": "rauc", "mender": "mender", "azure": "tar", "balena": "tar"}[name]
    with pytest.raises(BundleError, match="has no setting colour"):
        rollout_files(name, request(fits, colour="red"))


def test_file_names_are_plain() -> None:
    with pytest.raises(BundleError, match="is a name that not every server takes"):
        rollout_files("hawkbit", replace(request(), file="my bundle;rm.swu"))

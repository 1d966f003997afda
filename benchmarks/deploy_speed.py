"""Deployments over a real sshd against ``scp`` of the same bytes: seconds from connecting to *active*.

python -m benchmarks.deploy_speed [--pairs 7] [--json FILE]

The sshd is tier 1 of the lab. 50 MB go over the bare link, 500 kB through a relay that holds every byte for 30 ms
in each direction, a round trip of 60 ms. ``scp`` sends the artifact's largest file; edgekit connects, asks whether
its agent is there, sends every file, compares, self-tests on the device and switches. In turns, a fresh connection
each time; edgekit's modules are imported before, as a service that deploys would have them, and the whole command
is shown beside it.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from benchmarks.harness import SCRIPTS, Row, alternating, finish, model, paired, parser, say
from edgekit.artifact import Artifact
from edgekit.deploy import deploy
from edgekit.device import Device
from edgekit.transport import connect
from tests.artifacts import make_artifact
from tests.lab.tier1 import Sshd, tier1

KWS = "tflite_ref/kws_int8.tflite"
ONE_WAY_S = 0.03
SIZES = {"50 MB": 50_000_000, "500 kB": 500_000}
LIMITS = {"50 MB": 1.0, "500 kB": 2.0}


@contextmanager
def delayed(host: str, port: int) -> Iterator[int]:
    """A relay on loopback that hands every byte on ``ONE_WAY_S`` later; yields its port."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=_accept, args=(server, host, port), daemon=True).start()
        yield server.getsockname()[1]


def _accept(server: socket.socket, host: str, port: int) -> None:
    while True:
        try:
            client, _ = server.accept()
        except OSError:
            return
        device = socket.create_connection((host, port))
        for source, sink in ((client, device), (device, client)):
            sink.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            queue: SimpleQueue[tuple[float, bytes]] = SimpleQueue()
            threading.Thread(target=_receive, args=(source, queue), daemon=True).start()
            threading.Thread(target=_hand_on, args=(sink, queue), daemon=True).start()


def _receive(source: socket.socket, queue: SimpleQueue[tuple[float, bytes]]) -> None:
    data = b"start"
    while data:
        try:
            data = source.recv(1 << 16)
        except OSError:
            data = b""
        queue.put((time.monotonic() + ONE_WAY_S, data))


def _hand_on(sink: socket.socket, queue: SimpleQueue[tuple[float, bytes]]) -> None:
    while True:
        due, data = queue.get()
        time.sleep(max(0.0, due - time.monotonic()))
        try:
            if not data:
                sink.shutdown(socket.SHUT_WR)
                return
            sink.sendall(data)
        except OSError:
            return


def time_deploy(artifact: Artifact, device: Device) -> float:
    started = time.monotonic()
    with connect(device) as connection:
        done = deploy(artifact, connection)
        seconds = time.monotonic() - started
    assert done.active
    assert done.bytes_sent > artifact.manifest.audit.model_bytes // 2
    return seconds


def time_command(artifact: Artifact, folder: Path) -> float:
    command = [str(SCRIPTS / "edgekit"), "deploy", str(artifact.path), "--device", "lab"]
    started = time.monotonic()
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    return time.monotonic() - started


def time_scp(file: Path, config: Path, target: Path) -> float:
    target.unlink(missing_ok=True)
    started = time.monotonic()
    subprocess.run(["scp", "-q", "-F", config, file, f"lab:{target}"], check=True)
    return time.monotonic() - started


def measure(size: str, sshd: Sshd, folder: Path, pairs: int) -> tuple[Row, dict[str, Any]]:
    """Interleaved pairs of both; the ratio of each pair is the unit."""
    data = model(KWS).read_bytes()
    artifact = make_artifact(folder / size.replace(" ", ""), data + os.urandom(SIZES[size] - len(data)), name="bench")
    root = folder / "device"
    device = sshd.device(root=str(root), python=sys.executable)
    (folder / "device_configs").mkdir(exist_ok=True)
    (folder / "device_configs" / "lab.toml").write_text(
        f'[device.lab]\nhost = "lab"\nroot = "{root}"\npython = "{sys.executable}"\n'
    )
    time_deploy(artifact, device)
    seconds: dict[str, list[float]] = {"edgekit": [], "scp": [], "edgekit command": []}
    for number in range(pairs):
        for which in alternating(number, "edgekit", "scp"):
            shutil.rmtree(root / "models")
            if which == "edgekit":
                seconds["edgekit"].append(time_deploy(artifact, device))
            else:
                (root / "models").mkdir()
                seconds["scp"].append(time_scp(artifact.model, sshd.ssh_config, folder / "copy"))
        shutil.rmtree(root / "models")
        seconds["edgekit command"].append(time_command(artifact, folder))
        say(
            f"{size} {number + 1}/{pairs}: " + ", ".join(f"{key} {values[-1]:.2f} s" for key, values in seconds.items())
        )
    ratio = paired([ours / theirs for ours, theirs in zip(seconds["edgekit"], seconds["scp"], strict=True)])
    limit = LIMITS[size]
    row = Row(
        what=f"deploy {size}, seconds to active, against scp",
        measured=f"{ratio:.2f} times",
        to_reach=f"<= {limit:.1f} times",
        ok=ratio.value <= limit,
    )
    return row, {"size": size, **seconds}


def main() -> int:
    arguments = parser(__doc__)
    arguments.add_argument("--pairs", type=int, default=7)
    options = arguments.parse_args()
    rows, details = [], []
    with tempfile.TemporaryDirectory(prefix="edgekit-bench-") as name:
        folder = Path(name)
        (folder / "lab").mkdir()
        with tier1(folder / "lab") as sshd:
            os.environ["EDGEKIT_SSH_CONFIG"] = str(sshd.ssh_config)
            os.environ.pop("SSH_AUTH_SOCK", None)
            plain = sshd.ssh_config.read_text()
            with delayed(sshd.host, sshd.port) as port:
                slow = plain.replace(f"HostName {sshd.host}", f"HostName 127.0.0.1\n  Port {port}")
                key = sshd.known_hosts.read_text().split("\n", maxsplit=1)[0].split(" ", maxsplit=1)[1]
                with sshd.known_hosts.open("a") as stream:
                    stream.write(f"[127.0.0.1]:{port} {key}\n")
                for size, config in (("50 MB", plain), ("500 kB", slow)):
                    sshd.ssh_config.write_text(config)
                    row, seconds = measure(size, sshd, folder, options.pairs)
                    rows.append(row)
                    details.append(seconds)
    return finish(rows, details, options.json)


if __name__ == "__main__":
    sys.exit(main())

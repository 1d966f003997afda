"""`make cases` against a real HTTP server on loopback that serves a tree laid out as the public source's."""

from __future__ import annotations

import functools
import gzip
import hashlib
import http.server
import os
import struct
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tools import fetch_cases
from tools.cases_table import TableError, is_plain_path, read_cases
from tools.repack_cases import content_digest

pytestmark = pytest.mark.unit

ROOT = Path(__file__).parents[2]
TABLE = ROOT / "tools" / "cases.tsv"
COMMIT = "0123456789abcdef0123456789abcdef01234567"
HEADER = TABLE.read_text(encoding="utf-8").splitlines()[0]
FILES = {"models/a.tflite": b"a model", "data/b c+d.bin": bytes(range(256)), "LICENSES/MIT.txt": b"MIT\n"}


class Mirror(http.server.SimpleHTTPRequestHandler):
    """Serves its folder, with the one fault that the test's server has been given."""

    protocol_version = "HTTP/1.1"
    server: Server

    def do_GET(self) -> None:
        with self.server.lock:
            self.server.asked.append(self.path)
            asked = len(self.server.asked)
        if self.server.fault_path in self.path:
            self.server.fault(self)
            return
        if self.server.dies_after is not None and asked > self.server.dies_after:
            self.server.die()
            self.close_connection = True
            return
        super().do_GET()

    def log_message(self, *_: Any) -> None:
        pass


class Server(http.server.ThreadingHTTPServer):
    """The mirror; what it was asked for; the fault it has."""

    daemon_threads = True

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), functools.partial(Mirror, directory=str(folder)))
        self.lock = threading.Lock()
        self.asked: list[str] = []
        self.fault_path = "nothing"
        self.fault: Callable[[Mirror], None] = not_found
        self.dies_after: int | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def die(self) -> None:
        """No more connections, the ones that wait included."""
        threading.Thread(target=self.shutdown, daemon=True).start()
        self.socket.close()


@contextmanager
def serve(folder: Path) -> Iterator[Server]:
    server = Server(folder)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@dataclass(frozen=True, kw_only=True)
class Done:
    """How a run ended."""

    returncode: int
    stdout: str
    stderr: str


MakeCases = Callable[[str, Path, Path], Done]


@pytest.fixture
def make_cases(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> MakeCases:
    """A run in this process. No proxy stands between it and loopback, and it does not wait before it tries again."""
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setattr(fetch_cases, "PAUSES_S", (0.0, 0.0))

    def run(mirror: str, table: Path, into: Path) -> Done:
        status = fetch_cases.main(["--mirror", mirror, "--table", str(table), "--into", str(into)])
        said = capsys.readouterr()
        return Done(returncode=status, stdout=said.out, stderr=said.err)

    return run


def row(path: str, data: bytes, **changes: str) -> str:
    """A line of the table, as HEADER names the columns."""
    values = {
        "path": path, "bytes": str(len(data)), "sha256": hashlib.sha256(data).hexdigest(),
        "source": "github:owner/repo", "commit": COMMIT, "source_path": f"upstream/{path}",
        "licence": "MIT", "note": "", "content_sha256": "",
    }  # fmt: skip
    assert "\t".join(values) == HEADER
    return "\t".join((values | changes).values())


def write_table(path: Path, *rows: str) -> Path:
    path.write_text("".join(f"{line}\n" for line in (HEADER, *rows)), encoding="utf-8")
    return path


def found(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """A table of three files, and the tree that a mirror of them serves, in tmp_path/mirror."""
    for path, data in FILES.items():
        upstream = tmp_path / "mirror" / "owner" / "repo" / COMMIT / "upstream" / path
        upstream.parent.mkdir(parents=True, exist_ok=True)
        upstream.write_bytes(data)
    return write_table(tmp_path / "cases.tsv", *(row(path, data) for path, data in FILES.items()))


def test_fetches_every_file_and_writes_the_manifest(make_cases: MakeCases, small: Path, tmp_path: Path) -> None:
    with serve(tmp_path / "mirror") as server:
        done = make_cases(server.url, small, tmp_path / "cases")
    assert (done.returncode, done.stderr) == (0, "")
    assert "3 files fetched, 0 were there" in done.stdout
    assert found(tmp_path / "cases") == {**FILES, "MANIFEST.tsv": small.read_bytes()}
    assert (tmp_path / "cases" / "models" / "a.tflite").stat().st_mode & 0o777 == 0o644


def test_what_is_there_and_right_is_not_fetched_again(make_cases: MakeCases, small: Path, tmp_path: Path) -> None:
    with serve(tmp_path / "mirror") as server:
        make_cases(server.url, small, tmp_path / "cases")
        server.asked.clear()
        (tmp_path / "cases" / "models" / "a.tflite").write_bytes(b"A model")
        (tmp_path / "cases" / "LICENSES" / "MIT.txt").unlink()
        done = make_cases(server.url, small, tmp_path / "cases")
        assert sorted(path.rpartition("/")[2] for path in server.asked) == ["MIT.txt", "a.tflite"]
        server.asked.clear()
        again = make_cases(server.url, small, tmp_path / "cases")
        assert server.asked == []
    assert "2 files fetched, 1 were there" in done.stdout
    assert "0 files fetched, 3 were there" in again.stdout
    assert found(tmp_path / "cases") == {**FILES, "MANIFEST.tsv": small.read_bytes()}


def corrupted(handler: Mirror) -> None:
    answer(handler, b"a nodel")


def truncated(handler: Mirror) -> None:
    answer(handler, b"a mo", promised=7)


def chunk_missing(handler: Mirror) -> None:
    handler.send_response(200)
    handler.send_header("Transfer-Encoding", "chunked")
    handler.end_headers()
    handler.wfile.write(b"4\r\na mo\r\n")
    handler.close_connection = True


def longer(handler: Mirror) -> None:
    answer(handler, b"a model and more")


def unavailable(handler: Mirror) -> None:
    handler.send_error(503)


def not_found(handler: Mirror) -> None:
    handler.send_error(404)


def answer(handler: Mirror, body: bytes, *, promised: int | None = None) -> None:
    handler.send_response(200)
    handler.send_header("Content-Length", str(len(body) if promised is None else promised))
    handler.end_headers()
    handler.wfile.write(body)
    handler.close_connection = True


@pytest.mark.parametrize(
    ("fault", "said", "times_asked"),
    [
        (corrupted, "refused: sha256", 1),
        (longer, "refused: 16 bytes instead of 7", 1),
        (not_found, "HTTP 404", 1),
        (truncated, "broken off after 4 bytes, 3 missing", 3),
        (chunk_missing, "broken off: ", 3),
        (unavailable, "HTTP 503", 3),
    ],
)
def test_a_file_that_is_not_the_one_named_is_refused(
    make_cases: MakeCases, fault: Any, said: str, times_asked: int, small: Path, tmp_path: Path
) -> None:
    with serve(tmp_path / "mirror") as server:
        server.fault_path, server.fault = "a.tflite", fault
        done = make_cases(server.url, small, tmp_path / "cases")
        assert sum("a.tflite" in path for path in server.asked) == times_asked
    assert done.returncode == 1
    assert done.stderr.startswith("cases: models/a.tflite: ")
    assert said in done.stderr
    assert "1 of 3 files are missing" in done.stderr
    assert "Traceback" not in done.stderr
    # The others are kept; nothing half-written; no manifest, so the tests take the folder as absent.
    assert found(tmp_path / "cases") == {path: data for path, data in FILES.items() if path != "models/a.tflite"}


def test_a_fault_that_passes_is_overcome(make_cases: MakeCases, small: Path, tmp_path: Path) -> None:
    def once(handler: Mirror) -> None:
        handler.server.fault_path = "nothing"
        truncated(handler)

    with serve(tmp_path / "mirror") as server:
        server.fault_path, server.fault = "a.tflite", once
        assert make_cases(server.url, small, tmp_path / "cases").returncode == 0
    assert found(tmp_path / "cases")["models/a.tflite"] == FILES["models/a.tflite"]


def test_without_network_it_says_what_is_missing(make_cases: MakeCases, small: Path, tmp_path: Path) -> None:
    with serve(tmp_path / "mirror") as server:
        make_cases(server.url, small, tmp_path / "cases")
        gone = server.url
    (tmp_path / "cases" / "models" / "a.tflite").unlink()
    done = make_cases(gone, small, tmp_path / "cases")
    assert done.returncode == 1
    assert "models/a.tflite" in done.stderr
    assert "Connection refused" in done.stderr
    assert f"Check the network (the source is {gone})" in done.stderr
    assert "MIT.txt" not in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "cases" / "MANIFEST.tsv").exists(), "the folder is not complete any more"


@pytest.mark.parametrize(
    "path",
    ["../escape", "/etc/escape", "models/../../escape", "models/./x", "models//x", "a\\..\\b", "a\x07b", ".", "",
     "MANIFEST.tsv"],
)  # fmt: skip
def test_a_table_that_leads_out_of_the_folder_is_refused(make_cases: MakeCases, path: str, tmp_path: Path) -> None:
    table = write_table(tmp_path / "cases.tsv", row("models/a.tflite", b""), row(path, b"x"))
    with serve(tmp_path) as server:
        done = make_cases(server.url, table, tmp_path / "cases")
        assert server.asked == []
    assert done.returncode == 1
    assert f"cases.tsv:3: {path!r} is not a plain relative path" in done.stderr
    assert not (tmp_path / "cases").exists()


@pytest.mark.parametrize(
    "changes",
    [
        {"source": "github:../.."},
        {"source": "https://example.org/x"},
        {"source_path": "../../other/repo/main/x"},
        {"commit": "main"},
    ],
)
def test_a_source_that_is_no_file_at_a_commit_is_refused(changes: dict[str, str], tmp_path: Path) -> None:
    table = write_table(tmp_path / "cases.tsv", row("models/a.tflite", b"", **changes))
    with pytest.raises(TableError, match="name no file of a repository at a commit"):
        read_cases(table)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("path\tbytes\n", "must name the columns"),
        ("", "must name the columns"),
        (f"{HEADER}\nmodels/a\t1\n", "cases.tsv:2: expected 9 columns"),
        (f"{HEADER}\n{row('a', b'', bytes='many')}\n", "cases.tsv:2: expected 9 columns, the second a size"),
        (f"{HEADER}\n{row('a', b'', sha256='abc')}\n", "cases.tsv:2: not a sha256"),
    ],
)
def test_a_malformed_table_names_the_line(text: str, said: str, tmp_path: Path) -> None:
    table = tmp_path / "cases.tsv"
    table.write_text(text, encoding="utf-8")
    with pytest.raises(TableError, match=said):
        read_cases(table)


def test_a_link_out_of_the_folder_is_not_followed(make_cases: MakeCases, small: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (tmp_path / "cases").mkdir()
    (tmp_path / "cases" / "models").symlink_to(outside)
    with serve(tmp_path / "mirror") as server:
        done = make_cases(server.url, small, tmp_path / "cases")
    assert done.returncode == 1
    assert "leads out of" in done.stderr
    assert list(outside.iterdir()) == []


@given(st.text(alphabet="ab./\\\n\x00", max_size=12))
def test_a_plain_path_stays_below_its_folder(path: str) -> None:
    if is_plain_path(path):
        assert os.path.normpath(f"/cases/{path}") == f"/cases/{path}"


def test_a_mirror_must_be_http(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tools.fetch_cases", "--mirror", "file:///etc", "--into", tmp_path],
        capture_output=True, text=True, timeout=60, check=False, cwd=ROOT,
    )  # fmt: skip
    assert done.returncode == 2
    assert "--mirror must be an http:// or https:// address" in done.stderr


def test_another_compression_of_the_same_arrays_is_the_same_content(tmp_path: Path) -> None:
    arrays = {"x": np.arange(60, dtype=np.int8).reshape(3, 20), "y": np.array([1, 2, 3])}
    np.savez(tmp_path / "plain.npz", allow_pickle=False, **arrays)
    np.savez_compressed(tmp_path / "packed.npz", allow_pickle=False, **arrays)
    np.savez(tmp_path / "other.npz", allow_pickle=False, **{**arrays, "y": np.array([1, 2, 4])})
    plain, packed, other = ((tmp_path / f"{name}.npz").read_bytes() for name in ("plain", "packed", "other"))
    assert plain != packed
    assert content_digest(plain) == content_digest(packed) != content_digest(other)
    assert content_digest(b"no archive") is None


# The real files


def test_the_table_is_the_one_the_files_came_with(cases: Path) -> None:
    """Same files, sizes and digests; a folder made by `make cases` has repacked and left out what it says it has."""
    listed = {line.split("\t")[0] for line in (cases / "MANIFEST.tsv").read_text(encoding="utf-8").splitlines()[1:]}
    for case in read_cases(TABLE):
        if case.path in listed:
            data = (cases / case.path).read_bytes()
            digest = content_digest(data) if case.content_sha256 else hashlib.sha256(data).hexdigest()
            assert digest == (case.content_sha256 or case.sha256), case.path
        else:
            assert case.source == "derived here"


@pytest.fixture(scope="module")
def upstream(cases: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The public source's tree, built back from the cases: the repacked ones unpacked, odd rows put in."""
    folder = tmp_path_factory.mktemp("upstream")
    for case in read_cases(TABLE):
        repository = folder / case.source.removeprefix("github:") / case.commit
        if case.source != "derived here" and not case.content_sha256 and "(" not in case.source_path:
            target = repository / case.source_path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes((cases / case.path).read_bytes())
        elif case.path == "data/kws/kws_mfcc_int8.npz":
            _unpack_kws(cases / case.path, repository / "datasets" / "kws01")
        elif case.path == "data/mnist/mnist_t10k_part.npz":
            _unpack_mnist(cases / case.path, repository)
    return folder


def _unpack_kws(npz: Path, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    labels = []
    with np.load(npz) as arrays:
        for index, (name, x, y) in enumerate(zip(arrays["name"], arrays["x"], arrays["y"], strict=True)):
            (folder / str(name)).write_bytes(x.tobytes())
            labels += [f"{name},12,{y}", f"tst_{2 * index + 1:06}_Yes_9.bin,12,9"]
    (folder / "y_labels.csv").write_text("".join(f"{line}\n" for line in labels), encoding="utf-8")


def _unpack_mnist(npz: Path, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with np.load(npz) as arrays:
        rest = np.zeros((5000, 28, 28), np.uint8)
        images = struct.pack(">IIII", 0x803, 10_000, 28, 28) + arrays["x"].tobytes() + rest.tobytes()
        labels = struct.pack(">II", 0x801, 10_000) + arrays["y"].tobytes() + bytes(5000)
    (folder / "t10k-images-idx3-ubyte.gz").write_bytes(gzip.compress(images))
    (folder / "t10k-labels-idx1-ubyte.gz").write_bytes(gzip.compress(labels))


@pytest.mark.slow
def test_a_server_that_dies_half_way_then_the_rest(
    make_cases: MakeCases, upstream: Path, cases: Path, tmp_path: Path
) -> None:
    into = tmp_path / "cases"
    with serve(upstream) as server:
        server.dies_after = 60
        cut = make_cases(server.url, TABLE, into)
    kept = found(into)
    assert cut.returncode == 1
    assert "data/kws/kws_mfcc_int8.npz: not tried: the server cannot be reached" in cut.stderr
    assert "MANIFEST.tsv" not in kept
    assert 40 < len(kept) <= 60

    with serve(upstream) as server:
        done = make_cases(server.url, TABLE, into)
        asked_again = {path for path in server.asked if "kws01/" not in path} & {
            f"/{case.source.removeprefix('github:')}/{case.commit}/{case.source_path}"
            for case in read_cases(TABLE)
            if case.path in kept
        }
    assert done.returncode == 0, done.stderr
    assert asked_again == set()
    assert f"{91 - len(kept)} files fetched, {len(kept)} were there and right" in done.stdout
    assert "3 files are exports made by the project, in no public place; left out" in done.stdout
    same_files(into, cases)


def same_files(into: Path, cases: Path) -> None:
    """Every file equal in content, the exports left out, and the manifest true of the folder."""
    here = found(into)
    table = {case.path: case for case in read_cases(TABLE) if case.source != "derived here"}
    assert here.keys() == table.keys() | {"MANIFEST.tsv"}
    for path, case in table.items():
        original = (cases / path).read_bytes()
        if case.content_sha256:
            assert content_digest(here[path]) == content_digest(original), path
        else:
            assert here[path] == original, path
    for case in read_cases(into / "MANIFEST.tsv"):
        assert (case.bytes, case.sha256) == (len(here[case.path]), hashlib.sha256(here[case.path]).hexdigest())


@pytest.mark.slow
def test_upstream_in_another_form_is_refused(make_cases: MakeCases, upstream: Path, tmp_path: Path) -> None:
    """An HTML page where the labels should be, a download in which the images are not gzip."""
    with serve(upstream) as server:
        server.fault_path, server.fault = "y_labels.csv", lambda handler: answer(handler, b"<html>\n")
        labels = make_cases(server.url, TABLE, tmp_path / "one")
        server.fault_path, server.fault = "t10k-images", lambda handler: answer(handler, b"<html>\n")
        images = make_cases(server.url, TABLE, tmp_path / "two")
    assert labels.returncode == images.returncode == 1
    assert "data/kws/kws_mfcc_int8.npz: upstream is not what it is made from: upstream's y_labels.csv" in labels.stderr
    assert "data/kws/bin/y_labels.csv: upstream is not what it is made from" in labels.stderr
    assert "data/mnist/mnist_t10k_part.npz: upstream is not what it is made from: Not a gzipped file" in images.stderr
    assert "1 of 94 files are missing" in images.stderr

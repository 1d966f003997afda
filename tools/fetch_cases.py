"""Fetch the public models and data that the tests use into ./cases (`make cases`).

tools/cases.tsv names each file's public source, commit, size and sha256. A file is kept only if it is the one
named; one that is there and right is not fetched again, so a run that was cut short goes on where it stopped.
Files that are a selection of upstream's are rebuilt from it (tools/repack_cases.py). cases/MANIFEST.tsv is written
last and lists what is there: the tests take a folder without it as absent.
"""

from __future__ import annotations

import argparse
import http.client
import os
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
import zlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tools.cases_table import DERIVED, Case, TableError, fault, is_there, manifest, read_cases
from tools.repack_cases import REPACKED

ROOT = Path(__file__).resolve().parent.parent
MIRROR = "https://raw.githubusercontent.com"
"""Serves OWNER/REPO/COMMIT/PATH; `--mirror` names another that does."""

TIMEOUT_S = 30.0
PAUSES_S = (0.5, 1.0)
"""Before the second and the third attempt."""
TRANSIENT_STATUSES = (429, 500, 502, 503, 504)
LARGEST_BYTES = 64 * 2**20
"""No upstream file is near this; a server that sends more is not the one we meant."""


class FetchError(Exception):
    """One file could not be had: the message says why, after the file's name."""


class TransientError(FetchError):
    """May go well the next time."""


class UnreachableError(TransientError):
    """The server could not be spoken to at all: asking it for the other files is no use."""


class Progress:
    """One line on a terminal, overwritten; a line every 100 files elsewhere."""

    def __init__(self) -> None:
        self.files = self.bytes = 0

    def add(self, size: int) -> None:
        """One more file of `size` bytes is there."""
        self.files, self.bytes = self.files + 1, self.bytes + size
        line = f"cases: {self.files} files fetched, {self.bytes / 1e6:.1f} MB"
        if sys.stderr.isatty():
            print(f"\r{line}", end="", file=sys.stderr, flush=True)
        elif self.files % 100 == 0:
            print(line, file=sys.stderr, flush=True)

    def close(self) -> None:
        """End the line."""
        if self.files and sys.stderr.isatty():
            print(file=sys.stderr)


def download(mirror: str, case: Case, source_path: str) -> bytes:
    """The file at `source_path` of the case's repository and commit. Raises FetchError."""
    where = f"{case.source.removeprefix('github:')}/{case.commit}/{source_path}"
    url = f"{mirror.rstrip('/')}/{urllib.parse.quote(where)}"
    for pause_s in PAUSES_S:
        try:
            return _read(url)
        except TransientError:
            time.sleep(pause_s)
    return _read(url)


def _read(url: str) -> bytes:
    """The whole body. Raises FetchError, and of it TransientError and UnreachableError where they fit."""
    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT_S) as answer:  # noqa: S310  main lets only http(s) in
            data: bytes = answer.read(LARGEST_BYTES + 1)
            missing = answer.length or 0  # a bounded read does not complain about a body that ends early
    except urllib.error.HTTPError as err:
        err.close()
        kind = TransientError if err.code in TRANSIENT_STATUSES else FetchError
        raise kind(f"{url}: HTTP {err.code} {err.reason}") from None
    except urllib.error.URLError as err:
        raise UnreachableError(f"{url}: {err.reason}") from err
    except (http.client.HTTPException, OSError) as err:
        raise TransientError(f"{url}: broken off: {str(err) or type(err).__name__}") from err
    if len(data) > LARGEST_BYTES:
        raise FetchError(f"{url}: more than {LARGEST_BYTES} bytes: refused")
    if missing:
        raise TransientError(f"{url}: broken off after {len(data)} bytes, {missing} missing")
    return data


def store(folder: Path, path: str, data: bytes) -> None:
    """Write folder/path whole or not at all. Raises FetchError: a link in the folder leads out of it."""
    target = folder / path
    target.parent.mkdir(parents=True, exist_ok=True)
    if not target.parent.resolve().is_relative_to(folder.resolve()):
        raise FetchError(f"{target.parent} leads out of {folder}: refused")
    handle, temporary = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            os.fchmod(file.fileno(), 0o644)
        Path(temporary).replace(target)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


@dataclass(frozen=True, kw_only=True)
class Fetch:
    """One run: where from, where to, how many at a time."""

    mirror: str
    folder: Path
    pool: ThreadPoolExecutor
    unreachable: threading.Event
    """Set by the first file whose server could not be spoken to: the others are not tried."""

    def one(self, case: Case) -> int:
        """Fetch an unchanged file; its size. Raises FetchError."""
        return self._keep(case, self._download(case, case.source_path))

    def repacked(self, case: Case) -> int:
        """Fetch what a repacked file is made from, all at once, and make it; its size. Raises FetchError."""

        def download_all(paths: Sequence[str]) -> list[bytes]:
            return list(self.pool.map(lambda path: self._download(case, path), paths))

        try:
            data = REPACKED[case.path](download_all)
        except (ValueError, OSError, EOFError, zlib.error) as err:
            raise FetchError(f"upstream is not what it is made from: {err}") from err
        return self._keep(case, data)

    def _download(self, case: Case, source_path: str) -> bytes:
        if self.unreachable.is_set():
            raise FetchError("not tried: the server cannot be reached")
        try:
            return download(self.mirror, case, source_path)
        except UnreachableError:
            self.unreachable.set()
            raise

    def _keep(self, case: Case, data: bytes) -> int:
        wrong = fault(case, data)
        if wrong:
            raise FetchError(f"refused: {wrong}")
        try:
            store(self.folder, case.path, data)
        except OSError as err:
            raise FetchError(f"cannot be written: {err}") from err
        return len(data)


def fetch(cases: Sequence[Case], folder: Path, mirror: str, jobs: int) -> dict[str, str]:
    """Fetch `cases` into `folder`; path -> reason of each that could not be had."""
    failures: dict[str, str] = {}
    progress = Progress()
    with ThreadPoolExecutor(jobs) as pool:
        run = Fetch(mirror=mirror, folder=folder, pool=pool, unreachable=threading.Event())
        try:
            for case, size in _attempts(run, cases):
                try:
                    progress.add(size())
                except FetchError as err:
                    failures[case.path] = str(err)
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
        finally:
            progress.close()
    return failures


def _attempts(run: Fetch, cases: Sequence[Case]) -> Iterator[tuple[Case, Callable[[], int]]]:
    """Each case as it is ready, with the function that gives its size or raises."""
    futures = {run.pool.submit(run.one, case): case for case in cases if case.path not in REPACKED}
    for future in as_completed(futures):
        yield futures[future], future.result
    # Not in the pool, which fetches their parts: a worker never waits for another.
    for case in cases:
        if case.path in REPACKED:
            yield case, partial(run.repacked, case)


def main(argv: Sequence[str] | None = None) -> int:
    """Exit status: 0 all there, 1 something is missing or refused, 2 usage."""
    parser = argparse.ArgumentParser(prog="make cases", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--mirror", default=MIRROR, help="serves OWNER/REPO/COMMIT/PATH (default: %(default)s)")
    parser.add_argument("--into", type=Path, default=ROOT / "cases", metavar="DIR", help="default: ./cases")
    parser.add_argument("--table", type=Path, default=ROOT / "tools" / "cases.tsv", metavar="TSV")
    parser.add_argument("--jobs", type=int, default=8, choices=range(1, 33), metavar="1..32")
    options = parser.parse_args(argv)
    if not options.mirror.startswith(("https://", "http://")):
        parser.error("--mirror must be an http:// or https:// address")
    try:
        return _bring_up_to_date(read_cases(options.table), options.into, options.mirror, options.jobs)
    except (TableError, FetchError, OSError) as err:
        print(f"cases: {err}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("cases: interrupted; run it again to go on from here", file=sys.stderr)
        return 130


def _bring_up_to_date(cases: Sequence[Case], folder: Path, mirror: str, jobs: int) -> int:
    missing = [case for case in cases if not is_there(case, folder)]
    derived = [case for case in missing if case.source == DERIVED]
    wanted = [case for case in missing if case.source != DERIVED]
    if wanted:
        (folder / "MANIFEST.tsv").unlink(missing_ok=True)
    failures = fetch(wanted, folder, mirror, jobs)
    if failures:
        for path, reason in sorted(failures.items()):
            print(f"cases: {path}: {reason}", file=sys.stderr)
        print(
            f"cases: {len(failures)} of {len(cases)} files are missing. Check the network (the source is {mirror}), "
            "then run it again: what was fetched is kept.",
            file=sys.stderr,
        )
        return 1
    store(folder, "MANIFEST.tsv", manifest([case for case in cases if case not in derived], folder))
    there = len(cases) - len(missing)
    print(f"cases: {folder}: {len(wanted)} files fetched, {there} were there and right")
    if derived:
        print(f"cases: {len(derived)} files are exports made by the project, in no public place; left out:")
        print("".join(f"  {case.path}\n" for case in derived), end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())

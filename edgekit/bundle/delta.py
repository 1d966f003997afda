"""Deltas between two bundles: a zstd frame that refers to the old file (``zstd --patch-from``).

A gateway or a device that keeps the old bundle needs the delta only. Nothing of it is trusted: the old file is verified
before, and what comes out is verified as any bundle is; the delta itself carries no signature and needs none.
"""

import subprocess
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from edgekit.agent.versions import parse
from edgekit.bundle import tools, types
from edgekit.bundle.create import BundleRequest, Created, checked_output
from edgekit.bundle.folders import unwritable
from edgekit.bundle.refusal import refused
from edgekit.bundle.tools import find_tool, make
from edgekit.bundle.verify import Policy, Verified, check_version, verify_bundle
from edgekit.compilers.process import kill_group
from edgekit.errors import BundleError, IntegrityError
from edgekit.files import scratch_beside
from edgekit.keys.types import Trust
from edgekit.progress import Progress, silent

SUFFIX = ".zst"
LEVEL = "-16"
"""As small as -19 and faster; below it, models written as C grow by a fifth (docs/deltas.md)."""
INSTALL = "Install it: `apt install zstd`, `brew install zstd`."
CHUNK_BYTES = 2**20


@dataclass(frozen=True, kw_only=True)
class Delta:
    """A delta that was made, applied and compared."""

    path: Path
    bytes: int
    whole_bytes: int
    """Of the bundle that it stands for."""
    from_version: str
    """Of the bundle that it starts from."""

    @property
    def saving(self) -> float:
        """Share of the bundle that need not be sent; negative where the delta is larger."""
        return 1 - self.bytes / self.whole_bytes


def make_delta(old: Path, new: Path, delta: Path) -> None:
    """Write ``delta``, which makes ``new`` of ``old``; the same bytes from the same zstd. Raises BundleError."""
    zstd = find_tool("zstd", install=INSTALL)
    # resolved: zstd passes over links
    options = [LEVEL, "--quiet", "--single-thread", f"--patch-from={old.resolve()}"]
    make([zstd, *options, "-o", str(delta), str(new.resolve())])


def apply_delta(old: Path, delta: Path, output: Path) -> None:
    """Write what ``delta`` makes of ``old``, at most ``MAX_BUNDLE_BYTES``; it is not verified here.

    Raises IntegrityError where ``delta`` is none, is damaged, does not belong to ``old`` or grows past the limit;
    BundleError where zstd is missing or the disk is full. ``output`` may then hold a part: the caller removes it.
    """
    if not delta.is_file():
        raise BundleError(
            f"{delta} is no file.", hint="Give the delta that `edgekit bundle create --delta-from` wrote."
        )
    # a window may be as large as a bundle; zstd's own limit is 128 MiB
    memory = f"--memory={types.MAX_BUNDLE_BYTES}"
    zstd = find_tool("zstd", install=INSTALL)
    options = ["--decompress", "--quiet", "--stdout", memory, f"--patch-from={old.resolve()}"]
    command = [zstd, *options, str(delta.resolve())]
    written = 0
    try:
        with output.open("wb") as stream, tempfile.TemporaryFile() as said, _running(command, said.fileno()) as process:
            assert process.stdout is not None  # noqa: S101 - Popen was told to make it
            while chunk := process.stdout.read(CHUNK_BYTES):
                written += len(chunk)
                if written > types.MAX_BUNDLE_BYTES:
                    raise refused(f"The delta makes more than {types.MAX_BUNDLE_BYTES:,} bytes of the old bundle.")
                stream.write(chunk)
            status = process.wait()
            said.seek(0)
            words = said.read(500).decode(errors="replace").strip()
    except OSError as err:
        raise unwritable(output, err) from err
    if status < 0:
        raise BundleError(
            f"zstd was killed, or did not end within {tools.TIMEOUT_S:g} s.", hint="Free some memory, and run it again."
        )
    if status != 0:
        raise refused(
            f"{delta} is no delta from {old}: {words.rpartition(':')[2].strip() or 'zstd failed'}.",
            hint="Use the bundle that the delta was made from; else get the delta anew, or the whole bundle.",
        )


def verified_old(old: Path, wanted: BundleRequest, *, now: datetime, progress: Progress = silent) -> Verified:
    """The bundle that a delta to ``wanted`` may start from.

    Raises IntegrityError where it is refused, BundleError where ``wanted`` is not newer or would replace it.
    """
    from edgekit.keys.trust import read_trust

    if old.resolve() == wanted.output.resolve():
        raise BundleError(
            f"{old} is the old bundle and --output in one.", hint="Give --output another name: both are needed."
        )
    progress("old bundle")
    before = verify_bundle(old, read_trust(wanted.keys), Policy(now=now), with_tool=False)
    if parse(check_version(wanted.version)) <= parse(before.release.version):
        raise BundleError(
            f"{old} is version {before.release.version}, and {wanted.version} is not newer.",
            hint="Give a higher --version: devices refuse an older one.",
        )
    return before


def create_delta(old: Path, before: Verified, created: Created, *, progress: Progress = silent) -> Delta:
    """Write the delta from ``old`` beside the bundle that was ``created``, if it makes exactly that of it.

    ``before`` is what ``verified_old`` said. Raises BundleError where the two are different models, or zstd is missing
    or failed.
    """
    model = created.verified.release.name
    if model != before.release.name:
        raise BundleError(
            f"{old} is {before.release.name}, and {created.path} is {model}.",
            hint="Give --delta-from a bundle of the same model. The new bundle itself was written.",
        )
    delta = delta_name(created.path, before.release.version)
    with _beside(delta) as folder:
        part, again = folder / "delta", folder / "again"
        progress("delta")
        make_delta(old, created.path, part)
        progress("delta applied")
        apply_delta(old, part, again)
        if again.read_bytes() != created.path.read_bytes():
            raise BundleError(
                f"The delta does not make {created.path} of {old} again.",
                hint="Is one of them being written at the same time? Otherwise this is a defect of this zstd.",
            )
        made = part.stat().st_size
        part.chmod(0o644)
        part.replace(delta)
    return Delta(path=delta, bytes=made, whole_bytes=created.verified.bytes, from_version=before.release.version)


def patch_bundle(
    old: Path,
    delta: Path,
    output: Path,
    trust: Trust,
    *,
    now: datetime,
    with_tool: bool = True,
    progress: Progress = silent,
) -> Verified:
    """Make the new bundle of ``old`` and ``delta``; ``output`` appears only when it was verified.

    Raises IntegrityError where ``old`` or the result is refused, the result is another model or not newer; BundleError
    where a tool is missing or nothing can be written.
    """
    progress("old bundle")
    before = verify_bundle(old, trust, Policy(now=now), with_tool=False)
    target = checked_output(output)
    with _beside(target) as folder:
        made = folder / target.name  # a tool may look at the name
        progress("delta")
        apply_delta(old, delta, made)
        policy = Policy(now=now, device_version=before.release.version)
        try:
            after = verify_bundle(made, trust, policy, with_tool=with_tool, progress=progress)
        except IntegrityError as err:
            raise IntegrityError(f"What the delta makes is refused. {err.message}", hint=err.hint) from err
        if after.release.name != before.release.name:
            raise refused(f"The delta makes {after.release.name} of {before.release.name}, another model.")
        made.chmod(0o644)
        made.replace(target)
    return after


def delta_name(bundle: Path, from_version: str) -> Path:
    """``model-1.1.0.swu`` from 1.0.0 -> ``model-1.1.0.swu.from-1.0.0.zst``, beside it."""
    return bundle.with_name(f"{bundle.name}.from-{from_version}{SUFFIX}")


@contextmanager
def _beside(output: Path) -> Iterator[Path]:
    """A folder from which one rename makes ``output`` appear; raises BundleError where that cannot be written."""
    try:
        with scratch_beside(output) as folder:
            yield folder
    except OSError as err:
        raise unwritable(output, err) from err


@contextmanager
def _running(command: list[str], said: int) -> Iterator["subprocess.Popen[bytes]"]:
    """The process, with its output as a pipe; killed however this ends, and after ``tools.TIMEOUT_S``."""
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=said, start_new_session=True
    ) as process:
        timer = threading.Timer(tools.TIMEOUT_S, kill_group, (process,))
        timer.start()
        try:
            yield process
        finally:
            timer.cancel()
            kill_group(process)  # what it started may hold its output open

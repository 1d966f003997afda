"""What each bundle format really does: made, checked, tampered with, installed, killed, rolled back; bytes, seconds.

python -m benchmarks.bundle_table [--kills 50] [--tampered 300] [--only tar deb ...]    (root, about 10 minutes)

Installs run on the devices of the lab (tests/lab/clients), each with the real update client. A cell is ``n/m``: in n of
m tries it was as promised; ``-``: the format has no such step. The exit status is 1 where a promise is broken.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.harness import cases
from edgekit.artifact import Artifact
from edgekit.bundle.create import Created, create_bundle
from edgekit.bundle.entries import Format
from edgekit.bundle.envelopes import load_envelope
from edgekit.bundle.verify import Policy, verify_bundle
from edgekit.entries import FindingEntry
from edgekit.errors import EdgekitError, IntegrityError
from edgekit.keys.trust import read_trust
from tests.artifacts import make_artifact, with_wrong_golden
from tests.bundles import NOW, make_keys, wanted
from tests.lab.clients.cuts import PowerCuts
from tests.lab.clients.devices import DEVICES, Lab
from tests.lab.clients.types import Client
from tests.lab.machine import LabUnavailable

MODEL = "models/tflite_ref/kws_int8.tflite"
OLD, FIRST, BAD, NEXT = "0.9.0", "1.0.0", "1.1.0", "1.2.0"
COLUMNS = (
    "create", "verify", "own tool", "tampered refused", "wrong key refused", "real install", "killed install",
    "rolled back", "downgrade refused", "bytes", "create s", "verify s", "install s",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Bundles:
    """The releases of one format."""

    name: str
    """Of the column."""
    format: Format
    lab: Lab | None
    """None where nothing of a Linux machine installs it."""
    keys: Path
    other_keys: Path
    made: dict[str, Created]

    def path(self, version: str) -> Path:
        return self.made[version].path


@dataclass(frozen=True, kw_only=True)
class Count:
    """How often it was as promised."""

    kept: int
    tries: int
    note: str = ""

    def __str__(self) -> str:
        return f"{self.kept}/{self.tries}" + (f" {self.note}" if self.note else "")

    @property
    def holds(self) -> bool:
        return self.kept == self.tries


UNCHECKED = FindingEntry(
    name="micro-not-checked", severity="warning", message="Not run in TFLite Micro.", fix="Build with the check."
)
"""What a build with `--no-micro-check` says; the package's resolver then comes from the file alone."""
Cell = Count | str | float | int


@dataclass(frozen=True, kw_only=True)
class Workshop:
    """What all columns are made from."""

    folder: Path
    keys: Path
    other_keys: Path
    good: Artifact
    bad: Artifact
    """Its golden vectors are computed by no runtime."""
    micro: Artifact

    def bundles(self, name: str) -> Bundles:
        """Four releases: an old one, the first, the next, and one that fails its self-test."""
        lab = DEVICES.get(name)
        format_: Format = lab.format if lab else "mcu"
        folder, made = self.folder / name.replace("/", "").replace(" ", "-"), {}
        folder.mkdir()
        for version in (OLD, FIRST, NEXT, BAD) if lab else (FIRST,):
            artifact = self.micro if lab is None else self.bad if version == BAD else self.good
            output = folder / f"{version}.{format_}"
            settings = dict(lab.settings) if lab else {}
            made[version] = create_bundle(
                wanted(artifact, format_, self.keys, output, version=version, settings=settings), now=NOW
            )
        return Bundles(name=name, format=format_, lab=lab, keys=self.keys, other_keys=self.other_keys, made=made)


def workshop(folder: Path, model: bytes) -> Workshop:
    """Keys and artifacts of one model."""
    good = make_artifact(folder / "good", model, name="kws", target="x86-64")
    return Workshop(
        folder=folder,
        keys=make_keys(folder / "keys"),
        other_keys=make_keys(folder / "other"),
        good=good,
        bad=with_wrong_golden(good, folder / "bad"),
        micro=make_artifact(folder / "micro", model, name="kws", target="nucleo-h743zi", findings=(UNCHECKED,)),
    )


def refuses(path: Path, keys: Path) -> bool:
    """Whether our own check, without the format's tool, refuses the file."""
    try:
        verify_bundle(path, read_trust(keys), Policy(now=NOW), with_tool=False)
    except IntegrityError:
        return True
    return False


def tampered(bundles: Bundles, folder: Path, count: int, chance: random.Random) -> Count:
    """Changed, inserted, removed, truncated and added bytes anywhere in the file."""
    data = bundles.path(FIRST).read_bytes()
    path = folder / "tampered"
    kept = 0
    for number in range(count):
        path.write_bytes(_tamper(data, number % 5, chance))
        kept += refuses(path, bundles.keys)
    return Count(kept=kept, tries=count)


def _tamper(data: bytes, kind: int, chance: random.Random) -> bytes:
    at = chance.randrange(len(data))
    if kind == 0:
        return data[:at] + bytes([data[at] ^ (1 << chance.randrange(8))]) + data[at + 1 :]
    if kind == 1:
        return data[:at] + chance.randbytes(chance.choice([1, 4, 512])) + data[at:]
    if kind == 2:
        return data[:at] + data[at + chance.choice([1, 4, 512]) :]
    if kind == 3:
        return data[:at]
    return data + chance.randbytes(chance.choice([1, 4, 512]))


def own_tool(bundles: Bundles) -> str:
    """The format's own tool on the first release; ``-`` where it has none."""
    envelope = load_envelope(bundles.format)
    with tempfile.TemporaryDirectory() as scratch:
        found = envelope.check(bundles.path(FIRST), read_trust(bundles.keys), Path(scratch))
    return "-" if found is None else f"{found.tool} {found.version or ''}".strip()


def install(bundles: Bundles, lab: Lab, folder: Path) -> tuple[dict[str, Cell], float]:
    """Install, refuse the bad one and the old one, on one device; and how long the first install took, seconds."""
    with lab.open(folder, bundles.keys, bundles.made[FIRST].verified.release) as client:
        first = client.install(bundles.path(FIRST))
        installed = first.accepted and client.active() == FIRST
        bad = client.install(bundles.path(BAD))
        rolled_back = not bad.accepted and client.active() == FIRST
        old = client.install(bundles.path(OLD))
        refused = not old.accepted and client.active() == FIRST
        then = client.install(bundles.path(NEXT))
        goes_on = then.accepted and client.active() == NEXT
    cells: dict[str, Cell] = {
        "real install": Count(kept=installed + goes_on, tries=2),
        "rolled back": Count(kept=int(rolled_back), tries=1),
        "downgrade refused": Count(kept=int(refused), tries=1),
    }
    return cells, first.seconds


def killed(bundles: Bundles, lab: Lab, folder: Path, count: int, length_s: float, seed: int) -> Count:
    """Power cuts at ``count`` random moments, and a retry; a new device after each one that had switched already."""
    cuts = PowerCuts(count, length_s, seed=seed)
    kept = switched = 0
    release = bundles.made[FIRST].verified.release
    while cuts.left:
        with lab.open(made_folder(folder / f"device-{cuts.tries}"), bundles.keys, release) as client:
            first = client.install(bundles.path(FIRST))
            assert first.accepted, f"the first release cannot be installed: {first.output}"
            active: str | None = FIRST
            while cuts.left and active == FIRST:
                outcome = cuts.saw(client.install(bundles.path(NEXT), kill_after_s=cuts.moment()))
                active = _whole(client, bundles.name)
                kept += outcome.killed and active in {FIRST, NEXT}
                if not outcome.killed and active != NEXT:
                    print(f"  {bundles.name}: not installed: {outcome.output[-2000:]}", file=sys.stderr)
                    kept -= 1
            switched += outcome.killed and active == NEXT
            again = client.install(bundles.path(NEXT))
            if not (again.accepted and client.active() == NEXT):
                print(f"  {bundles.name}: the retry failed: {again.output[-2000:]}", file=sys.stderr)
                kept -= 1
    return Count(kept=kept, tries=count, note=f"({switched} after the switch)")


def _whole(client: Client, name: str) -> str | None:
    """What is active; None, and said, where that is not whole."""
    try:
        return client.active()
    except AssertionError as err:
        print(f"  {name}: {err}", file=sys.stderr)
        return None


def row(bundles: Bundles, folder: Path, arguments: argparse.Namespace) -> dict[str, Cell]:
    """Everything of one format."""
    chance = random.Random(arguments.seed)
    first = bundles.made[FIRST]
    started = time.monotonic()
    accepted = not refuses(first.path, bundles.keys)
    cells: dict[str, Cell] = {
        "create": Count(kept=len(bundles.made), tries=len(bundles.made)),
        "verify": Count(kept=int(accepted), tries=1),
        "verify s": time.monotonic() - started,
        "own tool": own_tool(bundles),
        "tampered refused": tampered(bundles, folder, arguments.tampered, chance),
        "wrong key refused": Count(kept=int(refuses(first.path, bundles.other_keys)), tries=1),
        "bytes": first.path.stat().st_size,
        "create s": first.seconds,
    }
    if bundles.lab is None:
        return cells
    installed, seconds = install(bundles, bundles.lab, made_folder(folder / "device"))
    killing = killed(bundles, bundles.lab, folder, arguments.kills, seconds, arguments.seed)
    return {**cells, **installed, "install s": seconds, "killed install": killing}


def made_folder(path: Path) -> Path:
    """An empty folder."""
    path.mkdir()
    return path


def shown(cell: Cell | None) -> str:
    if cell is None:
        return "-"
    if isinstance(cell, float):
        return f"{cell:.2f}"
    return f"{cell:,}" if isinstance(cell, int) else str(cell)


def report(rows: dict[str, dict[str, Cell]]) -> str:
    """A Markdown table, formats across: thirteen columns fit no screen."""
    lines = [f"| | {' | '.join(rows)} |", "|---|" + "---|" * len(rows)]
    lines += [f"| {key} | {' | '.join(shown(cells.get(key)) for cells in rows.values())} |" for key in COLUMNS]
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> int:
    """Print the table; 1 where a promise is broken or a column could not be measured."""
    names = (*DEVICES, "mcu")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=names, default=names)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--tampered", type=int, default=300)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args(argv)
    rows: dict[str, dict[str, Cell]] = {}
    with tempfile.TemporaryDirectory(prefix="bundle-table-") as name:
        shop = workshop(Path(name), (cases("models") / MODEL).read_bytes())
        for column in arguments.only:
            print(f"{column} ...", file=sys.stderr)
            started = time.monotonic()
            try:
                bundles = shop.bundles(column)
                rows[column] = row(bundles, bundles.path(FIRST).parent, arguments)
                print(f"{column}: {time.monotonic() - started:.0f} s", file=sys.stderr)
            except (LabUnavailable, EdgekitError) as err:
                print(f"{column}: not measured: {err}", file=sys.stderr)
    print(report(rows))
    broken = [cell for cells in rows.values() for cell in cells.values() if isinstance(cell, Count) and not cell.holds]
    return 1 if broken or len(rows) < len(arguments.only) else 0


if __name__ == "__main__":
    sys.exit(main())

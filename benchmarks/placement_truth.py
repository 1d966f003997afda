"""Models x targets: what edgekit predicts, and what the runtime and the compiler here really do. They are to be equal.

python -m benchmarks.placement_truth [--zoo FOLDER] [--quick] [--sweep 20000] [--json FILE]        (about 5 minutes)

XNNPACK is asked through ai-edge-litert on this machine, op by op; Vela by its own placement in the file it made, where
it is installed. Models: the real .tflite files in every precision that edgekit makes of them, and networks of other
kinds from Keras and PyTorch, converted here once (``--zoo`` keeps them; ``--quick`` does without). ``--sweep`` adds
single ops in that many forms. The exit status is 1 where a prediction is wrong.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.harness import ROOT, Row, cases, finish, parser, say
from benchmarks.placement_compare import Comparison, compare
from benchmarks.placement_sweep import sweep
from edgekit.agent.runtime import ModelRefused
from edgekit.errors import CompilerError, EdgekitError
from edgekit_converters.errors import ConverterError
from edgekit_converters.estimators import estimate_ranges
from edgekit_converters.flatbuffer import add_signature, read, signature_specs, write
from edgekit_converters.quantize import quantize
from edgekit_converters.statistics import collect_statistics
from edgekit_converters.types import FloatModel, Scheme

VELA_TARGETS = ("ethos-u55-128", "ethos-u65-256", "ethos-u85-256")
SCHEMES = {
    "float16": Scheme(precision="float16"),
    "dynamic": Scheme(precision="dynamic"),
    "dynamic-int4": Scheme(precision="dynamic", weight_bits=4),
    "int8": Scheme(precision="int8", io="int8"),
    "int8-float-io": Scheme(precision="int8"),
    "int8-uint8-io": Scheme(precision="int8", io="uint8"),
    "int8-per-tensor": Scheme(precision="int8", io="int8", per_channel=False, per_channel_fully_connected=False),
    "int16x8": Scheme(precision="int16x8", io="int16"),
}
"""Every form that a float model is brought to."""


@dataclass(frozen=True, kw_only=True)
class Checked:
    """One model on one target."""

    model: str
    target: str
    comparison: Comparison


def real_models(folder: Path) -> Iterator[tuple[str, bytes]]:
    """Every .tflite of the cases as it is; what needs a compiled op's delegate is left out."""
    for path in sorted((folder / "models").rglob("*.tflite")):
        if "edgetpu" not in path.stem and path.parent.name != "negative":
            yield path.stem, path.read_bytes()


def make_zoo(folder: Path) -> None:
    """Convert the Keras and PyTorch networks, unless they are there; a process for each framework."""
    for module in ("zoo_keras", "zoo_torch"):
        if not (folder / f"{module}.done").exists():
            say(f"converting the networks of {module}")
            command = [sys.executable, "-m", f"benchmarks.models.{module}", str(folder)]
            subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
            (folder / f"{module}.done").touch()


def forms(name: str, tflite: bytes) -> Iterator[tuple[str, bytes]]:
    """The model, and what edgekit's quantizer makes of it; what the quantizer refuses is left out, and said."""
    yield name, tflite
    model = _float_model(tflite)
    if model is None:
        return
    samples = _samples(model)
    for label, scheme in SCHEMES.items():
        try:
            ranges = None
            if scheme.precision in {"int8", "int16x8"}:
                statistics = collect_statistics(model.tflite, lambda: samples, histograms=False)
                ranges = estimate_ranges(statistics, "min-max")
            yield f"{name} {label}", quantize(model, scheme=scheme, ranges=ranges).tflite
        except (ConverterError, EdgekitError) as err:
            say(f"{name} {label}: not made: {err.message}")


def _float_model(tflite: bytes) -> FloatModel | None:
    """With a signature of ours; None for a model that does not take float32."""
    parsed = read(tflite)
    inputs, outputs = signature_specs(parsed)
    if any(spec.dtype != "float32" for spec in (*inputs, *outputs)):
        return None
    names = ({f"in{i}": "" for i in range(len(inputs))}, {f"out{i}": "" for i in range(len(outputs))})
    parsed.signatureDefs = None
    add_signature(parsed, inputs=names[0], outputs=names[1])
    inputs, outputs = signature_specs(parsed)
    return FloatModel(
        tflite=write(parsed), inputs=inputs, outputs=outputs, source_format="tflite", route="none", tools={}
    )


def _samples(model: FloatModel) -> list[dict[str, Any]]:
    random = np.random.default_rng(0)
    return [{spec.name: random.normal(size=spec.shape).astype(np.float32) for spec in model.inputs} for _ in range(4)]


def check_vela(name: str, tflite: bytes, target_name: str) -> Checked | None:
    """Vela's own placement against the rules; None where it is not installed or refuses the model, which is said."""
    from edgekit.compilers.step import place_by_compiler
    from edgekit.placement.predict import place, rules_of
    from edgekit.target import load_target
    from edgekit_converters.structure import read_structure

    target = load_target(target_name)
    (accelerator,) = target.accelerators
    if accelerator.rules is None:
        say(f"{target_name}: no rules, no prediction")
        return None
    with tempfile.TemporaryDirectory() as logs:
        try:
            told, _ = place_by_compiler(
                tflite,
                target=target,
                accelerator=accelerator,
                settings={},
                directory=ROOT,
                log_folder=Path(logs),
                progress=_silent,
            )
        except CompilerError as err:
            say(f"{name} on {target_name}: not compiled: {err.message}")
            return None
    predicted = place(read_structure(tflite), target, rules_of(target))
    pairs = list(zip(predicted.ops, told.ops, strict=False))
    differences = tuple(
        f"{mine.index} {mine.op}: predicted on {mine.processor}"
        for mine, its in pairs
        if mine.processor != its.processor
    )
    counts = [sum(op.processor == accelerator.name for op in side) for side in zip(*pairs, strict=True)]
    found = Comparison(ops=len(pairs), predicted=counts[0], reported=counts[1], differences=differences)
    return Checked(model=name, target=target_name, comparison=found)


def _silent(step: str, done: int | None = None, total: int | None = None) -> None:
    """No progress is shown."""


def check_all(zoo: Path | None) -> Iterator[Checked]:
    """Every model in every form on XNNPACK, and the int8 forms through Vela."""
    if zoo is not None:
        make_zoo(zoo)
    sources = [*real_models(cases("models"))]
    sources += [(path.stem, path.read_bytes()) for path in sorted(zoo.glob("*.tflite"))] if zoo is not None else []
    for source, data in sources:
        for name, tflite in forms(source, data):
            try:
                yield Checked(model=name, target="xnnpack", comparison=compare(tflite))
            except ModelRefused as err:
                say(f"{name}: the runtime refuses it: {err}")
            if name.endswith("int8"):
                for target in VELA_TARGETS:
                    checked = check_vela(name, tflite, target)
                    if checked is not None:
                        yield checked


def main() -> int:
    """Print the table and the differences."""
    options = parser(__doc__)
    options.add_argument("--zoo", type=Path, default=ROOT / "build" / "zoo", help="folder of the converted networks")
    options.add_argument("--quick", action="store_true", help="only the real .tflite files: no TensorFlow, no PyTorch")
    options.add_argument("--sweep", type=int, default=0, metavar="N", help="compare N single ops, too")
    arguments = options.parse_args()
    rows, details = [], []
    for checked in check_all(None if arguments.quick else arguments.zoo):
        found = checked.comparison
        row = Row(
            what=f"{checked.model} on {checked.target}",
            measured=f"{found.reported} of {found.ops} ops",
            to_reach=f"{found.predicted} predicted",
            ok=not found.differences,
        )
        rows.append(row)
        details.append(asdict(checked))
        for difference in found.differences:
            say(f"{row.what}: {difference}")
    if arguments.sweep:
        swept = sweep(0, arguments.sweep)
        for difference in swept.differences:
            say(difference)
        measured = f"{len(swept.differences)} of {swept.compared} differ"
        rows.append(Row(what="single ops on xnnpack", measured=measured, to_reach="none", ok=not swept.differences))
        details.append(asdict(swept))
    return finish(rows, details, arguments.json)


if __name__ == "__main__":
    sys.exit(main())

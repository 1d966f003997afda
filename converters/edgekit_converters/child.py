"""Conversion in a child process: a crash, an out-of-memory or a Ctrl-C there is a clear error here.

The parent imports neither numpy nor a framework before the child has converted.
"""

import contextlib
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

from edgekit_converters.process import Answer, ask
from edgekit_converters.shapes import InputHint, OpenShape
from edgekit_converters.sources import ModelSource
from edgekit_converters.types import Finding, FloatModel


@dataclass(frozen=True, kw_only=True)
class Probes:
    """Inputs on which the conversion is compared with its source."""

    kind: Literal["calibration", "evaluation", "random"]
    samples: Sequence[Mapping[str, Any]]
    """Arrays by input name, in the .tflite's own shapes, layout and dtypes."""


def _ignore(_text: str) -> None:
    """Nobody listens to progress."""


def convert(
    source: ModelSource,
    *,
    batch: int = 1,
    hints: Mapping[str, InputHint] | None = None,
    probes: Callable[[FloatModel], Probes] | None = None,
    log_folder: Path,
    max_memory_mib: int | None = None,
    on_event: Callable[[str], None] = _ignore,
) -> FloatModel:
    """Convert a source model to a float32 .tflite with a static batch and the signature ``serving_default``.

    ``hints`` settle open dimensions; ``probes`` is asked for inputs once the model's own are known, and the result is
    compared with what the source itself gives for them (seeded random inputs without it). The framework's output goes
    to a log in ``log_folder`` that is kept only if it failed. Raises SourceError, ConversionError, MismatchError, and
    whatever ``probes`` raises.
    """
    if source.format == "tflite":
        from edgekit_converters.from_tflite import read_float_model

        return read_float_model(source, batch=batch, hints=hints or {})
    from edgekit_converters.fidelity import check_fidelity, measure_fidelity

    found: list[tuple[FloatModel, Probes]] = []
    with _workspace() as workspace:
        tflite, outputs = workspace / "model.tflite", workspace / "outputs.npz"

        def on_converted(answer: Answer) -> Answer:
            model = _float_model(tflite.read_bytes(), answer, source.format)
            probed = probes(model) if probes else _random_probes(model)
            found.append((model, probed))
            _save_samples(workspace / "samples.npz", model, probed)
            return {
                "samples": str(workspace / "samples.npz"),
                "count": len(probed.samples),
                "inputs": [spec.name for spec in model.inputs],
                "outputs": [spec.name for spec in model.outputs],
                "answers": str(outputs),
            }

        request = _request(source, tflite, batch, hints, max_memory_mib)
        ask(
            request,
            what=source.spec,
            workspace=workspace,
            log_folder=log_folder,
            on_event=on_event,
            on_converted=on_converted,
        )
        ((model, probed),) = found
        fidelity = measure_fidelity(model, probed.samples, _load_outputs(outputs, model, probed), probed.kind)
    findings = check_fidelity(fidelity, model.route)
    return replace(model, fidelity=fidelity, findings=(*model.findings, *findings))


def describe(
    source: ModelSource,
    *,
    hints: Mapping[str, InputHint] | None = None,
    log_folder: Path,
    on_event: Callable[[str], None] = _ignore,
) -> tuple[dict[str, tuple[OpenShape, str]], dict[str, tuple[OpenShape, str]]]:
    """Inputs and outputs of a model: name -> shape with open dimensions as None, dtype.

    Raises SourceError or ConversionError.
    """
    if source.format == "tflite":
        from edgekit_converters.from_tflite import describe_float_model

        return describe_float_model(source)
    with _workspace() as workspace:
        answer = ask(
            _request(source, None, 1, hints, None),
            what=source.spec,
            workspace=workspace,
            log_folder=log_folder,
            on_event=on_event,
            on_converted=lambda _answer: None,
        )
    inputs, outputs = (
        {name: (tuple(shape), dtype) for name, (shape, dtype) in answer[side].items()} for side in ("inputs", "outputs")
    )
    return inputs, outputs


def _request(
    source: ModelSource,
    tflite: Path | None,
    batch: int,
    hints: Mapping[str, InputHint] | None,
    max_memory_mib: int | None,
) -> Answer:
    fields = {
        "spec": source.spec,
        "format": source.format,
        "directory": str(source.directory.absolute()),
        "weights": str(source.weights.absolute()) if source.weights else None,
        "layout": source.layout,
        "unroll": source.unroll,
    }
    return {
        "source": fields,
        "tflite": str(tflite) if tflite else None,
        "batch": batch,
        "hints": {name: asdict(hint) for name, hint in (hints or {}).items()},
        "max_memory_mib": max_memory_mib,
    }


def _float_model(data: bytes, answer: Answer, source_format: str) -> FloatModel:
    from edgekit_converters.flatbuffer import add_signature, read, shorten_names, signature_specs, write

    model = read(data)
    add_signature(
        model,
        inputs=answer["input_tensors"] or dict.fromkeys(answer["inputs"], ""),
        outputs=answer["output_tensors"] or dict.fromkeys(answer["outputs"], ""),
    )
    shorten_names(model)
    inputs, outputs = (
        tuple(replace(spec, permutation=tuple(changed[spec.name]) if spec.name in changed else None) for spec in side)
        for side, changed in zip(
            signature_specs(model), (answer["input_permutations"], answer["output_permutations"]), strict=True
        )
    )
    return FloatModel(
        tflite=write(model),
        inputs=inputs,
        outputs=outputs,
        source_format=source_format,
        route=answer["route"],
        tools=answer["tools"],
        findings=tuple(Finding(**finding) for finding in answer["findings"]),
        files=tuple(answer["files"]),
    )


@contextlib.contextmanager
def _workspace() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="edgekit-convert-") as folder:
        yield Path(folder)


def _random_probes(model: FloatModel) -> Probes:
    from edgekit_converters.fidelity import random_samples

    return Probes(kind="random", samples=random_samples(model, {}))


def _save_samples(path: Path, model: FloatModel, probes: Probes) -> None:
    """In the source's layout, called by sample and position."""
    import numpy as np

    arrays = {}
    for number, sample in enumerate(probes.samples):
        for position, spec in enumerate(model.inputs):
            array = sample[spec.name]
            arrays[f"{number}-{position}"] = (
                array if spec.permutation is None else array.transpose(np.argsort(spec.permutation))
            )
    np.savez(path, **arrays)


def _load_outputs(path: Path, model: FloatModel, probes: Probes) -> list[dict[str, Any]]:
    """The source's outputs in the .tflite's layout."""
    import numpy as np

    with np.load(path, allow_pickle=False) as arrays:
        return [
            {
                spec.name: arrays[f"{number}-{position}"]
                if spec.permutation is None
                else arrays[f"{number}-{position}"].transpose(spec.permutation)
                for position, spec in enumerate(model.outputs)
            }
            for number in range(len(probes.samples))
        ]

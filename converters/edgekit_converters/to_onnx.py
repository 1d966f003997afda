"""Float .tflite -> ONNX by tf2onnx, with the signature's names, in float32 or float16, compared with the .tflite.

tf2onnx (https://github.com/onnx/tensorflow-onnx) runs as a process of its own; what it wrote is finished here.
"""

import math
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any, Literal

from edgekit_converters.errors import ConversionError, MismatchError, SourceError
from edgekit_converters.fidelity import SAMPLES, SEED, compare
from edgekit_converters.runtime import float_model_refused, open_interpreter, signature_of
from edgekit_converters.types import OutputFidelity

OPSET = 17
"""The newest that TensorRT 8.5 (JetPack 5) reads whole; tf2onnx goes to 18."""
BROKEN_BELOW_DB: dict[str, float] = {"float32": 60.0, "float16": 20.0}
"""float32: as for every conversion (fidelity.py). float16 keeps 11 bits: 40 to 60 dB for a sound model; below 20 an
activation overflowed its largest number, 65,504, or vanished."""
NUMBER = re.compile(r"__\d+$")
PACKAGES = ("tf2onnx", "tensorflow", "onnx", "onnxruntime")


@dataclass(frozen=True, kw_only=True)
class OnnxModel:
    """An ONNX file that computes what its .tflite does."""

    data: bytes
    fidelity: tuple[OutputFidelity, ...]
    """Against the float .tflite, run by onnxruntime on seeded random inputs."""


def tool_version() -> str:
    """tf2onnx's version; raises SourceError where it, or what it needs, is not installed."""
    from importlib import metadata, util

    missing = [name for name in PACKAGES if util.find_spec(name) is None]
    if missing:
        raise SourceError(
            f"The export to ONNX needs {', '.join(missing)}.",
            hint='Install them with: pip install "edgekit[tensorrt]".',
        )
    return metadata.version("tf2onnx")


def command(tflite: Path, onnx: Path) -> tuple[str, ...]:
    """The process that writes ``onnx``."""
    arguments = ("--tflite", str(tflite), "--output", str(onnx), "--opset", str(OPSET))
    return (sys.executable, "-W", "ignore", "-m", "tf2onnx.convert", *arguments)


def finish(path: Path, tflite: bytes, precision: Literal["float32", "float16"]) -> OnnxModel:
    """Give it the signature's names, weights and activations of ``precision`` (inputs and outputs stay float32).

    Raises ConversionError for a file that onnxruntime does not run, MismatchError where it computes something else.
    """
    import onnx

    try:
        model = onnx.load(str(path))
        onnx.checker.check_model(model)
    except Exception as err:  # protobuf's and the checker's errors derive from Exception alone
        raise ConversionError(
            f"What tf2onnx wrote is no whole ONNX file: {str(err).splitlines()[0][:300]}",
            hint="Look for its errors in the log.",
        ) from err
    interpreter = open_interpreter(tflite, float_model_refused)
    runner = signature_of(interpreter)
    names = {
        str(details["name"]): str(name)
        for table in (runner.get_input_details(), runner.get_output_details())
        for name, details in table.items()
    }
    model = _renamed(model, names)
    if precision == "float16":
        from onnxruntime.transformers.float16 import convert_float_to_float16

        model = convert_float_to_float16(model, keep_io_types=True)
    data = bytes(model.SerializeToString(deterministic=True))
    fidelity = _compared(data, runner)
    for output in fidelity:
        _check(output, precision)
    return OnnxModel(data=data, fidelity=fidelity)


def _renamed(model: Any, names: Mapping[str, str]) -> Any:
    """Inputs and outputs by the signature's names, as golden vectors and applications know them.

    tf2onnx numbers inner tensors as it walks over a set; numbered by first use, the same model gives the same bytes.
    """
    new: dict[str, str] = {}
    taken = set(names.values())
    for name in (name for node in model.graph.node for name in (*node.input, *node.output)):
        if name and name not in new:
            new[name] = names.get(name) or _free(NUMBER.sub("", name), taken)
            taken.add(new[name])
    for node in model.graph.node:
        node.input[:] = [new.get(name, name) for name in node.input]
        node.output[:] = [new.get(name, name) for name in node.output]
    for value in (*model.graph.input, *model.graph.output, *model.graph.initializer):
        value.name = new.get(value.name, value.name)
    model.doc_string = model.graph.doc_string = ""  # the path that it was converted from
    del model.graph.value_info[:]  # inferred again by whoever reads it
    model.graph.initializer.sort(key=lambda value: value.name)
    return model


def _free(base: str, taken: set[str]) -> str:
    """``base``, or with the first number that nobody has."""
    return base if base not in taken else next(f"{base}_{i}" for i in count(1) if f"{base}_{i}" not in taken)


def _compared(data: bytes, runner: Any) -> tuple[OutputFidelity, ...]:
    import numpy as np
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    generator = np.random.default_rng(SEED)
    samples = [
        {
            name: generator.uniform(0, 1, details["shape"]).astype(details["dtype"])
            for name, details in runner.get_input_details().items()
        }
        for _ in range(SAMPLES)
    ]
    try:
        session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
        outputs = [value.name for value in session.get_outputs()]
        got = [dict(zip(outputs, session.run(outputs, sample), strict=True)) for sample in samples]
    except Exception as err:  # every class of onnxruntime's errors derives from Exception alone
        raise ConversionError(
            f"onnxruntime does not run what tf2onnx wrote: {str(err).splitlines()[0][:300]}",
            hint="The model uses an operation that ONNX has in another form; report it.",
        ) from err
    wanted = [runner(**sample) for sample in samples]
    return tuple(
        compare(
            name,
            np.stack([np.asarray(answer[name], np.float64).reshape(first.shape) for answer in got]),
            np.stack([np.asarray(answer[name], np.float64) for answer in wanted]),
        )
        for name, first in wanted[0].items()
    )


def _check(output: OutputFidelity, precision: Literal["float32", "float16"]) -> None:
    bound = BROKEN_BELOW_DB[precision]
    if math.isnan(output.max_error) or (output.sqnr_db is not None and output.sqnr_db < bound):
        decibels = "no signal" if output.sqnr_db is None else f"{output.sqnr_db:.1f} dB"
        raise MismatchError(
            f"Output {output.name!r} of the ONNX file differs from the float .tflite by up to {output.max_error:.3g} "
            f"({decibels}; {bound:.0f} are needed in {precision}).",
            hint="Build with --precision float32."
            if precision == "float16"
            else "Report the model: the export is wrong.",
        )

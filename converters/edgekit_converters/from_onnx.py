"""ONNX -> float32 TFLite bytes with onnx2tf, which has an environment of its own. Runs in the child process.

onnx2tf writes the flatbuffer itself, without TensorFlow, and turns what feeds a convolution from NCHW to NHWC.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgekit_converters.converter import Converted, Permutation, Say
from edgekit_converters.environments import TOOLS, prepare
from edgekit_converters.errors import ConversionError, SourceError
from edgekit_converters.layouts import candidates, choose, identity
from edgekit_converters.onnx2tf import run_onnx2tf
from edgekit_converters.onnx_file import graph_inputs, io_specs, read_onnx
from edgekit_converters.runtime import open_interpreter
from edgekit_converters.shapes import InputHint, OpenShape, static_shapes
from edgekit_converters.sources import ModelSource
from edgekit_converters.types import Finding

ROUTE = "onnx2tf"
SPATIAL = frozenset(
    {"Conv", "ConvTranspose", "MaxPool", "AveragePool", "GlobalMaxPool", "GlobalAveragePool", "BatchNormalization"}
    | {"InstanceNormalization", "LRN", "Resize", "Upsample", "DepthToSpace", "SpaceToDepth"}
)
"""Operators that take the channels on axis 1: an input that reaches one is an image, or a signal, in NCHW."""
ELEMENTWISE = frozenset(
    {"Add", "Sub", "Mul", "Div", "Pow", "Cast", "Identity", "Clip", "Relu", "Pad", "Slice", "Split", "Concat"}
)
"""Operators that leave the layout of an input as it is on the way there."""
SEED = 20261101


@dataclass(frozen=True, kw_only=True)
class Loaded:
    """An ONNX model in memory."""

    inputs: dict[str, tuple[OpenShape, str]]
    outputs: dict[str, tuple[OpenShape, str]]
    tools: dict[str, str]
    model: Any
    """``onnx.ModelProto``, weights inside."""
    session: Any
    """``onnxruntime.InferenceSession`` of it, on the CPU."""
    keep_layout: bool
    """``--layout nchw``: inputs stay as they are."""
    files: tuple[str, ...]
    """The model's files, relative to the project's folder, where its weights lie beside it; else none."""


def load(source: ModelSource, *, hints: Mapping[str, InputHint]) -> Loaded:  # noqa: ARG001 - the file says all
    """Read and check the file and start onnxruntime on it; raises SourceError."""
    path = source.directory / source.spec
    try:
        import onnx
        import onnxruntime
    except ImportError as err:
        raise SourceError(
            f"ONNX models need the packages onnx and onnxruntime: {err}.",
            hint='Install them with: pip install "edgekit[onnx]".',
        ) from err
    model, weights = read_onnx(path)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    try:
        session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    except Exception as err:  # every class of onnxruntime's errors derives from Exception alone
        raise SourceError(
            f"onnxruntime cannot run {path}: {str(err).splitlines()[0][:300]}",
            hint="A conversion could not be checked against it; export the model again, with opset 13 or newer.",
        ) from err
    return Loaded(
        inputs=io_specs(graph_inputs(model), path),
        outputs=io_specs(model.graph.output, path),
        tools={
            "onnx": onnx.__version__,
            "onnxruntime": onnxruntime.__version__,
            TOOLS["onnx"].package: TOOLS["onnx"].version,
        },
        model=model,
        session=session,
        keep_layout=source.layout == "nchw",
        files=tuple(str(Path(source.spec).with_name(name)) for name in (path.name, *weights)) if weights else (),
    )


def convert(loaded: Loaded, *, batch: int, hints: Mapping[str, InputHint], say: Say) -> Converted:
    """Static shapes, onnx2tf, the layouts it chose; raises SourceError or ConversionError."""
    shapes, findings = static_shapes(
        {name: shape for name, (shape, _) in loaded.inputs.items()}, batch=batch, hints=hints
    )
    environment = prepare(TOOLS["onnx"], lambda step, _done=None, _total=None: say(step))
    say("converting with onnx2tf")
    probe = _probe(loaded, shapes)
    answer = _first_answer(loaded, probe)
    kept = [name for name in shapes if loaded.keep_layout or not _is_channels_first(loaded.model, name)]
    sizes = {**shapes, **{name: array.shape for name, array in answer.items()}}
    tflite = run_onnx2tf(environment, with_shapes(loaded.model, sizes), kept)
    say("finding the layout of inputs and outputs")
    inputs, outputs, input_axes, output_axes = _layouts(tflite, probe, answer)
    return Converted(
        tflite=tflite,
        input_tensors=inputs,
        output_tensors=outputs,
        route=ROUTE,
        findings=[*findings, *_layout_findings(loaded, output_axes)],
        input_permutations=input_axes,
        output_permutations=output_axes,
    )


def run(loaded: Loaded, inputs: Mapping[str, Any]) -> dict[str, Any]:
    """What onnxruntime gives; arrays in the source's layout."""
    import numpy as np

    feed = {name: np.asarray(inputs[name]).astype(dtype) for name, (_, dtype) in loaded.inputs.items()}
    return dict(zip(loaded.outputs, loaded.session.run(list(loaded.outputs), feed), strict=True))


def with_shapes(model: Any, shapes: Mapping[str, tuple[int, ...]]) -> bytes:
    """The serialized model with static inputs and outputs; inner shapes are left to be inferred again."""
    import onnx

    static = onnx.ModelProto()
    static.CopyFrom(model)
    del static.graph.value_info[:]
    for value in (*graph_inputs(static), *static.graph.output):
        shape = value.type.tensor_type.shape
        del shape.dim[:]
        for size in shapes[value.name]:
            shape.dim.add().dim_value = size
        shape.SetInParent()  # a scalar's shape is there, and empty
    return bytes(static.SerializeToString())


def _is_channels_first(model: Any, name: str) -> bool:
    """Whether an input reaches a convolution or its like with nothing but elementwise operators between."""
    reached, waiting = set(), [name]
    while waiting:
        tensor = waiting.pop()
        for node in model.graph.node:
            if tensor not in node.input:
                continue
            if node.op_type in SPATIAL and node.input[0] == tensor:
                return True
            if node.op_type in ELEMENTWISE:
                waiting += [output for output in node.output if output not in reached]
                reached.update(node.output)
    return False


def _first_answer(loaded: Loaded, probe: Mapping[str, Any]) -> dict[str, Any]:
    """Outputs for the probe: their shapes are the static ones, however open the file leaves them."""
    try:
        return run(loaded, probe)
    except Exception as err:  # every class of onnxruntime's errors derives from Exception alone
        raise SourceError(
            f"onnxruntime fails on random inputs of these shapes: {str(err).splitlines()[0][:300]}",
            hint="Check the shapes that edgekit.toml gives, and that the model runs with onnxruntime.",
        ) from err


def _layouts(
    tflite: bytes, probe: Mapping[str, Any], answer: Mapping[str, Any]
) -> tuple[dict[str, str], dict[str, str], dict[str, Permutation], dict[str, Permutation]]:
    """Tensor names, and the permutations that change something, of inputs and of outputs."""
    interpreter = open_interpreter(tflite, _refused)
    inputs = _by_name(list(probe), interpreter.get_input_details(), "inputs")
    outputs = _by_name(list(answer), interpreter.get_output_details(), "outputs")
    input_candidates = {name: candidates(probe[name].shape, _shape(inputs[name])) for name in inputs}
    for name, fitting in input_candidates.items():
        if not fitting:
            raise ConversionError(
                f"onnx2tf turned the input {name!r} of shape {probe[name].shape} into {_shape(inputs[name])}.",
                hint="Fix the input's shape when exporting the model, and report it if that does not help.",
            )
    input_axes, output_axes = choose(
        input_candidates,
        {name: candidates(answer[name].shape, _shape(outputs[name])) for name in outputs},
        probe=probe,
        wanted=answer,
        converted=lambda arrays: _answer(interpreter, inputs, outputs, arrays),
    )
    return (
        {name: str(detail["name"]) for name, detail in inputs.items()},
        {name: str(detail["name"]) for name, detail in outputs.items()},
        _changed(input_axes),
        _changed(output_axes),
    )


def _refused(why: str) -> ConversionError:
    return ConversionError(
        f"What onnx2tf made does not run: {why}",
        hint="The model uses an operation that TensorFlow Lite does not have, or shapes that depend on values; "
        "cut it off into pre- or postprocessing.",
    )


def _by_name(names: list[str], details: list[Any], what: str) -> dict[str, Any]:
    """Name in ONNX -> detail in the .tflite; onnx2tf keeps the order, and names apart from a few characters."""
    if len(names) != len(details):
        raise ConversionError(
            f"The model has {len(names)} {what} ({', '.join(names)}), and onnx2tf made {len(details)}.",
            hint=f"Remove {what} that nothing is computed from, and export the model again.",
        )
    own = {str(detail["name"]): detail for detail in details}
    rest = iter([detail for detail in details if str(detail["name"]) not in names])
    return {name: own[name] if name in own else next(rest) for name in names}


def _shape(detail: Any) -> tuple[int, ...]:
    return tuple(int(size) for size in detail["shape"])


def _probe(loaded: Loaded, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Any]:
    """Seeded inputs in the source's layout: 0..1, integers 0 or 1."""
    import numpy as np

    generator = np.random.default_rng(SEED)
    return {
        name: generator.random(shapes[name]).astype(dtype)
        if np.issubdtype(dtype, np.floating)
        else generator.integers(0, 2, shapes[name]).astype(dtype)
        for name, (_, dtype) in loaded.inputs.items()
    }


def _answer(
    interpreter: Any, inputs: Mapping[str, Any], outputs: Mapping[str, Any], arrays: Mapping[str, Any]
) -> dict[str, Any]:
    for name, detail in inputs.items():
        interpreter.set_tensor(detail["index"], arrays[name].astype(detail["dtype"]))
    interpreter.invoke()
    return {name: interpreter.get_tensor(detail["index"]) for name, detail in outputs.items()}


def _changed(permutations: Mapping[str, Permutation]) -> dict[str, Permutation]:
    return {name: axes for name, axes in permutations.items() if axes != identity(len(axes))}


def _layout_findings(loaded: Loaded, output_axes: Mapping[str, Permutation]) -> list[Finding]:
    if not loaded.keep_layout or not output_axes:
        return []
    return [
        Finding(
            name="output-layout",
            severity="warning",
            message=f"--layout nchw keeps the inputs; onnx2tf still gives {', '.join(output_axes)} with channels last.",
            fix="Transpose in the application, or leave --layout away; the manifest records the axes.",
        )
    ]

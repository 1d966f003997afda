"""The one adapter to the TFLite runtimes: ai-edge-litert, tflite-runtime, tensorflow.

Host and device use the same functions, so what was audited is what runs.
"""

from __future__ import annotations

import contextlib
import importlib
import inspect
import os
import platform
import sys
import tempfile
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Callable, Iterator, Mapping, Sequence

from .delegates import MAX_REASON, DelegateRefused, load_delegate

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Array = NDArray[Any]

RUNTIMES = (
    ("ai-edge-litert", "ai_edge_litert.interpreter"),
    ("tflite-runtime", "tflite_runtime.interpreter"),
    ("tensorflow", "tensorflow.lite.python.interpreter"),
)
"""Distribution and module, in the order of preference."""

XNNPACK = "xnnpack"
NONE = "none"
REFERENCE = "reference"
"""The kernels that define what an op computes, slow and the same everywhere; no device runs a model on them."""
NO_FUSION = "experimental_disable_delegate_node_fusion"


class RuntimeMissing(Exception):
    """No TFLite runtime can be imported."""


class ModelRefused(Exception):
    """The runtime will not load, prepare or run this model."""


class Tensor:
    """An input or output: ``name``, ``shape``, ``dtype`` (numpy), per-tensor ``scale`` and ``zero_point`` or None."""

    def __init__(self, name: str, details: Mapping[str, Any]) -> None:
        scales, points = (
            details["quantization_parameters"]["scales"],
            details["quantization_parameters"]["zero_points"],
        )
        self.name = name
        self.index = int(details["index"])
        self.shape = tuple(int(size) for size in details["shape"])
        self.dtype: np.dtype[Any] = _dtype(details["dtype"])
        self.scale = float(scales[0]) if len(scales) == 1 else None
        self.zero_point = int(points[0]) if len(scales) == 1 else None


def _reason(err: Exception) -> str:
    """What the runtime said, on one line; it says some things once for every tensor."""
    text = " ".join(str(err).split()) or type(err).__name__
    return text if len(text) <= MAX_REASON else text[:MAX_REASON] + " ..."


def _dtype(kind: Any) -> np.dtype[Any]:
    import numpy as np

    dtype: np.dtype[Any] = np.dtype(kind)
    return dtype


def find_runtime() -> tuple[str, str, Any]:
    """Name, version and interpreter module of the runtime that is installed; raises RuntimeMissing."""
    for name, module_name in RUNTIMES:
        try:
            module = importlib.import_module(module_name)
        except ImportError:
            continue
        return name, version_of(name) or str(getattr(module, "__version__", "unknown")), module
    raise RuntimeMissing("none of ai-edge-litert, tflite-runtime and tensorflow can be imported")


def version_of(distribution: str) -> str | None:
    """Of an installed package, or of its build for CPUs; None where there is none, or Python (3.7) cannot tell."""
    try:
        from importlib import metadata  # novm: Python 3.8, and what happens before it is handled
    except ImportError:
        return None
    for name in (distribution, distribution + "-cpu"):
        try:
            return metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return None


@contextlib.contextmanager
def _without_notes() -> Iterator[None]:
    """Drop the ``INFO:`` lines that the runtime's C++ writes to file descriptor 2; everything else is passed on."""
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as caught:
        os.dup2(caught.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(kept, 2)
            os.close(kept)
            caught.seek(0)
            for line in caught:
                if not line.startswith(b"INFO: "):
                    os.write(2, line)


class Model:
    """A model that is loaded, prepared and ready to run.

    ``delegate``: ``xnnpack`` (the runtime's default), ``none`` (its plain kernels), or the path of an external
    delegate library, which gets ``delegate_options``. ``model`` is a path or the bytes of a .tflite. Without ``fusion``
    every op that a delegate takes has a node of its own, where ``tells_nodes()``: for looking, not for running.

    Raises ModelRefused, DelegateRefused, RuntimeMissing.
    """

    def __init__(
        self,
        model: str | os.PathLike[str] | bytes | bytearray | memoryview,
        delegate: str = XNNPACK,
        num_threads: int = 1,
        preserve_all_tensors: bool = False,
        delegate_options: Mapping[str, str] = MappingProxyType({}),
        fusion: bool = True,
    ) -> None:
        self.runtime, self.version, module = find_runtime()
        self.delegate = delegate
        arguments: dict[str, Any] = {"num_threads": num_threads}
        if isinstance(model, (bytes, bytearray, memoryview)):
            arguments["model_content"] = bytes(model)
        else:
            if not os.path.exists(str(model)):
                raise ModelRefused("%s does not exist" % model)
            arguments["model_path"] = str(model)
        if preserve_all_tensors:
            arguments["experimental_preserve_all_tensors"] = True
        if delegate == NONE:
            arguments["experimental_op_resolver_type"] = module.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
        elif delegate == REFERENCE:
            arguments["experimental_op_resolver_type"] = module.OpResolverType.BUILTIN_REF
        elif delegate != XNNPACK:
            arguments["experimental_delegates"] = [load_delegate(module, delegate, delegate_options)]
        if not fusion:
            arguments[NO_FUSION] = True
        self._open: Callable[[], Any] = lambda: module.Interpreter(**arguments)
        try:
            with _without_notes():
                self.interpreter = self._open()
                self.nodes_before = len(self.ops())  # XNNPACK comes when tensors are allocated
                self.interpreter.allocate_tensors()
                self.inputs, self.outputs = self._tensors()  # follows the signature, which may point at nothing
                self._has_resources = any(op["op_name"] == "VAR_HANDLE" for op in self.ops())
        except (ValueError, RuntimeError) as err:
            if "experimental_delegates" in arguments:
                raise _refused_with(delegate, _reason(err)) from err
            raise ModelRefused(_reason(err)) from err

    def ops(self) -> Sequence[Mapping[str, Any]]:
        """``index``, ``op_name``, ``inputs`` and ``outputs`` of every node; the model's own first, see coverage.py."""
        ops: Sequence[Mapping[str, Any]] = self.interpreter._get_ops_details()  # noqa: SLF001 - told nowhere else
        return ops

    def _tensors(self) -> tuple[list[Tensor], list[Tensor]]:
        interpreter = self.interpreter
        inputs = [(str(item["name"]), item) for item in interpreter.get_input_details()]
        outputs = [(str(item["name"]), item) for item in interpreter.get_output_details()]
        signatures = interpreter.get_signature_list()
        if len(signatures) == 1:
            runner = interpreter.get_signature_runner(next(iter(signatures)))
            inputs = _named(inputs, runner.get_input_details())
            outputs = _named(outputs, runner.get_output_details())
        return [Tensor(*item) for item in inputs], [Tensor(*item) for item in outputs]

    def set_inputs(self, arrays: Mapping[str, Array]) -> None:
        """Copy one array per input name into the model; shapes and dtypes must be the tensors' own."""
        for tensor in self.inputs:
            self.interpreter.set_tensor(tensor.index, arrays[tensor.name])

    def get_outputs(self) -> dict[str, Array]:
        """Output name -> a copy of the array."""
        return {tensor.name: self.interpreter.get_tensor(tensor.index) for tensor in self.outputs}

    def invoke(self) -> None:
        """Run once on what the inputs hold; raises ModelRefused."""
        try:
            self.interpreter.invoke()
        except (ValueError, RuntimeError) as err:
            raise ModelRefused(_reason(err)) from err

    def reset(self) -> None:
        """Forget what earlier runs left behind: the state of an LSTM, the variables of a streaming model.

        Raises ModelRefused.
        """
        try:
            self.interpreter.reset_all_variables()  # tensors that are variables
            if self._has_resources:
                with _without_notes():
                    self.interpreter = self._open()  # resources live as long as their interpreter
                    self.interpreter.allocate_tensors()
        except (ValueError, RuntimeError) as err:
            raise ModelRefused(_reason(err)) from err

    def run(self, arrays: Mapping[str, Array]) -> dict[str, Array]:
        """Arrays by input name in, arrays by output name out; state that the model holds goes on, see ``reset``."""
        self.set_inputs(arrays)
        self.invoke()
        return self.get_outputs()


def describe_surroundings() -> dict[str, str | None]:
    """What a delegate's library may not fit to: ``runtime``, its ``version``, ``python``, ``glibc`` (or None)."""
    name, version, _ = find_runtime()
    glibc = platform.libc_ver()[1] or None
    return {"runtime": name, "version": version, "python": platform.python_version(), "glibc": glibc}


def tells_nodes() -> bool:
    """Whether the runtime can give every delegated op a node of its own (ai-edge-litert can, tflite-runtime not)."""
    return NO_FUSION in inspect.signature(find_runtime()[2].Interpreter.__init__).parameters


def _refused_with(delegate: str, reason: str) -> DelegateRefused:
    return DelegateRefused(
        "The model cannot be prepared with %s: %s" % (delegate, reason),
        "If it runs with --delegate none, the delegate refuses it: look at its operators with `edgekit inspect`.",
    )


def _named(
    tensors: list[tuple[str, Mapping[str, Any]]], by_signature: Mapping[str, Mapping[str, Any]]
) -> list[tuple[str, Mapping[str, Any]]]:
    names = {int(details["index"]): str(name) for name, details in by_signature.items()}
    return [(names.get(int(details["index"]), name), details) for name, details in tensors]


def quantize(array: Array, tensor: Tensor) -> Array:
    """Real values -> the tensor's dtype: round(x / scale) + zero_point, clipped; float tensors are only cast."""
    import numpy as np

    if tensor.scale is None or array.dtype == tensor.dtype:
        return np.ascontiguousarray(array, dtype=tensor.dtype)
    limits = np.iinfo(tensor.dtype)
    steps = np.round(array.astype(np.float64) / tensor.scale) + (tensor.zero_point or 0)
    quantized: Array = np.clip(steps, limits.min, limits.max).astype(tensor.dtype)
    return quantized


def dequantize(array: Array, tensor: Tensor) -> Array:
    """The tensor's dtype -> real values, float32."""
    import numpy as np

    if tensor.scale is None:
        return np.asarray(array, dtype=np.float32)
    real: Array = ((array.astype(np.float32) - (tensor.zero_point or 0)) * tensor.scale).astype(np.float32)
    return real

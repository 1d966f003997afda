"""The one adapter to LiteRT's profiler: the C functions of the ``libLiteRt.so`` in the ai-edge-litert wheel, by ctypes.

The interpreter that Python has cannot be asked for the time of an op; LiteRT's CompiledModel can, with profiling
enabled in its options (litert/c/litert_profiler.h and litert_compiled_model.h of google-ai-edge/LiteRT). Its events
are not read: their layout is not that of the header. What it says in words (``LiteRtGetProfileSummary``) is.

A wrong signature here crashes: use it in a process of its own.
"""

import contextlib
import ctypes
import os
import sys
import tempfile
from typing import Any, Dict, Iterator, List, NamedTuple, Tuple

from . import runtime

Handle = ctypes.c_void_p
Size = ctypes.c_size_t
Status = ctypes.c_int
NEW = ctypes.POINTER(Handle)
COUNT = ctypes.POINTER(Size)
TEXT = ctypes.c_char_p

CPU = 1
"""kLiteRtHwAcceleratorCpu."""
WRITE = 1
"""kLiteRtTensorBufferLockModeWrite."""
KERNELS = {runtime.XNNPACK: "delegate", runtime.NONE: "builtin"}
"""Our delegate -> ``kernel_mode`` of LiteRT's CPU (litert/runtime/litert_cpu_options.cc)."""
DTYPES = {1: "float32", 2: "int32", 3: "uint8", 4: "int64", 6: "bool", 7: "int16", 9: "int8", 10: "float16"}
"""LiteRtElementType, which is TfLiteType, -> numpy."""
MAX_RANK = 8
MAX_TENSORS = 1000
MAX_SUMMARY_BYTES = 8 * 1024 * 1024
DROPPED = "Dropping ProfileBuffer event"


class ProfilerMissing(Exception):
    """This runtime, or the way the model is asked to run, has no profiler that can be used; says why."""


class _Layout(ctypes.Structure):
    """LiteRtLayout (litert/c/litert_layout.h)."""

    _fields_ = [
        ("rank", ctypes.c_uint, 7),
        ("has_strides", ctypes.c_uint, 1),
        ("dimensions", ctypes.c_int32 * MAX_RANK),
        ("strides", ctypes.c_uint32 * MAX_RANK),
    ]


class _TensorType(ctypes.Structure):
    """LiteRtRankedTensorType (litert/c/litert_model_types.h)."""

    _fields_ = [("element_type", ctypes.c_int), ("layout", _Layout)]


class Input(NamedTuple):
    """An input, as ``start.read_inputs`` takes it."""

    name: str
    shape: Tuple[int, ...]
    dtype: str


TYPE = ctypes.POINTER(_TensorType)
LAYOUTS = ctypes.POINTER(_Layout)
FUNCTIONS = {
    "LiteRtCreateEnvironment": (Status, (ctypes.c_int, Handle, NEW)),
    "LiteRtCreateModelFromFile": (Status, (Handle, TEXT, NEW)),
    "LiteRtCreateOptions": (Status, (NEW,)),
    "LiteRtSetOptionsHardwareAccelerators": (Status, (Handle, ctypes.c_int)),
    "LiteRtCreateOpaqueOptions": (Status, (TEXT, Handle, Handle, NEW)),
    "LiteRtAddOpaqueOptions": (Status, (Handle, Handle)),
    "LiteRtCreateCompiledModel": (Status, (Handle, Handle, Handle, NEW)),
    "LiteRtGetModelSignature": (Status, (Handle, Size, NEW)),
    "LiteRtGetNumSignatureInputs": (Status, (Handle, COUNT)),
    "LiteRtGetNumSignatureOutputs": (Status, (Handle, COUNT)),
    "LiteRtGetSignatureInputName": (Status, (Handle, Size, ctypes.POINTER(TEXT))),
    "LiteRtGetSignatureInputTensorByIndex": (Status, (Handle, Size, NEW)),
    "LiteRtGetSignatureOutputTensorByIndex": (Status, (Handle, Size, NEW)),
    "LiteRtGetRankedTensorType": (Status, (Handle, TYPE)),
    "LiteRtGetCompiledModelInputBufferRequirements": (Status, (Handle, Size, Size, NEW)),
    "LiteRtGetCompiledModelOutputBufferRequirements": (Status, (Handle, Size, Size, NEW)),
    "LiteRtCompiledModelResizeInputTensor": (Status, (Handle, Size, Size, ctypes.POINTER(ctypes.c_int), Size)),
    "LiteRtGetCompiledModelOutputTensorLayouts": (Status, (Handle, Size, Size, LAYOUTS, ctypes.c_bool)),
    "LiteRtCreateManagedTensorBufferFromRequirements": (Status, (Handle, TYPE, Handle, NEW)),
    "LiteRtGetTensorBufferSize": (Status, (Handle, COUNT)),
    "LiteRtLockTensorBuffer": (Status, (Handle, NEW, ctypes.c_int)),
    "LiteRtUnlockTensorBuffer": (Status, (Handle,)),
    "LiteRtRunCompiledModel": (Status, (Handle, Size, Size, NEW, Size, NEW)),
    "LiteRtCompiledModelGetProfiler": (Status, (Handle, NEW)),
    "LiteRtStartProfiler": (Status, (Handle,)),
    "LiteRtStopProfiler": (Status, (Handle,)),
    "LiteRtResetProfiler": (Status, (Handle,)),
    "LiteRtGetProfileSummary": (Status, (Handle, Handle, NEW)),
}
"""What is called, as ai-edge-litert 2.3.0 has it; ``tests/unit/test_profiler.py`` tells when a wheel has it no more."""


def load_library(path: str) -> Any:
    """``libLiteRt.so`` with the types of ``FUNCTIONS``; raises ProfilerMissing with the name of what is not there."""
    try:
        library = ctypes.CDLL(path)
    except OSError as err:
        raise ProfilerMissing("its profiler's library cannot be loaded: %s" % err) from err
    for name, (result, arguments) in FUNCTIONS.items():
        try:
            function = getattr(library, name)
        except AttributeError as err:
            raise ProfilerMissing("%s has no function %s, which the profiler needs" % (path, name)) from err
        function.restype, function.argtypes = result, arguments
    return library


def find_library() -> str:
    """Path of the ``libLiteRt.so`` beside the runtime that is installed; raises ProfilerMissing."""
    name, version, module = runtime.find_runtime()
    if name != "ai-edge-litert":
        raise ProfilerMissing("%s %s has no profiler; ai-edge-litert has one" % (name, version))
    path = os.path.join(os.path.dirname(os.path.abspath(module.__file__)), "libLiteRt.so")
    if not os.path.isfile(path):
        raise ProfilerMissing("%s %s comes without libLiteRt.so, which has the profiler" % (name, version))
    return path


class Profiler:
    """A model that LiteRT's CompiledModel runs on the CPU, with or without profiling; lives as long as its process.

    Raises ProfilerMissing: another runtime or delegate than the profiler knows, or a model that LiteRT's CompiledModel
    does not take although the interpreter may (variables, resources, custom ops).
    """

    def __init__(self, model: str, delegate: str, num_threads: int) -> None:
        if delegate not in KERNELS:
            raise ProfilerMissing("the inside of an external delegate (%s) is not told by any profiler" % delegate)
        self._library = load_library(find_library())
        self._libc = ctypes.CDLL(None)
        self._libc.strdup.restype, self._libc.strdup.argtypes = Handle, (TEXT,)
        self._libc.strnlen.restype, self._libc.strnlen.argtypes = Size, (Handle, Size)
        self._libc.free.restype, self._libc.free.argtypes = None, (Handle,)
        with self._told():
            self._environment = self._new("LiteRtCreateEnvironment", 0, None)
            loaded = self._new("LiteRtCreateModelFromFile", self._environment, os.fsencode(model))
            options = self._options(KERNELS[delegate], num_threads)
            self._model = self._new("LiteRtCreateCompiledModel", self._environment, loaded, options)
            self._profiler = self._new("LiteRtCompiledModelGetProfiler", self._model)
            signature = self._new("LiteRtGetModelSignature", loaded, 0)
            self.inputs, self._inputs = self._buffers(signature, "Input")
            _, self._outputs = self._buffers(signature, "Output")

    def set_inputs(self, arrays: Dict[str, Any]) -> None:
        """Copy one array per input name into the model."""
        for tensor, buffer in zip(self.inputs, self._inputs):
            data = arrays[tensor.name].tobytes()
            size = Size()
            self._call("LiteRtGetTensorBufferSize", buffer, ctypes.byref(size))
            if len(data) > size.value:
                raise ProfilerMissing("input %r takes %d bytes, not %d" % (tensor.name, size.value, len(data)))
            address = self._new("LiteRtLockTensorBuffer", buffer, last=(WRITE,))
            ctypes.memmove(address, data, len(data))
            self._call("LiteRtUnlockTensorBuffer", buffer)

    def run(self) -> None:
        """One inference, with what the profiler costs only between ``start`` and ``stop``."""
        status = self._library.LiteRtRunCompiledModel(
            self._model, 0, len(self._inputs), self._inputs, len(self._outputs), self._outputs
        )
        if status != 0:
            raise ProfilerMissing("LiteRtRunCompiledModel failed with status %d" % status)

    def run_first(self) -> None:
        """``run``, with what LiteRT says when it fails: ops that cannot be prepared are found here."""
        with self._told():
            self.run()

    def start(self) -> None:
        """Forget what was recorded, and record from now on."""
        self._call("LiteRtResetProfiler", self._profiler)
        self._call("LiteRtStartProfiler", self._profiler)

    def stop(self) -> None:
        """Record no more."""
        self._call("LiteRtStopProfiler", self._profiler)

    def summary(self) -> str:
        """What was recorded, as ``profile.parse_summary`` reads it."""
        text = self._new("LiteRtGetProfileSummary", self._profiler, self._model)
        try:
            length = self._libc.strnlen(text, MAX_SUMMARY_BYTES)
            return ctypes.string_at(text, length).decode("utf-8", "replace")
        finally:
            self._libc.free(text)

    def _options(self, kernels: str, num_threads: int) -> Handle:
        options = self._new("LiteRtCreateOptions")
        self._call("LiteRtSetOptionsHardwareAccelerators", options, CPU)
        for name, toml in (
            ("runtime_options_string", "enable_profiling = true\n"),
            ("xnnpack", 'kernel_mode = "%s"\nnum_threads = %d\n' % (kernels, num_threads)),
        ):
            free = ctypes.cast(self._libc.free, Handle)  # the library ends what it was given with it
            opaque = self._new("LiteRtCreateOpaqueOptions", name.encode(), self._libc.strdup(toml.encode()), free)
            self._call("LiteRtAddOpaqueOptions", options, opaque)
        return options

    def _buffers(self, signature: Handle, side: str) -> "Tuple[List[Input], ctypes.Array[ctypes.c_void_p]]":
        count = Size()
        self._call("LiteRtGetNumSignature%ss" % side, signature, ctypes.byref(count))
        if count.value > MAX_TENSORS:
            raise ProfilerMissing("the model has more than %d %ss" % (MAX_TENSORS, side.lower()))
        tensors, types = [], []
        for index in range(count.value):
            tensor = self._new("LiteRtGetSignature%sTensorByIndex" % side, signature, index)
            types.append(_TensorType())
            self._call("LiteRtGetRankedTensorType", tensor, ctypes.byref(types[-1]))
            if side == "Input":
                self._close(index, types[-1].layout)
                tensors.append(self._input(signature, index, types[-1]))
        if side == "Output":
            self._close_outputs(types)
        buffers = [self._buffer(side, index, kind) for index, kind in enumerate(types)]
        return tensors, (Handle * len(buffers))(*[buffer.value for buffer in buffers])

    def _buffer(self, side: str, index: int, kind: _TensorType) -> Handle:
        needs = self._new("LiteRtGetCompiledModel%sBufferRequirements" % side, self._model, 0, index)
        return self._new(
            "LiteRtCreateManagedTensorBufferFromRequirements", self._environment, ctypes.byref(kind), needs
        )

    def _close(self, index: int, layout: _Layout) -> None:
        """Dimensions of an input that are open become 1, as they are for the interpreter."""
        if min(layout.dimensions[: layout.rank], default=1) >= 0:
            return
        sizes = [max(1, size) for size in layout.dimensions[: layout.rank]]
        dimensions = (ctypes.c_int * len(sizes))(*sizes)
        self._call("LiteRtCompiledModelResizeInputTensor", self._model, 0, index, dimensions, len(sizes))
        for place, size in enumerate(sizes):
            layout.dimensions[place] = size

    def _close_outputs(self, types: List[_TensorType]) -> None:
        """Their shapes follow from those of the inputs."""
        layouts = (_Layout * len(types))()
        self._call("LiteRtGetCompiledModelOutputTensorLayouts", self._model, 0, len(types), layouts, True)
        for kind, layout in zip(types, layouts):
            kind.layout = layout

    def _input(self, signature: Handle, index: int, kind: _TensorType) -> Input:
        name = TEXT()
        self._call("LiteRtGetSignatureInputName", signature, index, ctypes.byref(name))
        if kind.element_type not in DTYPES:
            raise ProfilerMissing("an input has an element type (%d) that is not known here" % kind.element_type)
        shape = tuple(kind.layout.dimensions[: kind.layout.rank])
        return Input((name.value or b"").decode("utf-8", "replace"), shape, DTYPES[kind.element_type])

    def _new(self, function: str, *arguments: Any, last: Tuple[Any, ...] = ()) -> Handle:
        """What ``function`` returns through the pointer that it takes behind ``arguments``, before ``last``."""
        handle = Handle()
        self._call(function, *arguments, ctypes.byref(handle), *last)
        if not handle.value:
            raise ProfilerMissing("%s returned nothing" % function)
        return handle

    def _call(self, function: str, *arguments: Any) -> None:
        status = getattr(self._library, function)(*arguments)
        if status != 0:
            raise ProfilerMissing("%s failed with status %d" % (function, status))

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        """With the library's own words in what is raised: it writes them to file descriptor 2."""
        with hushed() as said:
            try:
                yield
            except ProfilerMissing as err:
                errors = [line.partition(":")[2].strip() for line in said() if line.startswith("ERROR")]
                raise ProfilerMissing(": ".join([str(err), *errors[:1]]).rstrip(".")) from err


@contextlib.contextmanager
def hushed() -> Iterator[Any]:
    """Keep file descriptor 2 for the block; yields a function that returns the lines that were written to it."""
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as caught:

        def said() -> List[str]:
            caught.seek(0)
            return caught.read(MAX_SUMMARY_BYTES).decode("utf-8", "replace").splitlines()

        os.dup2(caught.fileno(), 2)
        try:
            yield said
        finally:
            os.dup2(kept, 2)
            os.close(kept)

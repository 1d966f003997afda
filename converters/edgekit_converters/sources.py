"""What kind of model a path holds, told from its content and not from its name."""

import re
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from edgekit_converters.errors import SourceError

CONVERTERS = {
    "keras": "edgekit_converters.from_keras",
    "keras-h5": "edgekit_converters.from_keras",
    "saved-model": "edgekit_converters.from_keras",
    "onnx": "edgekit_converters.from_onnx",
    "torch-export": "edgekit_converters.from_torch",
    "torch-factory": "edgekit_converters.from_torch",
    "torchscript": "edgekit_converters.from_torch",
}
"""Source format -> the module that converts it (``converter.Converter``); ``tflite`` needs no conversion."""

SHAPELESS = frozenset({"torch-factory", "torchscript"})
"""Formats that do not say what their inputs look like."""

READABLE = (
    ".keras, Keras .h5, SavedModel folders, PyTorch .pt2, TorchScript, package.module:function, .onnx and float .tflite"
)

FACTORY = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")
"""``package.module:function`` that returns a torch.nn.Module."""

_HDF5_MAGIC = b"\x89HDF\r\n\x1a\n"
_TFLITE_MAGIC = b"TFL3"
_EXPORT_HINT = (
    "edgekit builds from {readable} today; export the model from Keras, TensorFlow (model.save, model.export) "
    "or PyTorch (torch.export.save)."
)
_WEIGHTS_HINT = (
    "Give the network that they belong to: `edgekit build package.module:function --weights {path}`, where the "
    "function returns the torch.nn.Module; or export it with torch.export.save('model.pt2')."
)
_CHECKPOINT = "a PyTorch checkpoint: weights without a network"

_OTHER_MAGIC: tuple[tuple[int, bytes, str], ...] = (
    (0, b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.", _CHECKPOINT),
    (0, b"\x80\x02", "a Python pickle, such as joblib writes"),
    (0, b"\x80\x04", "a Python pickle"),
    (0, b"GGUF", "a GGUF language model"),
)
_OTHER_SUFFIXES = {
    ".pt": "damaged or no PyTorch model at all",
    ".pth": "damaged or no PyTorch checkpoint at all",
    ".pt2": "damaged or no PyTorch exported program at all",
    ".th": "damaged or no PyTorch checkpoint at all",
    ".safetensors": "a file of weights without a network (safetensors)",
    ".pb": "a frozen TensorFlow 1 graph, or the inside of a SavedModel",
    ".mlmodel": "a Core ML model",
    ".tflite": "damaged or no TensorFlow Lite model at all",
}
_ZIP_MEMBERS = (
    ("model.weights.h5", "keras"),
    ("archive_format", "torch-export"),
    ("constants.pkl", "torchscript"),
    ("serialized_exported_program.json", "a PyTorch exported program of torch 2.7 or before; export it again"),
    ("data.pkl", _CHECKPOINT),
)
"""A member at any depth -> a key of ``CONVERTERS``, or what else it is."""


@dataclass(frozen=True, kw_only=True)
class ModelSource:
    """A model as its user names it, with everything that is needed to load it."""

    spec: str
    """A path, or ``package.module:function``."""
    format: str
    """A key of ``CONVERTERS``."""
    directory: Path
    """Folder that paths start from and that a function is imported from."""
    weights: Path | None = None
    """State for a ``package.module:function``."""
    layout: Literal["nchw", "nhwc"] | None = None
    """Layout that inputs and outputs get; None leaves the converter's own."""
    unroll: bool = False
    """Write recurrent layers out step by step, because no loop can be quantized to integers."""

    @property
    def path(self) -> Path | None:
        """The file or folder; None for a function."""
        return None if self.format == "torch-factory" else self.directory / self.spec


def open_source(
    spec: str | Path,
    *,
    directory: Path = Path(),
    weights: Path | None = None,
    layout: Literal["nchw", "nhwc"] | None = None,
    unroll: bool = False,
) -> ModelSource:
    """Find out what ``spec`` is; raises SourceError naming what is wrong with it, and what to do."""
    is_function = FACTORY.fullmatch(str(spec)) is not None and not (directory / spec).exists()
    source_format = "torch-factory" if is_function else detect_format(directory / spec)
    if weights is not None and not is_function:
        raise SourceError(
            f"Weights were given, and {spec} holds its own.",
            hint="--weights belongs to a network given as package.module:function.",
        )
    return ModelSource(
        spec=str(spec), format=source_format, directory=directory, weights=weights, layout=layout, unroll=unroll
    )


def detect_format(path: Path) -> str:
    """A key of ``CONVERTERS``; raises SourceError naming what the path really is, and what to do."""
    if path.is_dir():
        return _detect_folder(path)
    try:
        with path.open("rb") as stream:
            head = stream.read(16)
    except OSError as err:
        raise SourceError(
            f"The model {path} cannot be read: {err.strerror}.", hint="Check the path of the model."
        ) from err
    if not head:
        raise SourceError(f"The model {path} is empty.", hint="Copy or save the model again.")
    if head[4:8] == _TFLITE_MAGIC:
        return "tflite"
    if head.startswith(_HDF5_MAGIC):
        return "keras-h5"
    if head.startswith(b"PK\x03\x04"):
        return _detect_zip(path)
    if path.suffix.lower() == ".onnx":  # a protobuf begins with nothing of its own: onnx_file.py reads on
        return "onnx"
    raise _unsupported(path, _describe_other(path, head))


def _detect_folder(path: Path) -> str:
    if (path / "saved_model.pb").is_file():
        return "saved-model"
    inside = ", ".join(sorted(item.name for item in path.iterdir())[:5]) or "nothing"
    raise SourceError(
        f"The folder {path} is no SavedModel: it has no saved_model.pb (it holds {inside}).",
        hint="Point at the folder that holds saved_model.pb, or at a .keras or .h5 file.",
    )


def _detect_zip(path: Path) -> str:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as err:
        raise SourceError(
            f"The model {path} is damaged: {err}.", hint="The file is probably cut off; copy or save it again."
        ) from err
    for wanted, found in _ZIP_MEMBERS:
        if any(name.rpartition("/")[2] == wanted for name in names):
            if found in CONVERTERS:
                return found
            raise _unsupported(path, found)
    raise _unsupported(path, "a zip archive that is neither a .keras nor a PyTorch model")


def _describe_other(path: Path, head: bytes) -> str:
    for offset, magic, description in _OTHER_MAGIC:
        if head[offset : offset + len(magic)] == magic:
            return description
    suffix = path.suffix.lower()
    if suffix in {".keras", ".h5", ".hdf5"}:
        return f"damaged or no Keras model at all (its first bytes are {head[:8].hex(' ')})"
    return _OTHER_SUFFIXES.get(suffix, f"of a kind edgekit does not know (its first bytes are {head[:8].hex(' ')})")


def _unsupported(path: Path, description: str) -> SourceError:
    hint = _EXPORT_HINT.format(readable=READABLE)
    if path.name == "saved_model.pb":
        hint = f"Give the folder that holds it: {path.parent}."
    elif "without a network" in description:
        hint = _WEIGHTS_HINT.format(path=path)
    elif "damaged" in description:
        hint = "The file is damaged or is something else; copy or save the model again."
    return SourceError(f"{path} is {description}; edgekit cannot build from it.", hint=hint)

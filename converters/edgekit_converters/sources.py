"""What kind of model a path holds, told from its content and not from its name."""

import zipfile
from pathlib import Path

from edgekit_converters.errors import SourceError

CONVERTERS = {
    "keras": "edgekit_converters.from_keras",
    "keras-h5": "edgekit_converters.from_keras",
    "saved-model": "edgekit_converters.from_keras",
}
"""Source format -> the module that converts it (``load`` and ``convert`` of its ``Loaded``)."""

READABLE = ".keras, Keras .h5 and SavedModel folders"

_HDF5_MAGIC = b"\x89HDF\r\n\x1a\n"
_EXPORT_HINT = (
    "edgekit builds from {readable} today; export the model from Keras or TensorFlow (model.save, model.export)."
)

_OTHER_MAGIC: tuple[tuple[int, bytes, str], ...] = (
    (4, b"TFL3", "a TensorFlow Lite model (.tflite), already converted"),
    (0, b"\x80\x02", "a Python pickle, such as PyTorch before 1.6 or joblib write"),
    (0, b"\x80\x04", "a Python pickle"),
    (0, b"GGUF", "a GGUF language model"),
)
_OTHER_SUFFIXES = {
    ".onnx": "an ONNX model",
    ".pt": "a PyTorch model",
    ".pth": "a PyTorch model",
    ".pt2": "a PyTorch exported program",
    ".th": "a PyTorch checkpoint",
    ".safetensors": "a file of weights without a network (safetensors)",
    ".pb": "a frozen TensorFlow 1 graph, or the inside of a SavedModel",
    ".mlmodel": "a Core ML model",
    ".tflite": "a TensorFlow Lite model",
}
_ZIP_MEMBERS = (("config.json", "keras"), ("data.pkl", "a PyTorch model"), ("models/", "a PyTorch exported program"))


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
    if head.startswith(_HDF5_MAGIC):
        return "keras-h5"
    if head.startswith(b"PK\x03\x04"):
        return _detect_zip(path)
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
        if any(name == wanted or f"/{wanted}" in f"/{name}" for name in names):
            if found == "keras" and "model.weights.h5" not in names:
                break
            if found == "keras":
                return found
            raise _unsupported(path, found)
    raise _unsupported(path, "a zip archive that is no .keras model")


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
    elif "TensorFlow Lite" in description:
        hint = f"`edgekit inspect` and `edgekit bench` take it as it is; to build, give the model it came from. {hint}"
    elif "damaged" in description:
        hint = "The file is damaged or is something else; copy or save the model again."
    return SourceError(f"{path} is {description}; edgekit cannot build from it.", hint=hint)

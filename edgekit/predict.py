"""One prediction on this machine, preprocessing included, by the same code that runs on the device."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from edgekit.agent.runtime import Model, ModelRefused
from edgekit.artifact import Artifact, of_reference, read_artifact
from edgekit.audit import read
from edgekit.entries import DetectionEntry
from edgekit.errors import DataError, ModelError
from edgekit_converters.errors import ConverterError
from edgekit_converters.types import Finding

if TYPE_CHECKING:
    import numpy as np

    from edgekit.agent.postprocess import Class, Detection

    Array = np.ndarray[Any, Any]


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """What the model said about one sample."""

    outputs: "dict[str, Array]"
    """Output name -> real values, float32, with the batch."""
    labels: tuple[str, ...] | None
    """Class names in the order of the output; None where there are none."""
    classes: "tuple[Class, ...]" = ()
    """Best first, by the manifest's postprocessing; empty where the model is no classifier."""
    detections: "tuple[Detection, ...]" = ()
    """Best first, in pixels of the sample; empty where the model is no detector."""
    is_detector: bool = False
    """The manifest says that the outputs are boxes."""
    findings: tuple[Finding, ...] = ()


def predict(path: Path, sample: Path) -> Prediction:
    """Run an artifact (verified first) or a bare .tflite on one image, .npy or .npz.

    Raises:
        ModelError, IntegrityError: the model cannot be read or run, or was changed.
        DataError: the sample cannot be read or does not fit the model.
    """
    from edgekit.agent.outputs import DoesNotFit
    from edgekit.agent.pipeline import Pipeline

    artifact = read_artifact(path) if path.is_dir() else None
    model_path = artifact.reference if artifact else path
    model = _open(model_path)
    pipeline = Pipeline(model, msgspec.to_builtins(artifact.manifest) if artifact else {})
    names = [tensor.name for tensor in model.inputs]
    arrays = read_sample(sample, names)
    try:
        found = pipeline.run({name: arrays[name] for name in names})  # an .npz may hold more, such as labels
    except ModelRefused as err:
        raise ModelError(f"{model_path} does not run: {err}.", hint="`edgekit inspect` shows what is in it.") from err
    except DoesNotFit as err:
        raise ModelError(f"{path}: its postprocessing does not fit its outputs: {err}", hint=err.hint) from err
    except ValueError as err:
        raise _does_not_fit(model, err) from err
    return Prediction(
        outputs=found.outputs,
        labels=artifact.manifest.labels if artifact else None,
        classes=found.classes,
        detections=found.detections,
        is_detector=artifact is not None and isinstance(artifact.manifest.postprocessing, DetectionEntry),
        findings=() if artifact is None else of_reference(artifact),
    )


def input_names(model: Artifact | Path) -> list[str]:
    """Names of the inputs of an artifact or a bare .tflite, which must run here; raises ModelError."""
    if isinstance(model, Artifact):
        return [entry.name for entry in model.manifest.inputs]
    return [tensor.name for tensor in _open(model).inputs]


def read_sample(path: Path, names: list[str]) -> "dict[str, Array]":
    """Arrays by input name from an image, an .npy (one input) or an .npz; raises DataError."""
    if not path.is_file():
        raise DataError(
            f"{path} {'is no file' if path.exists() else 'does not exist'}.", hint="Give an image, a .npy or a .npz."
        )
    try:
        arrays = _read_arrays(path, names)
    except ConverterError as err:
        raise DataError(err.message, hint=err.hint) from err
    missing = [name for name in names if name not in arrays]
    if missing:
        raise DataError(
            f"{path} has {', '.join(arrays) or 'nothing'}; the model also takes {', '.join(missing)}.",
            hint=f"Give an .npz with an array per input: {', '.join(names)}.",
        )
    return arrays


def _read_arrays(path: Path, names: list[str]) -> "dict[str, Array]":
    from edgekit_converters.images import read_image
    from edgekit_converters.npy import npz_names, open_member, open_npy, open_npz, read_array

    if path.suffix.lower() == ".npz":
        arrays = {}
        with open_npz(path) as archive:
            present = npz_names(archive)
            # an only array called x is the only input, as in calibration data
            keys = {names[0]: "x"} if len(names) == 1 and present == ["x"] else {key: key for key in present}
            for name, key in keys.items():
                with open_member(archive, key) as (stream, header):
                    arrays[name] = read_array(stream, header, f"{key!r} in {path}")
        return arrays
    if path.suffix.lower() == ".npy":
        with open_npy(path) as (stream, header):
            return dict.fromkeys(names[:1], read_array(stream, header, str(path)))
    return dict.fromkeys(names[:1], read_image(path))


def _open(path: Path) -> Model:
    try:
        data = path.read_bytes()
    except OSError as err:
        raise ModelError(f"{path} cannot be read: {err.strerror}.", hint="Check the path.") from err
    read(data, what=str(path))
    try:
        return Model(data)
    except ModelRefused as err:
        reason = " ".join(str(err).split())
        raise ModelError(f"{path} does not run here: {reason}", hint="`edgekit inspect` shows what is in it.") from err


def _does_not_fit(model: Model, err: ValueError) -> DataError:
    takes = ", ".join(f"{tensor.dtype} {list(tensor.shape)} for {tensor.name}" for tensor in model.inputs)
    return DataError(
        f"The sample does not fit the model: {err}.",
        hint=f"The model takes {takes}. For images, an artifact keeps what `resize` "
        "and `color` of [input.NAME.preprocessing] say when it is built (docs/edgekit-toml.md).",
    )

"""For an application on the device: the active model, with its preprocessing, its delegate and its labels."""

import json
import os
from typing import TYPE_CHECKING, Any, Dict, Mapping, NamedTuple, Optional, Union

from . import preprocess, runtime
from .events import AgentError
from .layout import MANIFEST, MODEL, SHA256, Entry, is_intact, read_entries, read_manifest, sha256

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[Any]
    Data = Union[Array, Mapping[str, Array]]


class Prediction(NamedTuple):
    """What the model said about one sample."""

    outputs: "Dict[str, Array]"
    """Output name -> real values, float32, with the batch as the model gives it."""
    label: Optional[str]
    """Name of the largest element; None where the artifact has no labels for its output."""
    score: Optional[float]
    """The largest element of that output; None as ``label``."""


class _Loaded(NamedTuple):
    folder: str
    digest: str
    manifest: Dict[str, Any]
    model: runtime.Model


class LoadedModel:
    """A verified model in memory. Not for several threads at once: give each its own."""

    def __init__(self, path: str, delegate: Optional[str] = None, num_threads: int = 1) -> None:
        self._path = os.path.abspath(os.path.expanduser(path))
        self._delegate = delegate
        self._num_threads = num_threads
        self._loaded = self._load()

    @property
    def digest(self) -> str:
        """sha256 of the manifest; names this version in ``edgekit device status``."""
        return self._loaded.digest

    @property
    def labels(self) -> Optional["list[str]"]:
        """Class names in the order of the output; None where there are none."""
        labels: Optional["list[str]"] = self._loaded.manifest.get("labels")
        return labels

    @property
    def delegate(self) -> str:
        """What runs it: ``xnnpack``, ``none`` or an external library."""
        return str(self._loaded.model.delegate)

    def predict(self, data: "Data") -> Prediction:
        """One prediction, preprocessing included.

        ``data`` is one sample as the application has it (such as an RGB image (H, W, 3), uint8), with or
        without the batch; for a model with several inputs a mapping from their names.

        Raises ValueError for data that does not fit the model.
        """
        model, entries = self._loaded.model, self._loaded.manifest["inputs"]
        arrays = data if isinstance(data, Mapping) else {model.inputs[0].name: data}
        names = [tensor.name for tensor in model.inputs]
        if sorted(arrays) != sorted(names):
            raise ValueError("the model takes %s; the data has %s" % (names, sorted(arrays)))
        specs = {entry["name"]: entry.get("preprocessing") for entry in entries}
        found = model.run(
            {item.name: preprocess.prepare(specs.get(item.name), arrays[item.name], item) for item in model.inputs}
        )
        outputs = {item.name: runtime.dequantize(found[item.name], item) for item in model.outputs}
        return _named(outputs, self.labels)

    def reload(self) -> bool:
        """Load what is active now; True when that is another version. The old one stays when it cannot be loaded."""
        folder = os.path.realpath(_find_folder(self._path))
        if folder == self._loaded.folder:
            return False
        self._loaded = self._load()
        return True

    def _load(self) -> _Loaded:
        folder = os.path.realpath(_find_folder(self._path))  # one version, even if `current` moves meanwhile
        name = os.path.basename(folder)
        manifest = read_manifest(folder, name if SHA256.match(name) else None)
        digest = name if SHA256.match(name) else _sha256_manifest(folder)
        entry = read_entries(manifest.get("files")).get(MODEL, Entry("", 0))
        path = os.path.join(folder, MODEL)
        if not is_intact(path, entry):
            raise AgentError("integrity", "%s was changed after it was built." % path, "Deploy the artifact again.")
        delegate = self._delegate or _tested_delegate(folder, digest) or str(manifest["delegate"])
        return _Loaded(folder, digest, manifest, runtime.Model(path, delegate, self._num_threads))


def load(path: str, delegate: Optional[str] = None, num_threads: int = 1) -> LoadedModel:
    """The model in ``path``: ROOT/models/NAME, its ``current``, or the folder of an artifact.

    ``delegate``: by default the one that passed the self-test of the deployment, else the manifest's.

    Raises:
        AgentError: no model there (kind ``device``), or its files are not what the manifest says (``integrity``).
        runtime.RuntimeMissing, runtime.ModelRefused, runtime.DelegateRefused: it cannot run here.
    """
    return LoadedModel(path, delegate, num_threads)


def _find_folder(path: str) -> str:
    current = os.path.join(path, "current")
    folder = current if os.path.islink(current) else path
    if not os.path.isdir(folder) or not os.path.isfile(os.path.join(folder, MANIFEST)):
        raise AgentError("device", "There is no active model in %s." % path, "Deploy one: `edgekit deploy`.")
    return folder


def _sha256_manifest(folder: str) -> str:
    return sha256(os.path.join(folder, MANIFEST))


def _tested_delegate(folder: str, digest: str) -> Optional[str]:
    """Delegate of this version in state.json, three levels up; None where it is no deployed version."""
    path = os.path.join(os.path.dirname(os.path.dirname(folder)), "state.json")
    try:
        with open(path, "rb") as stream:
            history = json.loads(stream.read().decode())["history"]
        found = [item["delegate"] for item in history if item["digest"] == digest]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return str(found[-1]) if found and found[-1] else None


def _named(outputs: "Dict[str, Array]", labels: Optional["list[str]"]) -> Prediction:
    if labels and len(outputs) == 1:
        (scores,) = outputs.values()
        if scores.size == len(labels):
            best = int(scores.argmax())
            return Prediction(outputs, labels[best], float(scores.ravel()[best]))
    return Prediction(outputs, None, None)

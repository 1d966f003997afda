"""For an application on the device: the active model, with its preprocessing, its delegate and its labels."""

import json
import os
from typing import TYPE_CHECKING, Any, Dict, Mapping, NamedTuple, Optional, Tuple

from . import runtime
from .events import AgentError
from .layout import MANIFEST, SHA256, is_intact, model_name, read_entries, read_manifest, sha256
from .pipeline import Pipeline, Prediction

if TYPE_CHECKING:
    from .pipeline import Data


class _Loaded(NamedTuple):
    folder: str
    digest: str
    pipeline: Pipeline


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
        return self._loaded.pipeline.labels

    @property
    def delegate(self) -> str:
        """What runs it: ``xnnpack``, ``none`` or an external library."""
        return str(self._loaded.pipeline.model.delegate)

    def predict(self, data: "Data") -> Prediction:
        """One prediction, with the preprocessing and the postprocessing of the manifest.

        ``data`` is one sample as the application has it (such as an RGB image (H, W, 3), uint8), with or
        without the batch; for a model with several inputs a mapping from their names.

        Raises ValueError for data that does not fit the model.
        """
        return self._loaded.pipeline.run(data)

    def reload(self) -> bool:
        """Load what is active now; True when that is another version. The old one stays when it cannot be loaded."""
        folder = os.path.realpath(_find_folder(self._path))
        if folder == self._loaded.folder:
            return False
        self._loaded = self._load()
        return True

    def _choose(self, folder: str, digest: str, manifest: "Mapping[str, Any]") -> "Tuple[str, Mapping[str, str]]":
        """Delegate and options: the caller's, those of the self-test, the manifest's."""
        tested = _tested(folder, digest)
        own = (str(manifest["delegate"]), dict(manifest.get("delegate_options") or {}))
        if self._delegate is None:
            return tested or own
        known = dict([own] + ([tested] if tested else []))
        return self._delegate, known.get(self._delegate, {})

    def _load(self) -> _Loaded:
        folder = os.path.realpath(_find_folder(self._path))  # one version, even if `current` moves meanwhile
        name = os.path.basename(folder)
        manifest = read_manifest(folder, name if SHA256.match(name) else None)
        digest = name if SHA256.match(name) else _sha256_manifest(folder)
        name = model_name(manifest)
        path = os.path.join(folder, name)
        if not is_intact(path, read_entries(manifest.get("files"))[name]):
            raise AgentError("integrity", "%s was changed after it was built." % path, "Deploy the artifact again.")
        delegate, options = self._choose(folder, digest, manifest)
        model = runtime.Model(path, delegate, self._num_threads, delegate_options=options)
        return _Loaded(folder, digest, Pipeline(model, manifest))


def load(path: str, delegate: Optional[str] = None, num_threads: int = 1) -> LoadedModel:
    """The model in ``path``: ROOT/models/NAME, its ``current``, or the folder of an artifact.

    ``delegate``: by default the one that passed the self-test of the deployment, else the manifest's.

    Raises:
        AgentError: no model there (kind ``device``), or its files are not what the manifest says (``integrity``).
        runtime.RuntimeMissing, runtime.ModelRefused, delegates.DelegateRefused: it cannot run here.
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


def _tested(folder: str, digest: str) -> "Optional[Tuple[str, Dict[str, str]]]":
    """Delegate of this version in state.json, three levels up, and its options; None for no deployed version."""
    path = os.path.join(os.path.dirname(os.path.dirname(folder)), "state.json")
    try:
        with open(path, "rb") as stream:
            history = json.loads(stream.read().decode())["history"]
        found = [(item["delegate"], dict(item.get("options") or {})) for item in history if item["digest"] == digest]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return (str(found[-1][0]), found[-1][1]) if found and found[-1][0] else None

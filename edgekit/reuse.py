"""What of a build is taken from the cache instead of being made again, and under which key."""

import hashlib
import logging
from dataclasses import asdict, replace

import msgspec

from edgekit.artifact import MANIFEST
from edgekit.cache import Cache, get, key_of, put
from edgekit.digests import sha256_file, sha256_source
from edgekit.documents import parse_json
from edgekit.entries import Manifest
from edgekit.errors import IntegrityError
from edgekit.lock import settings_of, sha256_data
from edgekit.metrics import METRICS
from edgekit.plan import BuildPlan, DataPlan
from edgekit.progress import Progress
from edgekit.steps import convert, input_hints, source_of
from edgekit.versions import working_set
from edgekit_converters.environments import TOOLS
from edgekit_converters.types import FloatModel

LOG = logging.getLogger(__name__)
CONVERTED = "float.tflite"
ABOUT = "float.json"
CODE = "code.json"
"""A function's own modules and their sha256: they are known only after it was imported."""


def convert_or_reuse(plan: BuildPlan, cache: Cache | None, progress: Progress) -> tuple[FloatModel, bool]:
    """The float model, and whether it came from the cache."""
    if cache is None:
        return convert(plan, progress), False
    key = _conversion_key(plan)
    kept = _kept_conversion(plan, get(cache, key))
    if kept is not None:
        return kept, True
    model = convert(plan, progress)
    code = {name: sha256_file(plan.source.directory / name) for name in model.files}
    about = replace(model, tflite=b"")
    put(cache, key, {CONVERTED: model.tflite, ABOUT: msgspec.json.encode(about), CODE: msgspec.json.encode(code)})
    return model, False


def artifact_key(plan: BuildPlan, model: FloatModel, labels: tuple[str, ...] | None) -> str | None:
    """Key of the whole artifact; None where data or metric is a function's, which only running it can tell."""
    data = [None if item is None else _data_digest(plan, item) for item in (plan.calibration, plan.evaluation)]
    if "" in data or (plan.evaluation and plan.metric not in METRICS):
        return None
    return key_of(
        "artifact",
        hashlib.sha256(model.tflite).hexdigest(),
        replace(model, tflite=b""),
        plan.name,
        plan.keep_best,
        plan.fixed_io,
        plan.target,
        plan.compilation,
        settings_of(plan),
        labels,
        data,
        working_set(),
    )


def read_kept(cache: Cache | None, key: str | None) -> tuple[dict[str, bytes], Manifest] | None:
    """An artifact's files and manifest from the cache."""
    files = get(cache, key) if cache and key else None
    if files is None:
        return None
    try:
        return files, parse_json(files.pop(MANIFEST), Manifest, IntegrityError, where="the cached manifest")
    except (KeyError, IntegrityError) as err:
        LOG.warning("A cached artifact is not one and is made anew: %s", err)
        return None


def _kept_conversion(plan: BuildPlan, files: dict[str, bytes] | None) -> FloatModel | None:
    """The float model of a cache entry; None where the code it came from has changed."""
    if files is None:
        return None
    try:
        if not _same_code(plan, files[CODE]):
            return None
        return replace(msgspec.json.decode(files[ABOUT], type=FloatModel), tflite=files[CONVERTED])
    except (KeyError, msgspec.MsgspecError) as err:
        LOG.warning("A cached conversion is not one and is made anew: %s", err)
        return None


def _conversion_key(plan: BuildPlan) -> str:
    source = source_of(plan)
    return key_of(
        "conversion",
        source.format,
        source.spec if source.path is None else sha256_source(source.path),
        sha256_file(source.weights) if source.weights and source.weights.is_file() else None,
        source.layout,
        source.unroll,
        plan.stream,
        plan.batch,
        {name: asdict(hint) for name, hint in input_hints(plan, source).items()},
        # what the conversion was compared on stands in the manifest
        [item and _data_digest(plan, item) for item in (plan.calibration, plan.evaluation)],
        working_set(),
        TOOLS.get(source.format),
    )


def _same_code(plan: BuildPlan, code: bytes) -> bool:
    files = msgspec.json.decode(code, type=dict[str, str])
    folder = plan.source.directory
    return all((folder / name).is_file() and sha256_file(folder / name) == digest for name, digest in files.items())


def _data_digest(plan: BuildPlan, data: DataPlan) -> str:
    """sha256 of the data's files with the limit; empty where a function makes the data."""
    path = plan.directory / data.spec
    return f"{sha256_data(path)} {data.limit}" if path.exists() else ""

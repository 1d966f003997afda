"""Golden vectors: does this device compute what the machine that built the artifact computed?"""

import json
import math
import os
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, BinaryIO, Callable, Dict, Iterator, List, Mapping, Optional

from . import runtime
from .child import Child
from .coverage import describe, walk_back
from .events import AgentError, Emit, Request, Result
from .host import Host
from .layout import PATH, model_name, read_manifest

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[Any]

GOLDEN = "golden/golden.json"
MAX_GOLDEN_BYTES = 4 * 1024 * 1024
MAX_VECTORS = 1000
TIMEOUT_S = 120.0
"""For all vectors, the start of the runtime included."""
SHOWN = 8
"""Elements of an output that go into the report."""


def self_test(request: Request, stdin: BinaryIO, emit: Emit) -> Result:
    """The ``self-test`` command: ``folder`` is an artifact's, ``delegate`` and ``delegate_options`` are the model's.

    It imports the runtime, the slowest part, and begins when stdin ends: it can be started before the folder is there.

    Returns ``passed``, ``runtime``, ``version``, ``delegate``, ``vectors`` (how many), ``kind`` (of the vectors),
    ``ops`` (how many the model has), ``taken`` (what delegates took of them, see ``coverage.describe``) and
    ``outputs``: for each output the worst vector, see ``_compare``. Raises AgentError ``integrity`` for golden
    files that cannot be read; what the runtime raises is explained by ``__main__``.
    """
    folder, delegate = str(request["folder"]), str(request["delegate"])
    runtime.find_runtime()
    stdin.read()
    golden = _read_golden(folder)
    tolerance = golden["tolerance"].get(delegate) or golden["tolerance"].get("default") or {}
    path = os.path.join(folder, model_name(read_manifest(folder)))
    model = runtime.Model(path, delegate, delegate_options=request.get("delegate_options") or {})
    taken = walk_back(model.ops(), model.nodes_before)
    worst: Dict[str, Result] = {}
    for number, vector in enumerate(golden["vectors"]):
        inputs = {item.name: _read_tensor(folder, vector["inputs"], item) for item in model.inputs}
        model.reset()
        found = model.run(inputs)
        emit("vector", number=number, count=len(golden["vectors"]))
        for item in model.outputs:
            result = compare_output(_read_tensor(folder, vector["outputs"], item), found[item.name], tolerance)
            result.update(vector=number, output=item.name)
            if item.name not in worst or _badness(result) > _badness(worst[item.name]):
                worst[item.name] = result
    return {
        "passed": all(result["passed"] for result in worst.values()),
        "runtime": model.runtime,
        "version": model.version,
        "delegate": delegate,
        "vectors": len(golden["vectors"]),
        "kind": golden.get("kind"),
        "ops": len(taken.ops),
        "taken": describe(taken, delegate),
        "outputs": [worst[name] for name in sorted(worst)],
    }


@contextmanager
def prepared(folder: str, delegate: str, options: Mapping[str, str]) -> Iterator[Child]:
    """A child process that gets ready for the self-test of ``folder``; it ends with the block."""
    child = Child("self-test", {"folder": folder, "delegate": delegate, "delegate_options": dict(options)})
    try:
        yield child
    finally:
        child.kill()


def check(child: Child, delegate: str, host: Host, meanwhile: Callable[[], None] = lambda: None) -> Result:
    """The self-test of the folder ``child`` was prepared for, which is whole now; returns its report.

    ``meanwhile`` is called once while it runs.

    Raises AgentError ``self-test`` when the device is outside the tolerance, crashes or does not finish (the report
    is in the details), ``device`` where there is no runtime.
    """
    started = time.monotonic()
    child.begin()
    meanwhile()
    try:
        report = child.finish(host.stdin, _watchdog(host))
    except AgentError as err:
        status = err.details.get("status")
        if status is None:
            raise
        raise AgentError(
            "self-test",
            "The self-test crashed on delegate %s. %s" % (delegate, err.message),
            err.hint,
            dict(err.details, **runtime.describe_surroundings()),
        ) from err
    report["seconds"] = time.monotonic() - started
    if not report["passed"]:
        bad = next(result for result in report["outputs"] if not result["passed"])
        raise AgentError(
            "self-test",
            "The device computes something else than the machine that built the artifact: %s (delegate %s, %s %s)."
            % (explain_difference(bad), delegate, report["runtime"], report["version"]),
            "Try another delegate in the device's table (xnnpack or none), or install another runtime with "
            "`edgekit device setup NAME`.",
            {"self_test": report},
        )
    return report


def require_taken(report: Result) -> None:
    """Raise AgentError ``coverage`` where the delegate of a self-test took no op: the CPU did everything."""
    if any(item["delegate"] == report["delegate"] for item in report["taken"]):
        return
    raise AgentError(
        "coverage",
        "The delegate %s was required, and took none of the model's %d ops." % (report["delegate"], report["ops"]),
        "`edgekit inspect MODEL --target NAME` says why ops do not fit; `edgekit bench --coverage` who runs them.",
        {"self_test": report},
    )


def _watchdog(host: Host) -> Callable[[], None]:
    """To be called now and then: keeps the host informed, and ends a self-test that does not finish."""
    end = time.monotonic() + TIMEOUT_S

    def check_time() -> None:
        host.alive()
        if time.monotonic() > end:
            raise AgentError(
                "self-test",
                "The self-test did not finish within %g s." % TIMEOUT_S,
                "The delegate hangs, or the model is too large for the device; try xnnpack or none.",
            )

    return check_time


def _read_golden(folder: str) -> Dict[str, Any]:
    path = os.path.join(folder, GOLDEN)
    try:
        with open(path, "rb") as stream:
            golden: Dict[str, Any] = json.loads(stream.read(MAX_GOLDEN_BYTES).decode())
        count, fits = len(golden["vectors"]), isinstance(golden["tolerance"], dict)
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as err:
        raise _broken("%s cannot be read: %r" % (path, err)) from err
    if not 0 < count <= MAX_VECTORS or not fits:
        raise _broken("%s has %d vectors, or no tolerance" % (path, count))
    return golden


def _read_tensor(folder: str, paths: Mapping[str, str], tensor: runtime.Tensor) -> "Array":
    """Raw little-endian bytes -> an array of the tensor's shape and dtype."""
    import numpy as np

    path = paths.get(tensor.name)
    if path is None or not PATH.match(path):
        raise _broken("the golden vectors have no %r, or a path that is none" % tensor.name)
    dtype = np.dtype(tensor.dtype)
    size = dtype.itemsize
    for length in tensor.shape:
        size *= length
    try:
        with open(os.path.join(folder, path), "rb") as stream:
            data = stream.read(size + 1)
    except OSError as err:
        raise _broken("%s cannot be read: %s" % (path, err.strerror)) from err
    if len(data) != size:
        raise _broken("%s holds %d bytes; %r takes %d" % (path, len(data), tensor.name, size))
    return np.frombuffer(data, dtype.newbyteorder("<")).astype(dtype).reshape(tensor.shape)


def _broken(reason: str) -> AgentError:
    return AgentError("integrity", "The golden vectors do not fit the model: %s." % reason, "Build the artifact again.")


def compare_output(expected: "Array", found: "Array", tolerance: Mapping[str, Any]) -> Result:
    """One output of one vector against what it must be.

    ``difference`` is in steps for integers; for floats it is relative to the largest absolute expected value.
    ``allowed`` is its limit, ``top1`` [expected, found] where it is compared, ``expected`` and ``found`` hold the
    elements around the largest difference.
    """
    import numpy as np

    steps = expected.dtype.kind in "iub"
    wide = expected.astype(np.float64).ravel()
    other = np.asarray(found).astype(np.float64).ravel()
    same = (wide == other) | (np.isnan(wide) & np.isnan(other))
    with np.errstate(invalid="ignore"):  # infinity minus infinity is handled by `same`
        differences = np.where(same, 0.0, np.abs(wide - other))
    differences = np.where(np.isnan(differences), np.inf, differences)
    finite = np.abs(wide[np.isfinite(wide)])
    peak = float(finite.max()) if finite.size else 0.0
    unit = 1.0 if steps else (peak or 1.0)
    worst = int(differences.argmax()) if differences.size else 0
    difference = float(differences[worst]) / unit if differences.size else 0.0
    limit = tolerance.get("max_steps" if steps else "max_error")
    allowed = float(limit or 0)
    top1 = _top1(wide, other, allowed * unit, expected.shape) if tolerance.get("same_top1") else None
    start = max(0, min(worst - SHOWN // 2, wide.size - SHOWN))
    return {
        "unit": "steps" if steps else "relative",
        "difference": _number(difference),
        "allowed": allowed,
        "top1": top1,
        "passed": difference <= allowed and (top1 is None or top1[0] == top1[1]),
        "at": worst,
        "first_shown": start,
        "expected": [_number(value) for value in wide[start : start + SHOWN]],
        "found": [_number(value) for value in other[start : start + SHOWN]],
    }


def _top1(expected: "Array", found: "Array", margin: float, shape: "tuple[int, ...]") -> Optional[List[int]]:
    """[expected, found] class of the first row whose leader is clear and differs; of the first clear row otherwise."""
    rows = shape[0] if len(shape) > 1 and shape[0] else 1
    first = None
    for want, got in zip(expected.reshape(rows, -1), found.reshape(rows, -1)):
        if want.size < 2:  # noqa: PLR2004 - a single element leads nobody
            continue
        leader = int(want.argmax())
        lead = float(want[leader]) - float(
            max(want[:leader].max(initial=-float("inf")), want[leader + 1 :].max(initial=-float("inf")))
        )
        if lead > margin:
            pair = [leader, int(got.argmax())]
            if pair[0] != pair[1]:
                return pair
            first = first or pair
    return first


def _number(value: float) -> Optional[float]:
    """A number JSON can hold: None for NaN and infinity."""
    return float(value) if math.isfinite(value) else None


def _badness(result: Result) -> float:
    difference = float("inf") if result["difference"] is None else float(result["difference"])
    return difference + (0.0 if result["passed"] else 1e300)


def explain_difference(result: Result) -> str:
    where = "output %r of vector %d" % (result["output"], result["vector"])
    difference = result["difference"]
    if difference is None:
        return "%s holds NaN or infinity" % where
    if result["unit"] == "steps":
        text = "%s differs by %d steps (%d allowed)" % (where, difference, result["allowed"])
    else:
        text = "%s differs by %.2g of its largest value (%.2g allowed)" % (where, difference, result["allowed"])
    if result["top1"] and result["top1"][0] != result["top1"][1]:
        text += ", class %d instead of %d" % (result["top1"][1], result["top1"][0])
    return text

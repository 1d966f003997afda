"""Runs in the environment of rknn-toolkit2, as a program: imports nothing of edgekit.

``python rknn_build.py JSON`` with ``model`` (.tflite), ``output`` (.rknn), ``config`` (arguments of RKNN.config) and
``samples`` (folder of INPUT/SAMPLE.npy in float32, or null). Says what the toolkit says, and in lines of its own,
``edgekit: {...}``, how the toolkit's simulator compares with TensorFlow Lite. Exit status 1 where nothing was built.
"""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

MAX_SAMPLES = 16
"""The simulator is slow: 1 to 3 s a sample for a MobileNet."""
MARK = "edgekit: "


def main() -> int:
    """Build, export, simulate."""
    asked = json.loads(sys.argv[1])
    from rknn.api import RKNN

    toolkit: Any = RKNN(verbose=True)
    steps: tuple[tuple[str, Callable[[], Any]], ...] = (
        ("config", lambda: toolkit.config(**asked["config"])),
        ("load", lambda: toolkit.load_tflite(model=asked["model"])),
        ("build", lambda: toolkit.build(do_quantization=False)),  # it is quantized already
        ("export", lambda: toolkit.export_rknn(asked["output"])),
    )
    for step, run in steps:
        if run() != 0:
            _say({"failed": step})
            return 1
    _say({"built": True})  # what follows only compares
    if toolkit.init_runtime(target=None) == 0:  # no target: the simulator
        _say(_compare(toolkit, asked["model"], asked["samples"]))
    toolkit.release()
    return 0


def _compare(toolkit: Any, model: str, samples: "str | None") -> "dict[str, Any]":
    """Steps between the simulator's outputs and TensorFlow Lite's plain kernels'; of floats, their difference."""
    import numpy as np
    import tensorflow as tf

    plain = tf.lite.Interpreter(model, experimental_op_resolver_type=tf.lite.experimental.OpResolverType.BUILTIN_REF)
    plain.allocate_tensors()
    worst, total, same, count = 0.0, 0.0, 0, 0
    for sample in _samples(plain.get_input_details(), samples):
        for details, array in zip(plain.get_input_details(), sample, strict=True):
            plain.set_tensor(details["index"], array)
        plain.invoke()
        found = toolkit.inference(inputs=list(sample), data_format=["nhwc"] * len(sample))
        count += 1
        agreed = True
        for details, array in zip(plain.get_output_details(), found, strict=True):
            expected = plain.get_tensor(details["index"]).astype(np.float64)
            difference = np.abs(expected - np.asarray(array, np.float64).reshape(expected.shape))
            worst, total = max(worst, float(difference.max())), total + float(difference.mean())
            agreed &= int(expected.argmax()) == int(np.asarray(array).argmax())
        same += agreed
    outputs = len(plain.get_output_details())
    return {
        "noise": samples is None,
        "samples": count,
        "max": worst,
        "mean": total / max(count, 1) / outputs,
        "same_largest": same,
    }


def _samples(inputs: "list[Any]", folder: "str | None") -> Any:
    """Up to MAX_SAMPLES, quantized as the model's inputs are; noise from a fixed seed where there are none."""
    import numpy as np

    random = np.random.default_rng(0)
    paths = [sorted(Path(folder, str(index)).glob("*.npy")) if folder else [] for index in range(len(inputs))]
    count = min(map(len, paths)) if folder else 0
    for number in range(min(count, MAX_SAMPLES) or MAX_SAMPLES):
        arrays = []
        for details, files in zip(inputs, paths, strict=True):
            dtype = details["dtype"]
            limits = np.iinfo(dtype) if np.issubdtype(dtype, np.integer) else None
            if count:
                array = np.load(files[number], allow_pickle=False)
                if limits:
                    scale, point = details["quantization"]
                    array = np.clip(np.round(array / scale) + point, limits.min, limits.max)
            elif limits:
                array = random.integers(limits.min, limits.max, details["shape"], endpoint=True)
            else:
                array = random.random(details["shape"])
            arrays.append(array.reshape(details["shape"]).astype(dtype))
        yield arrays


def _say(what: "dict[str, Any]") -> None:
    sys.stdout.flush()
    sys.stdout.write(f"\n{MARK}{json.dumps(what)}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    raise SystemExit(main())

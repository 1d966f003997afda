"""edgekit's own quantization alone, without the checks, audit and golden vectors of ``edgekit build``.

python edgekit_quantize.py FLOAT.tflite SAMPLES.npz OUT.tflite --precision int8 --calibrator auto
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import numpy as np

from edgekit_converters.calibrators import choose_ranges, grid_of
from edgekit_converters.estimators import estimate_ranges, needs_histograms
from edgekit_converters.from_tflite import read_float_model
from edgekit_converters.quantize import quantize
from edgekit_converters.sources import open_source
from edgekit_converters.statistics import collect_statistics
from edgekit_converters.types import Calibrator, FloatModel, Precision, Ranges, Scheme


def main() -> None:
    arguments = argparse.ArgumentParser()
    arguments.add_argument("model", type=Path)
    arguments.add_argument("samples", type=Path)
    arguments.add_argument("out", type=Path)
    arguments.add_argument("--precision", choices=get_args(Precision), required=True)
    arguments.add_argument("--calibrator", choices=(*get_args(Calibrator), "auto"))
    options = arguments.parse_args()
    source = open_source(str(options.model.absolute()), directory=Path(), weights=None, layout=None)
    model = read_float_model(source, batch=1, hints={})
    scheme = Scheme(precision=options.precision, io="int8" if options.precision == "int8" else "float32")
    ranges = find_ranges(model, scheme, options.samples, options.calibrator) if options.calibrator else None
    options.out.write_bytes(quantize(model, scheme=scheme, ranges=ranges).tflite)


def find_ranges(model: FloatModel, scheme: Scheme, file: Path, calibrator: Calibrator | str) -> Ranges:
    """What ``calibrator`` says of the samples."""
    x = np.load(file, allow_pickle=False)["x"]
    name = model.inputs[0].name

    def samples() -> Iterator[dict[str, Any]]:
        return ({name: sample[np.newaxis]} for sample in x)

    if calibrator == "auto":
        statistics = collect_statistics(model.tflite, samples, histograms=True)
        return choose_ranges(model, scheme, statistics, samples).ranges
    plain: Calibrator = calibrator  # type: ignore[assignment]  # argparse has checked it
    statistics = collect_statistics(model.tflite, samples, histograms=needs_histograms(plain))
    return estimate_ranges(statistics, plain, grid=grid_of(scheme))


if __name__ == "__main__":
    main()

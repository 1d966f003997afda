"""What is lost in quantization: KWS against its labels, ResNet8 against its float model, and TFLiteConverter beside it.

KWS: the SavedModel on the 500 labelled samples; the first 100 calibrate, the others are evaluated. ResNet8: 32 x 32
crops of the five photographs of the test data; SQNR of the softmax against the float model, calibrated on three
sets of 100 crops and measured on 400 others.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.harness import ROOT, Row, finish, model, parser, say
from edgekit.agent.runtime import Model, dequantize, quantize
from edgekit.build import build
from edgekit.plan import BuildOptions, plan
from edgekit.project import Project
from edgekit.target import load_target
from tests import kws

CROPS, CALIBRATION, SETS = 700, 100, 3


def main() -> int:
    options = parser(__doc__).parse_args()
    with tempfile.TemporaryDirectory() as folder:
        rows = [*kws_rows(Path(folder)), resnet8_row(Path(folder))]
    return finish(rows, {}, options.json)


def kws_rows(folder: Path) -> list[Row]:
    """Accuracy and size of KWS int8."""
    source = model("saved_model/kws_ref_model")
    kws.write_data(source.parents[2], folder)
    say("KWS: build and evaluate")
    artifact = build(
        plan(
            Project(),
            load_target("rpi4"),
            BuildOptions(
                model=str(source), calibration="calibration.npz", evaluate="evaluation.npz", output=folder / "artifact"
            ),
            folder,
        )
    )
    found, size = artifact.manifest.evaluation, artifact.manifest.audit.model_bytes
    assert found is not None
    measured = f"{found.source:.4f} -> {found.model:.4f}, drop {100 * found.drop:+.2f} pt on {found.samples}"
    return [
        Row(what="KWS int8 accuracy", measured=measured, to_reach="drop <= 0.5 pt", ok=found.drop <= 0.005),
        Row(what="KWS int8 size", measured=f"{size:,} B", to_reach="<= 54,000 B", ok=size <= 54_000),
    ]


def resnet8_row(folder: Path) -> Row:
    """SQNR of ResNet8 int8, ours and TFLiteConverter's, on the same samples."""
    source = model("keras_h5/ic_resnet8.h5")
    crops = photograph_crops(source.parents[2])
    held_out = crops[SETS * CALIBRATION :]
    pairs = []
    for number in range(SETS):
        say(f"ResNet8: calibration set {number + 1} of {SETS}")
        np.savez(folder / "crops.npz", x=crops[number * CALIBRATION : (number + 1) * CALIBRATION])
        ours = build(
            plan(
                Project(),
                load_target("rpi4"),
                BuildOptions(model=str(source), calibration="crops.npz", output=folder / f"resnet8-{number}"),
                folder,
            )
        )
        theirs = folder / "theirs.tflite"
        script = ROOT / "benchmarks" / "baselines" / "tflite_converter_int8.py"
        subprocess.run(
            [sys.executable, script, source, folder / "crops.npz", theirs],
            check=True,
            capture_output=True,
            env={**os.environ, "CUDA_VISIBLE_DEVICES": "-1"},
        )
        expected = outputs(model("tflite_ref/ic_resnet8_float.tflite"), held_out)
        pairs.append((sqnr_db(expected, outputs(ours.model, held_out)), sqnr_db(expected, outputs(theirs, held_out))))
    ours_db, theirs_db = (sum(column) / SETS for column in zip(*pairs, strict=True))
    each = ", ".join(f"{our:.2f} / {their:.2f}" for our, their in pairs)
    return Row(
        what="ResNet8 int8 SQNR, edgekit / TFLiteConverter, mean of three sets",
        measured=f"{ours_db:.2f} / {theirs_db:.2f} dB ({each})",
        to_reach="not below",
        ok=ours_db >= theirs_db,
    )


def photograph_crops(cases: Path) -> np.ndarray[Any, Any]:
    """(CROPS, 32, 32, 3) float32, 0..255: squares of 32 to 128 pixels of the photographs, shrunk to 32."""
    from PIL import Image

    generator = np.random.default_rng(5)
    images = [
        Image.open(cases / "data" / "images" / name).convert("RGB")
        for name in ("cat.bmp", "bird.bmp", "grace_hopper.bmp", "hot_dog.jpg", "face.jpg")
    ]
    crops = []
    for number in range(CROPS):
        image = images[number % len(images)]
        side = int(generator.integers(32, min(128, *image.size) + 1))
        left, top = (int(generator.integers(0, length - side + 1)) for length in image.size)
        crops.append(np.asarray(image.crop((left, top, left + side, top + side)).resize((32, 32)), np.float32))
    return np.stack(crops)


def outputs(path: Path, data: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """The first output for every sample, as real values."""
    runner = Model(path)
    tensor, output = runner.inputs[0], runner.outputs[0]
    return np.stack(
        [dequantize(runner.run({tensor.name: quantize(item[None], tensor)})[output.name], output) for item in data]
    )


def sqnr_db(expected: np.ndarray[Any, Any], found: np.ndarray[Any, Any]) -> float:
    """Signal to quantization noise ratio over all elements, in dB."""
    noise = float(np.square(expected - found, dtype=np.float64).sum())
    return float(10 * np.log10(np.square(expected, dtype=np.float64).sum() / noise))


if __name__ == "__main__":
    sys.exit(main())

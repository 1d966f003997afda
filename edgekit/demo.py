"""``edgekit demo``: the whole way on real data, on this machine: train, build for a Raspberry Pi 4, deploy, measure.

The network is small (about 13,000 weights) and the data are the 1,797 handwritten digits that scikit-learn ships
(8 x 8 pixels, 0..16; E. Alpaydin and C. Kaynak, UCI), so that it takes seconds.
"""

import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from edgekit.build import build
from edgekit.device import LOCAL, Device, DeviceTable
from edgekit.errors import ModelError
from edgekit.plan import BuildOptions, plan
from edgekit.progress import Progress, silent
from edgekit.project import load_project
from edgekit.target import load_target

if TYPE_CHECKING:
    from edgekit.artifact import Artifact
    from edgekit.bench import BenchmarkReport
    from edgekit.deployment import Deployment

TARGET = "rpi4"
EVALUATION_SAMPLES = 400
CALIBRATION_SAMPLES = 200
PROJECT = """\
# Written by `edgekit demo`. In this folder, `edgekit build` does again what the demo did.
name = "digits"

[model]
path = "digits.keras"
labels = "labels.txt"

[input.image]
shape = [1, 8, 8, 1]
range = [0.0, 1.0]
[input.image.preprocessing]
scale = 0.0625             # pixels are 0..16; the network was trained on 0..1

[build]
target = "rpi4"
precision = "int8"

[calibration]
data = "calibration.npz"   # part of the training data

[evaluation]
data = "evaluation.npz"    # never seen in training or calibration
max_drop = "1pt"
"""


@dataclass(frozen=True, kw_only=True)
class Demo:
    """What the demo made and found."""

    folder: Path
    artifact: "Artifact"
    deployment: "Deployment"
    report: "BenchmarkReport"


def demo(folder: Path, say: Callable[[str], None], progress: Progress = silent) -> Demo:
    """Run every step in ``folder``; the device's files stay there too.

    Raises:
        ModelError: TensorFlow or scikit-learn is missing, or training failed.
        EdgekitError: as build, deploy and bench.
    """
    from edgekit.bench import BenchOptions, bench
    from edgekit.deploy import deploy
    from edgekit.transport import connect

    say("1/4 train a small CNN on scikit-learn's digits")
    progress("train")
    _train_in_child(folder)
    target = load_target(TARGET, folder)
    say(f"2/4 build an int8 artifact for {TARGET}")
    artifact = build(plan(load_project(folder), target, BuildOptions(), folder), progress)
    device = Device(name=LOCAL, transport=LOCAL, table=DeviceTable(root=str(folder.resolve() / "device")))
    with connect(device) as connection:
        say("3/4 deploy to this machine: verify, self-test, activate")
        progress("deploy")
        deployment = deploy(artifact, connection)
        say("4/4 benchmark here, in fresh processes")
        progress("bench")
        report = bench(artifact, connection, BenchOptions())
    return Demo(folder=folder, artifact=artifact, deployment=deployment, report=report)


def _train_in_child(folder: Path) -> None:
    """TensorFlow's memory and its log lines stay in a process of their own."""
    folder.mkdir(parents=True, exist_ok=True)
    result = subprocess.run(
        [sys.executable, "-m", "edgekit.demo", str(folder)], capture_output=True, text=True, check=False
    )
    if result.returncode == MISSING:
        raise ModelError(
            f"The demo trains a network, and that needs {result.stdout.strip()}.",
            hint='pip install "edgekit[keras]"',
        )
    if result.returncode != 0:
        lines = result.stderr.strip().splitlines() or [f"exit code {result.returncode}"]
        raise ModelError(f"Training failed: {lines[-1]}", hint="Run it with -v, and report what it says.")


MISSING = 3
"""Exit code of the training process when a package is not installed; its name is on stdout."""


def _train(folder: Path) -> int:
    try:
        import keras
        import numpy as np
        from sklearn.datasets import load_digits
    except ImportError as err:
        print(err.name)  # noqa: T201 - read by the parent
        return MISSING
    digits = load_digits()
    order = np.random.default_rng(0).permutation(len(digits.target))
    images, labels = digits.images[order][..., None].astype(np.float32), digits.target[order].astype(np.int64)
    held_out, training = slice(0, EVALUATION_SAMPLES), slice(EVALUATION_SAMPLES, None)
    keras.utils.set_random_seed(0)
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((8, 8, 1), name="image"),
            layers.Conv2D(16, 3, padding="same", activation="relu"),
            layers.Conv2D(32, 3, padding="same", activation="relu"),
            layers.MaxPooling2D(2),
            layers.Flatten(),
            layers.Dense(16, activation="relu"),
            layers.Dense(10, activation="softmax", name="digit"),
        ]
    )
    model.compile(optimizer=keras.optimizers.Adam(3e-3), loss="sparse_categorical_crossentropy")
    model.fit(images[training] / 16, labels[training], epochs=10, batch_size=64, verbose=0)
    model.save(folder / "digits.keras")
    np.savez_compressed(folder / "calibration.npz", x=images[training][:CALIBRATION_SAMPLES])
    np.savez_compressed(folder / "evaluation.npz", x=images[held_out], y=labels[held_out])
    (folder / "labels.txt").write_text("".join(f"{digit}\n" for digit in range(10)))
    (folder / "edgekit.toml").write_text(PROJECT)
    return 0


if __name__ == "__main__":
    sys.exit(_train(Path(sys.argv[1])))

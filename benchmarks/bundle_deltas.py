"""How small a delta is when a model is trained again: bytes of each bundle format, really trained networks.

python -m benchmarks.bundle_deltas [--only tar deb ...]    (three minutes; needs edgekit[keras,bundle], zstd, the tools)

A CNN of 84,000 weights learns scikit-learn's digits, and is then trained again in three ways: its last layer alone,
all of it for another epoch on more samples, and anew from another seed. Each is built as int8 by ``edgekit build``, and
bundled as the next release. A cell is the delta's bytes, and what it saves of the whole file as the same zstd packs it.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from edgekit.artifact import Artifact
from edgekit.build import build
from edgekit.bundle.create import create_bundle
from edgekit.bundle.delta import LEVEL, apply_delta, make_delta
from edgekit.bundle.entries import Format
from edgekit.bundle.envelopes import ENVELOPES
from edgekit.bundle.tools import find_tool, make
from edgekit.demo import CALIBRATION_SAMPLES, EVALUATION_SAMPLES, PROJECT, TARGET
from edgekit.plan import BuildOptions, plan
from edgekit.project import load_project
from edgekit.target import load_target
from tests.bundles import NOW, make_keys, wanted

FIRST = "first"
AGAIN = ("last layer", "another epoch", "another seed")
FORMATS: tuple[Format, ...] = tuple(name for name in ENVELOPES if name != "mcu")
"""mcu needs a microcontroller's artifact."""


def train(folder: Path) -> None:
    """Write the project of ``edgekit demo`` to a folder for each network; in a process of its own, as of TensorFlow."""
    import keras
    import numpy as np
    from sklearn.datasets import load_digits

    digits = load_digits()
    order = np.random.default_rng(0).permutation(len(digits.target))
    images, labels = digits.images[order][..., None].astype(np.float32), digits.target[order].astype(np.int64)
    fewer, more = slice(EVALUATION_SAMPLES, 1400), slice(EVALUATION_SAMPLES, None)

    def network(seed: int) -> keras.Sequential:
        keras.utils.set_random_seed(seed)
        layers = keras.layers
        return keras.Sequential(
            [
                keras.Input((8, 8, 1), name="image"),
                layers.Conv2D(32, 3, padding="same", activation="relu"),
                layers.Conv2D(64, 3, padding="same", activation="relu"),
                layers.MaxPooling2D(2),
                layers.Flatten(),
                layers.Dense(64, activation="relu"),
                layers.Dense(10, activation="softmax", name="digit"),
            ]
        )

    def fit(model: keras.Sequential, part: slice, rate: float, epochs: int) -> None:
        model.compile(optimizer=keras.optimizers.Adam(rate), loss="sparse_categorical_crossentropy")
        model.fit(images[part] / 16, labels[part], epochs=epochs, batch_size=64, verbose=0)

    def write(name: str, model: keras.Sequential) -> None:
        project = folder / name
        project.mkdir()
        model.save(project / "digits.keras")
        np.savez_compressed(project / "calibration.npz", x=images[fewer][:CALIBRATION_SAMPLES])
        held_out = slice(0, EVALUATION_SAMPLES)
        np.savez_compressed(project / "evaluation.npz", x=images[held_out], y=labels[held_out])
        (project / "labels.txt").write_text("".join(f"{digit}\n" for digit in range(10)))
        (project / "edgekit.toml").write_text(PROJECT)

    model = network(0)
    fit(model, fewer, 3e-3, 10)
    write(FIRST, model)
    weights = model.get_weights()
    for layer in model.layers[:-1]:
        layer.trainable = False
    fit(model, more, 1e-3, 2)
    write(AGAIN[0], model)
    for layer in model.layers:
        layer.trainable = True
    model.set_weights(weights)
    fit(model, more, 3e-4, 1)
    write(AGAIN[1], model)
    other = network(1)
    fit(other, fewer, 3e-3, 10)
    write(AGAIN[2], other)


def build_all(folder: Path) -> dict[str, Artifact]:
    """The int8 artifact of each network."""
    command = [sys.executable, "-m", "benchmarks.bundle_deltas", "--train", str(folder)]
    subprocess.run(command, check=True, capture_output=True)
    built = {}
    for name in (FIRST, *AGAIN):
        print(f"build: {name}", file=sys.stderr)
        project = folder / name
        target = load_target(TARGET, project)
        built[name] = build(plan(load_project(project), target, BuildOptions(), project))
    return built


def sizes(name: Format, built: dict[str, Artifact], keys: Path, folder: Path) -> list[str]:
    """The cells of a format: bytes of the bundle, then of the delta for each way of training again."""
    paths = []
    for number, artifact in enumerate(built.values()):
        output = folder / f"1.{number}.0.{name}"
        create_bundle(wanted(artifact, name, keys, output, version=f"1.{number}.0"), now=NOW)
        paths.append(output)
    cells = [f"{paths[0].stat().st_size:,}"]
    zstd = find_tool("zstd", install="apt install zstd")
    for path in paths[1:]:
        delta, whole = path.with_suffix(".delta"), path.with_suffix(".zst")
        make_delta(paths[0], path, delta)
        apply_delta(paths[0], delta, path.with_suffix(".again"))
        assert path.with_suffix(".again").read_bytes() == path.read_bytes()
        make([zstd, LEVEL, "--quiet", str(path), "-o", str(whole)])
        made, compressed = delta.stat().st_size, whole.stat().st_size
        cells.append(f"{made:,} ({1 - made / compressed:.0%} of {compressed:,})")
    return cells


def main(argv: Sequence[str] | None = None) -> int:
    """Print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=FORMATS, default=FORMATS)
    parser.add_argument("--train", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args(argv)
    if arguments.train is not None:
        train(arguments.train)
        return 0
    with tempfile.TemporaryDirectory(prefix="bundle-deltas-") as scratch:
        folder = Path(scratch)
        built = build_all(folder)
        model = built[FIRST].path / built[FIRST].manifest.model
        print(f"The model has {model.stat().st_size:,} bytes.\n")
        print(f"| format | bundle | {' | '.join(AGAIN)} |\n|---|---|" + "---|" * len(AGAIN))
        keys = make_keys(folder / "keys")
        for name in arguments.only:
            (folder / name).mkdir()
            print(f"| {name} | {' | '.join(sizes(name, built, keys, folder / name))} |", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())

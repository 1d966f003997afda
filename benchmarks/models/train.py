"""Train one of the models from scratch: python -m benchmarks.models.train NAME FOLDER.

Writes ``model.keras``, ``calibration.npz`` (x) and ``held_out.npz`` (x, y). Seeded, on one thread each for the ops
and between them, so that the same machine makes the same weights again.
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from types import ModuleType

import numpy as np

from benchmarks.models.mnist import CALIBRATION, digits, shifted

SEED, CALIBRATION_SEED, HELD_OUT_SEED = 1, 1_001, 1_002


def main(name: str, folder: str) -> None:
    """``name``: a module beside this one with ``network()``, ``view(x, seed)``, EPOCHS and BATCH."""
    module = importlib.import_module(f"benchmarks.models.{name}")
    write(module, Path(folder))


def write(module: ModuleType, folder: Path) -> None:
    """Train to the end and write the three files; says the accuracy on the held-out digits."""
    import keras
    import tensorflow as tf

    tf.config.threading.set_inter_op_parallelism_threads(1)
    keras.utils.set_random_seed(SEED)
    tf.config.experimental.enable_op_determinism()
    split = digits()
    (x, y), (held_x, held_y) = split.training, split.held_out
    held_x = module.view(held_x, seed=HELD_OUT_SEED)
    model = module.network()
    rate = keras.optimizers.schedules.CosineDecay(4e-3, module.EPOCHS * -(-len(x) // module.BATCH))
    model.compile(optimizer=keras.optimizers.Adam(rate), loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    for epoch in range(module.EPOCHS):
        model.fit(module.view(shifted(x, epoch), epoch), y, batch_size=module.BATCH, verbose=0)
    _, accuracy = model.evaluate(held_x, held_y, verbose=0)
    model.save(folder / "model.keras")
    np.savez(folder / "calibration.npz", x=module.view(x[:CALIBRATION], seed=CALIBRATION_SEED))
    np.savez(folder / "held_out.npz", x=held_x, y=held_y)
    print(f"{model.name}: {accuracy:.4f} on {len(held_x)} held-out digits, {model.count_params():,} weights")


if __name__ == "__main__":
    main(*sys.argv[1:])

"""PyTorch networks for the same table as zoo_keras.py, untrained, from seeds. Runs in a process of its own.

python -m benchmarks.models.zoo_torch FOLDER
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from torch import nn

from edgekit_converters import from_torch
from edgekit_converters.shapes import InputHint
from edgekit_converters.sources import open_source


class Encoder(nn.Module):
    """One transformer block and a head."""

    def __init__(self) -> None:
        super().__init__()
        self.block = nn.TransformerEncoderLayer(16, 2, 32, activation="gelu", batch_first=True)
        self.head = nn.Linear(16, 4)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """(N, T, 16) -> (N, 4)."""
        found: torch.Tensor = self.head(self.block(tokens).mean(1))
        return found


class Mobile(nn.Module):
    """Like MobileNetV3: hard-swish and squeeze-and-excite, NCHW."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.BatchNorm2d(8), nn.Hardswish())
        self.depth = nn.Sequential(nn.Conv2d(8, 8, 3, 1, 1, groups=8), nn.BatchNorm2d(8), nn.Hardswish())
        self.squeeze = nn.Sequential(
            nn.AdaptiveAvgPool2d(1), nn.Conv2d(8, 4, 1), nn.ReLU(), nn.Conv2d(4, 8, 1), nn.Hardsigmoid()
        )
        self.head = nn.Linear(8, 5)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """(N, 3, H, W) -> (N, 5)."""
        x = self.stem(image)
        x = self.depth(x) * self.squeeze(x) + x
        found: torch.Tensor = self.head(nn.functional.adaptive_avg_pool2d(x, 1).flatten(1))
        return found


def encoder() -> nn.Module:
    """Seeded."""
    torch.manual_seed(1)
    return Encoder().eval()


def mobile() -> nn.Module:
    """Seeded."""
    torch.manual_seed(1)
    return Mobile().eval()


NETWORKS = {
    "torch-transformer": ("encoder", {"tokens": InputHint(shape=(1, 10, 16), dtype="float32", declared=True)}),
    "torch-mobile": ("mobile", {"image": InputHint(shape=(1, 3, 32, 32), dtype="float32", declared=True)}),
}
"""Name -> the function above, and its input."""


def main(folder: Path) -> None:
    """Write ``NAME.tflite`` for every network."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, (function, hints) in NETWORKS.items():
        source = open_source(f"benchmarks.models.zoo_torch:{function}")
        loaded = from_torch.load(source, hints=hints)
        converted = from_torch.convert(loaded, batch=1, hints=hints, say=lambda _: None)
        (folder / f"{name}.tflite").write_bytes(converted.tflite)


if __name__ == "__main__":
    main(Path(sys.argv[1]))

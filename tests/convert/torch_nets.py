"""Networks for tests/convert/test_torch.py, as a user's own module; run by itself it writes files made from them."""

import sys
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional as F


class Block(nn.Module):
    """A basic block of ResNet for CIFAR-10 with the parameterless shortcut (He et al. 2015, option A)."""

    def __init__(self, planes_in: int, planes: int, stride: int = 1) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(planes_in, planes, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(planes)
        self.conv2 = nn.Conv2d(planes, planes, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(planes)
        self.added = (planes - planes_in) // 2

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        short = F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, self.added, self.added)) if self.added else x
        return F.relu(y + short)


class ResNet20(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.layer1 = nn.Sequential(Block(16, 16), Block(16, 16), Block(16, 16))
        self.layer2 = nn.Sequential(Block(16, 32, 2), Block(32, 32), Block(32, 32))
        self.layer3 = nn.Sequential(Block(32, 64, 2), Block(64, 64), Block(64, 64))
        self.linear = nn.Linear(64, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.layer3(self.layer2(self.layer1(F.relu(self.bn1(self.conv1(x))))))
        result: torch.Tensor = self.linear(x.mean((2, 3)))
        return result


class Small(nn.Module):
    """Two inputs, one optional input, a dict of outputs, a mean that becomes a pooling and one that does not."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(4)
        self.norm.running_mean = torch.tensor([0.1, -0.2, 0.3, 0.0])
        self.linear = nn.Linear(6, 2)

    def forward(
        self, image: torch.Tensor, index: torch.Tensor, mask: torch.Tensor | None = None
    ) -> dict[str, torch.Tensor]:
        x = F.relu(self.norm(self.conv(image)))
        x = x if mask is None else x * mask
        features = torch.cat([x.mean([2, 3]), index.to(torch.float32)], 1)
        return {"scores": self.linear(features), "map": x, "rows": x.mean(3)}


class Counting(nn.Module):
    """Keeps a state: the number of calls."""

    count: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("count", torch.zeros(3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.count[:2] += 1
        return F.relu_(x + self.count)


def small() -> nn.Module:
    torch.manual_seed(0)
    return Small()


def broken() -> nn.Module:
    raise ValueError("no such variant")


def number() -> int:
    return 3


class Bomb:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return print, ("code has run",)


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    network = small().eval()
    torch.save(nn.DataParallel(network).state_dict(), folder / "small.pth")
    save_file(network.state_dict(), folder / "small.safetensors")
    (folder / "damaged.safetensors").write_bytes((folder / "small.safetensors").read_bytes()[:100])
    torch.save({"linear.weight": torch.ones(2, 6), "other": torch.ones(1)}, folder / "other.pth")
    torch.save({"state_dict": Bomb()}, folder / "bomb.pth")
    torch.save({"state_dict": {**network.state_dict(), "linear.weight": torch.ones(3, 6)}}, folder / "shape.pth")
    arguments = (torch.zeros(1, 3, 8, 8), torch.zeros(1, 2, dtype=torch.int64))
    batch = torch.export.Dim("n")
    batched = tuple(torch.cat([item, item]) for item in arguments)
    torch.export.save(
        torch.export.export(network, batched, dynamic_shapes=({0: batch}, {0: batch})), folder / "dynamic.pt2"
    )
    torch.export.save(torch.export.export(nn.BatchNorm2d(3).train(), (torch.zeros(2, 3, 4, 4),)), folder / "train.pt2")

"""Weights for a network that a ``package.module:function`` makes: .pth, .th, .pt and .safetensors, never code."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgekit_converters.errors import SourceError

if TYPE_CHECKING:
    import torch

CONTAINERS = ("state_dict", "model_state_dict", "model", "net", "params")
"""Under which key checkpoints keep the weights beside an epoch or an optimizer, in the order of looking."""

PREFIXES = ("module.", "_orig_mod.", "model.")
"""What DataParallel, torch.compile and Lightning put before every name."""

_SHOWN = 5


def load_weights(network: "torch.nn.Module", path: Path) -> None:
    """Fill ``network`` from a file of tensors; raises SourceError naming what does not fit."""
    state = _without_prefix(_find_state(_read(path), path), set(network.state_dict()))
    own = network.state_dict()
    shapes = [
        f"{name} is {tuple(tensor.shape)}, the network's {tuple(own[name].shape)}"
        for name, tensor in state.items()
        if name in own and tuple(tensor.shape) != tuple(own[name].shape)
    ]
    if shapes:
        raise _misfit(path, [f"other shapes: {_some(shapes)}"])
    missing, unexpected = network.load_state_dict(state, strict=False)
    if missing or unexpected:
        named = (("missing in the file", missing), ("not in the network", unexpected))
        raise _misfit(path, [f"{what}: {_some(names)}" for what, names in named if names])


def _read(path: Path) -> Any:
    import torch

    try:
        if path.suffix.lower() == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path)
        return torch.load(path, weights_only=True, map_location="cpu")
    except ImportError as err:
        raise SourceError(
            "safetensors is not installed.", hint='Install it with: pip install "edgekit[torch]".'
        ) from err
    except OSError as err:
        raise SourceError(
            f"The weights {path} cannot be read: {err.strerror or err}.", hint="Check --weights."
        ) from err
    except Exception as err:
        if "weights_only" in str(err).lower() or "WeightsUnpickler" in str(err):
            raise SourceError(
                f"The weights {path} hold more than tensors, and unpickling that could run code of their author's.",
                hint="Save only the weights: torch.save(network.state_dict(), 'weights.pth'), or .safetensors.",
            ) from err
        raise SourceError(
            f"The weights {path} are damaged or no weights at all: {str(err).splitlines()[0][:200]}",
            hint="Copy or save the file again.",
        ) from err


def _find_state(content: Any, path: Path) -> "dict[str, torch.Tensor]":
    """The mapping of names to tensors, at the top of a checkpoint or in one of its containers."""
    found = [content, *(content[key] for key in CONTAINERS if key in content)] if isinstance(content, Mapping) else []
    for candidate in found:
        if _is_state(candidate):
            return dict(candidate)
    keys = f"its keys are {_some([str(key) for key in content])}" if isinstance(content, Mapping) else "it has no names"
    raise SourceError(
        f"The weights {path} hold no mapping of names to tensors ({keys}).",
        hint=f"Save network.state_dict(), or put it under one of {', '.join(CONTAINERS)}.",
    )


def _is_state(value: Any) -> bool:
    import torch

    return isinstance(value, Mapping) and bool(value) and all(isinstance(item, torch.Tensor) for item in value.values())


def _without_prefix(state: "dict[str, torch.Tensor]", own: set[str]) -> "dict[str, torch.Tensor]":
    for prefix in PREFIXES:
        wrapped = all(name.startswith(prefix) for name in state)
        if wrapped and not all(name.startswith(prefix) for name in own):
            state = {name.removeprefix(prefix): tensor for name, tensor in state.items()}
    return state


def _misfit(path: Path, differences: list[str]) -> SourceError:
    return SourceError(
        f"The weights {path} do not fit the network: {'; '.join(differences)}.",
        hint="The function must make the same network that the weights were trained in.",
    )


def _some(names: list[str]) -> str:
    """The first few, and how many more."""
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more

"""Stateful models of TensorFlow: brought back to their initial state, so that two inputs say nothing of each other."""

from collections.abc import Callable, Iterable
from typing import Any


def reset_layers(model: Any) -> None:
    """Empty the state of every recurrent layer with ``stateful=True``, whatever wraps it."""
    for layer in model._flatten_layers(include_self=False, recursive=True):  # noqa: SLF001 - reaches into wrappers, too
        if getattr(layer, "stateful", False) and hasattr(layer, "reset_state"):
            layer.reset_state()


def keep_initial(variables: Iterable[Any]) -> Callable[[], None]:
    """What gives the untrained ones of a SavedModel's variables the value back that they have now."""
    initial = [(variable, variable.numpy()) for variable in variables if not variable.trainable]

    def reset() -> None:
        for variable, value in initial:
            variable.assign(value)

    return reset

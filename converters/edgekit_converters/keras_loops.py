"""Recurrent Keras layers written out step by step: a loop (WHILE) cannot be quantized to integers.

The ranges inside a loop's body cannot be observed from outside, and TFLiteConverter's own int8 on a WHILE crashes. An
unrolled layer is ordinary FULLY_CONNECTED, MUL, TANH and LOGISTIC, one copy a time step over the same weights.
"""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

from edgekit_converters.types import Finding

MAX_STEPS = 256
"""Longer sequences stay a loop: the file would hold thousands of operators."""


def find_loops(model: Any) -> list[Any]:
    """The model's recurrent layers that are loops, whatever wraps them (Bidirectional, nested models)."""
    import keras

    layers = model._flatten_layers(include_self=False, recursive=True)  # noqa: SLF001 - reaches into wrappers, too
    return [layer for layer in layers if isinstance(layer, keras.layers.RNN) and not layer.unroll]


@contextmanager
def unrolled(layers: list[Any]) -> Iterator[dict[str, int | None]]:
    """While it is open, ``layers`` are traced step by step; gives the steps seen by name, None for an open length."""
    seen: dict[str, int | None] = {}
    with ExitStack() as stack:
        for layer in layers:
            stack.enter_context(_unrolled(layer, seen))
        yield seen


def loop_findings(seen: Mapping[str, int | None]) -> Iterator[Finding]:
    """What became of the loops."""
    done = [f"{name!r} over {steps} steps" for name, steps in seen.items() if _fits(steps)]
    if done:
        yield Finding(
            name="unrolled",
            severity="info",
            message=f"Recurrent layers were written out step by step: {', '.join(done)}.",
            fix="Nothing; no loop can be quantized to integers. --precision float16 keeps the loop.",
        )
    for name, steps in seen.items():
        if not _fits(steps):
            long = "of unknown length" if steps is None else f"of {steps} steps, more than {MAX_STEPS}"
            yield Finding(
                name="loop-kept",
                severity="warning",
                message=f"The recurrent layer {name!r} stays a loop: its sequence is {long}.",
                fix="Set a shorter shape in edgekit.toml, or build with --precision float16, which takes loops.",
            )


@contextmanager
def _unrolled(layer: Any, seen: dict[str, int | None]) -> Iterator[None]:
    original = layer.inner_loop

    def inner_loop(sequences: Any, *arguments: Any, **named: Any) -> Any:
        # Only here is the length known: a layer inside a wrapper has no input of its own.
        steps = None if sequences.shape[1] is None else int(sequences.shape[1])
        seen[layer.name] = steps
        layer.unroll = _fits(steps)
        return original(sequences, *arguments, **named)

    layer.inner_loop = inner_loop
    try:
        yield
    finally:
        del layer.inner_loop
        layer.unroll = False


def _fits(steps: int | None) -> bool:
    return steps is not None and steps <= MAX_STEPS

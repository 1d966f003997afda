"""``package.module:function`` of the user's own, for data and for metrics.

What such code prints goes to stderr: stdout is for what a command says, such as its JSON.
"""

import importlib
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Any

from edgekit_converters.errors import DataError

SPELLING = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")


def import_function(spec: str, base: Path) -> Callable[..., Any]:
    """The function ``spec`` names, looked for in ``base`` and in the packages; raises DataError."""
    module_name, _, attribute = spec.partition(":")
    with importable(base):
        try:
            with redirect_stdout(sys.stderr):
                function = getattr(importlib.import_module(module_name), attribute)
        except (Exception, SystemExit) as err:  # it is the user's code, which may do anything
            cause = str(err) if isinstance(err, ImportError | AttributeError) else f"{type(err).__name__}: {err}"
            raise DataError(
                f"{spec} cannot be imported: {cause}.",
                hint=f"It is looked for in {base.absolute()} and in the packages.",
            ) from err
    if not callable(function):
        raise DataError(f"{spec} is not a function.", hint="Give the name of a function in that module.")
    return function  # type: ignore[no-any-return]


@contextmanager
def importable(base: Path) -> Iterator[None]:
    """Modules of ``base`` come first."""
    folder = str(base.absolute())
    sys.path.insert(0, folder)
    try:
        yield
    finally:
        sys.path.remove(folder)


def call(function: Callable[..., Any], *arguments: Any) -> Any:
    """What it returns; whatever it raises, it raises."""
    with redirect_stdout(sys.stderr):
        return function(*arguments)


def items(function: Callable[[], Any]) -> Iterator[Any]:
    """What it yields; whatever it raises, it raises."""
    iterator, end = iter(call(function)), object()
    while (item := call(next, iterator, end)) is not end:
        yield item

"""Puts every Python process of a tree on one clock: its life, and when it was importing (read by ``process_tree``).

Python runs a module of this name at start, from any folder in PYTHONPATH. Each process appends lines of
``pid kind start end`` in seconds of CLOCK_MONOTONIC, which all processes of a machine share, to a file of its own in
the folder that IMPORT_CLOCK names. Only the outermost import of a thread counts, and only from 1 ms on.
"""

from __future__ import annotations

import atexit
import builtins
import importlib
import os
import threading
import time
from collections.abc import Callable
from typing import Any

FOLDER = os.environ.get("IMPORT_CLOCK")
SHORTEST_S = 0.001


def install(folder: str) -> None:
    """Time ``import`` statements and ``importlib.import_module`` from now on."""
    file = os.open(f"{folder}/{os.getpid()}.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    started, depth = time.monotonic(), threading.local()

    def note(kind: str, start: float) -> None:
        os.write(file, f"{os.getpid()} {kind} {start:.6f} {time.monotonic():.6f}\n".encode())

    def timed(function: Callable[..., Any]) -> Callable[..., Any]:
        def wrapper(*arguments: Any, **keywords: Any) -> Any:
            if getattr(depth, "inside", False):
                return function(*arguments, **keywords)
            depth.inside, start = True, time.monotonic()
            try:
                return function(*arguments, **keywords)
            finally:
                depth.inside = False
                if time.monotonic() - start >= SHORTEST_S:
                    note("import", start)

        return wrapper

    def leave(status: int) -> None:
        note("life", started)
        exit_now(status)

    exit_now = os._exit
    builtins.__import__ = timed(builtins.__import__)
    importlib.import_module = timed(importlib.import_module)
    os._exit = leave  # type: ignore[assignment]  # never returns: exit_now does not
    atexit.register(note, "life", started)


if FOLDER:
    install(FOLDER)

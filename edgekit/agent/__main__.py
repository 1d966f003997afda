"""``python AGENT COMMAND``: read the request, run the command, print its events.

``python AGENT install ...`` is for people and update clients: arguments and sentences, see ``install_command``.
"""

import io
import signal
import sys
import traceback
from importlib import import_module
from typing import Any, List, Optional

from . import delegates, runtime
from .events import AgentError, Emit, emitter, read_request, take_stdout
from .parent import end_with_parent

COMMANDS = {
    "info": "machine",
    "doctor": "doctor",
    "bench": "bench",
    "bench-process": "measure",
    "compare": "compare",
    "compare-process": "blocks",
    "coverage": "coverage",
    "coverage-process": "coverage",
    "record": "record",
    "clock": "clock",
    "record-process": "schedule",
    "stages": "stages",
    "stages-process": "stages",
    "profile": "profile",
    "profile-process": "profile",
    "streams": "streams",
    "streams-process": "streams",
    "infer": "infer",
    "infer-process": "infer",
    "status": "store",
    "deploy": "store",
    "rollback": "store",
    "self-test": "selftest",
    "prepare": "prepare",
    "setup-probe": "setup",
    "setup": "setup",
}
"""Command -> module of this package; its function has the command's name, with ``_`` for ``-``:

``def bench(request, stdin, emit)`` returns the fields of the ``done`` event or raises AgentError. ``stdin``
is the rest of the input after the request (binary, buffered).
"""

INSTALL = "install"
STOPPED = 143


class Stopped(BaseException):
    """A signal asked the agent to end; unwinds, so that everything cleans up behind itself."""


def _stop(_number: int, _frame: Any) -> None:
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)  # a second one must not interrupt the clean-up
    raise Stopped


def main(argv: Optional[List[str]] = None) -> int:
    """Run one command; the exit status is 0 after ``done``, 1 after ``error``, 143 when told to stop.

    That of ``install`` is its own.
    """
    arguments = sys.argv[1:] if argv is None else argv
    by_hand = arguments[:1] == [INSTALL]
    if not by_hand and (len(arguments) != 1 or arguments[0] not in COMMANDS):
        commands = "|".join(sorted(COMMANDS))
        sys.stderr.write(
            "usage: agent (%s), with the request as a line of JSON on stdin; or agent install --help\n" % commands
        )
        return 2
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(number, _stop)
    end_with_parent()
    try:
        if by_hand:
            return int(import_module("edgekit.agent.install_command").main(arguments[1:]))
        return _answer(arguments[0], emitter(take_stdout()))
    except (BrokenPipeError, Stopped):
        return STOPPED  # nobody is left to tell


def _answer(name: str, emit: Emit) -> int:
    try:
        result = _call(name, emit)
    except AgentError as err:
        emit("error", kind=err.kind, message=err.message, hint=err.hint, details=err.details)
        return 1
    except BrokenPipeError:
        raise
    except Exception as err:  # noqa: BLE001 - the boundary: the host must learn of every failure
        emit(
            "error",
            kind="device",
            message="The agent failed in %r: %s: %s" % (name, type(err).__name__, err),
            hint="This is a defect of edgekit, or something is wrong with the device; run it again with -v.",
            details={"traceback": traceback.format_exc()},
        )
        return 1
    emit("done", **result)
    return 0


def _call(name: str, emit: Emit) -> Any:
    command = getattr(import_module("edgekit.agent." + COMMANDS[name]), name.replace("-", "_"))
    try:
        with io.open(0, "rb", closefd=False) as stdin:
            return command(read_request(stdin), stdin, emit)
    except runtime.RuntimeMissing as err:
        raise AgentError(
            "device",
            "%s has no TFLite runtime: %s." % (sys.executable, err),
            "Install one with `edgekit device setup NAME`.",
        ) from err
    except runtime.ModelRefused as err:
        raise AgentError(
            "device",
            "The runtime of the device refuses the model: %s" % err,
            "`edgekit inspect` shows its operators. One that is an accelerator's own needs its delegate (--delegate); "
            "a newer runtime comes by `edgekit device setup NAME`.",
        ) from err
    except delegates.DelegateRefused as err:
        raise AgentError(
            "device",
            "The delegate cannot be used: %s" % err,
            err.hint,
            {"delegate_refused": True},
        ) from err


if __name__ == "__main__":
    sys.exit(main())

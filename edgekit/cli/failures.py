"""The one try/except: every failure becomes a message, a hint and an exit code."""

import json
import os
import signal
import sys
from collections.abc import Sequence
from types import FrameType
from typing import Any

import click

INTERRUPTED = 130
TERMINATED = 143
USAGE = 2


class Terminated(BaseException):
    """SIGTERM arrived; unwinds like Ctrl-C, so that everything cleans up behind itself."""


def _on_sigterm(_number: int, _frame: FrameType | None) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    raise Terminated


def guarded(command: click.Command, arguments: Sequence[str] | None = None) -> int:
    """Run a click command; returns the exit code of the table in the README."""
    signal.signal(signal.SIGTERM, _on_sigterm)
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    try:
        code: Any = command.main(args=list(arguments), prog_name="edgekit", standalone_mode=False)
    except click.UsageError as err:
        err.show()
        return USAGE
    except (KeyboardInterrupt, click.Abort):
        click.echo("Interrupted: cleaned up.", err=True)
        return INTERRUPTED
    except Terminated:
        click.echo("Terminated: cleaned up.", err=True)
        return TERMINATED
    except BrokenPipeError:
        # the reader of our output went away (| head): nobody is left to tell
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as err:  # noqa: BLE001 - the boundary: nothing may escape as a traceback unless asked for
        return _report(err, arguments)
    return code if isinstance(code, int) else 0


def _report(err: Exception, arguments: Sequence[str]) -> int:
    from edgekit.errors import EdgekitError, InconclusiveError, RegressionError
    from edgekit.report.plain import plain

    verbose = any(argument in {"-v", "--verbose"} for argument in arguments)
    if isinstance(err, EdgekitError):
        code, message, hint, details = err.exit_code, err.message, err.hint, err.details
    elif isinstance(err, MemoryError):
        code, details = 1, {}
        message = f"This machine ran out of memory: {err}".removesuffix(": ") + "."
        hint = "Check the size of the model and of the data, or use a machine with more memory."
    elif isinstance(err, OSError) and err.strerror:
        code, details = 1, {}
        message = err.strerror + (f": {err.filename}." if err.filename else ".")
        hint = "Check free space and permissions, of the folder for temporary files (TMPDIR) too."
    else:
        code, details = 1, {}
        message = f"Internal error: {type(err).__name__}: {err}"
        hint = "This is a defect of edgekit; please report it with the output of the same command and -v."
    if verbose:
        import traceback

        click.echo(plain("".join(traceback.format_exception(err))), err=True)
    click.echo(f"{click.style('error:', fg='red', bold=True)} {plain(message)}", err=True)
    click.echo(f"{click.style(' next:', fg='cyan', bold=True)} {plain(hint)}", err=True)
    if "--json" in arguments:
        error: dict[str, Any] = {
            "kind": type(err).__name__,
            "message": message,
            "hint": hint,
            "exit_code": code,
            "details": details,
        }
        # slower, and inconclusive, are answers of a whole run: its document stands where it always stands
        document = error.pop("details") if isinstance(err, InconclusiveError | RegressionError) else {}
        click.echo(json.dumps({"schema_version": 1, **_plain_data({**document, "error": error})}))
    return code


def _plain_data(value: dict[str, Any]) -> Any:
    """Documents and paths within details as JSON has them."""
    import msgspec

    return msgspec.to_builtins(value, str_keys=True, enc_hook=str)

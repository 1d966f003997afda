"""Every error edgekit raises, with its exit code and a hint (the cause is the message, the next step the hint).

EdgekitError                  1   error: message, cause, what to do
├── ProjectError              1   edgekit.toml or a value in it
├── TargetError               1   a target profile, or a target that cannot be built for yet
├── DeviceConfigError         1   device_configs/*.toml or a device name
├── ModelError                1   the source model, its conversion or quantization
├── DataError                 1   calibration, evaluation or prediction data
├── ArtifactError             1   a folder that is no artifact, or an artifact used for the wrong thing
├── CompilerError             1   an external compiler: missing, its settings, or what it did
├── MicroError                1   TFLite Micro on this machine: missing, or its process died
├── PlotError                 1   a plot that cannot be drawn or written
├── MeterError                1   an external power meter, its library, or how it is named
├── BundleError               1   a bundle that cannot be made or read
│   └── ToolMissingError          the tool of its format is not installed
├── KeysError                 1   a folder of signing keys that cannot be made or used
├── RunError                  1   a kept run that cannot be found, read or compared with
├── DeviceFaultError          1   the device answered and could not do it: no runtime, disk full, read-only
├── GateError                 3   accuracy, audit, coverage, numerics, latency
│   ├── AuditError
│   ├── AccuracyError
│   ├── LockError
│   ├── RegressionError
│   ├── CoverageError
│   └── SelfTestError
├── TransportError            4   device unreachable, connection lost, timed out
│   ├── HostKeyError
│   └── AuthenticationError
├── FleetError                5   some devices of a fleet failed
├── MeasurementInvalidError   6   throttled, frequency moved, clock jumped
├── InconclusiveError         7   a comparison that cannot be decided
└── IntegrityError            8   signature, digest or provenance check failed

Usage errors (2) are click's; 130 and 143 are the signals'.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, ClassVar

from edgekit_converters import errors as converter_errors


class EdgekitError(Exception):
    """A failure a user can act on."""

    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, *, hint: str, details: Mapping[str, Any] | None = None) -> None:
        super().__init__(message)
        self.message = message
        """What happened and why, one or two sentences."""
        self.hint = hint
        """What to do next."""
        self.details = dict(details or {})
        """Machine-readable facts for ``--json``."""


class ProjectError(EdgekitError):
    """edgekit.toml cannot be read or holds something impossible."""


class TargetError(EdgekitError):
    """A target profile is missing, invalid, or not buildable yet."""


class DeviceConfigError(EdgekitError):
    """A device is unknown or its table is invalid."""


class ModelError(EdgekitError):
    """The source model cannot be read, converted or quantized."""


class DataError(EdgekitError):
    """Data does not fit the model or cannot be read."""


class ArtifactError(EdgekitError):
    """Not an artifact, or one that does not fit what it is used for."""


class CompilerError(EdgekitError):
    """An external compiler that is missing, was set wrongly, or failed."""


class MicroError(EdgekitError):
    """TFLite Micro's interpreter that is missing on this machine, or whose process died."""


class BundleError(EdgekitError):
    """A bundle cannot be made, or a file that should be one cannot be read."""


class ToolMissingError(BundleError):
    """The tool of a bundle's format is not installed."""


class KeysError(EdgekitError):
    """Signing keys cannot be made, read or used."""


class PlotError(EdgekitError):
    """A plot cannot be drawn or written."""


class RunError(EdgekitError):
    """A kept run cannot be found or read, or nothing can be compared with it."""


class MeterError(EdgekitError):
    """An external power meter that is not there or does not do what it should."""


class DeviceFaultError(EdgekitError):
    """The device was reached and could not do what was asked."""


class GateError(EdgekitError):
    """A promise was not kept: the work is refused, nothing changed."""

    exit_code = 3


class AuditError(GateError):
    """The file is not what was asked for."""


class AccuracyError(GateError):
    """The accuracy budget is exceeded."""


class LockError(GateError):
    """``--locked``, and something is not what edgekit.lock says."""


class RegressionError(GateError):
    """Surely slower than the baseline by more than was allowed."""


class CoverageError(GateError):
    """The delegate was not used, took too few ops, or is not faster than the CPU."""


class SelfTestError(GateError):
    """The device did not reproduce the golden vectors."""


class TransportError(EdgekitError):
    """The device cannot be reached, or the connection was lost."""

    exit_code = 4


class HostKeyError(TransportError):
    """The host key is unknown or has changed."""


class AuthenticationError(TransportError):
    """The device refused every key that was offered."""


class FleetError(EdgekitError):
    """Some devices of a fleet failed."""

    exit_code = 5


class MeasurementInvalidError(EdgekitError):
    """A run whose numbers mean nothing."""

    exit_code = 6


class InconclusiveError(EdgekitError):
    """A comparison that needs more runs."""

    exit_code = 7


class IntegrityError(EdgekitError):
    """A digest, signature or provenance check failed."""

    exit_code = 8


@contextmanager
def foreign_errors() -> Iterator[None]:
    """Errors of the converters become edgekit's own, with their exit codes."""
    try:
        yield
    except converter_errors.DataError as err:
        raise DataError(err.message, hint=err.hint) from err
    except converter_errors.MismatchError as err:
        raise AuditError(err.message, hint=err.hint) from err
    except converter_errors.ConverterError as err:
        raise ModelError(err.message, hint=err.hint) from err

"""What can go wrong between a source model and a finished flatbuffer.

ConverterError
├── SourceError        the model cannot be read, is of another framework, or needs what is not installed
├── ConversionError    the framework refused, crashed, or was killed while converting
├── MismatchError      the converted model does not compute what its source does
├── QuantizationError  the precision asked for cannot be reached for this model
└── DataError          calibration or evaluation data is wrong
"""


class ConverterError(Exception):
    """A cause and the next step; ``edgekit`` gives it an exit code."""

    def __init__(self, message: str, *, hint: str) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class SourceError(ConverterError):
    """The model file is missing, damaged, unknown, or of a framework that is not installed."""


class ConversionError(ConverterError):
    """The framework failed on a model that it could read, or its process was killed."""


class MismatchError(ConverterError):
    """The float .tflite and its source disagree on the same inputs."""


class QuantizationError(ConverterError):
    """The float model cannot be brought to the precision asked for."""


class DataError(ConverterError):
    """Calibration or evaluation data is missing, malformed, or does not fit the model."""

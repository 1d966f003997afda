"""What a .keras or .h5 file says of itself before Keras opens it, and what Keras says when it will not."""

import json
import re
import zipfile
from pathlib import Path
from typing import Any

from edgekit_converters.errors import SourceError

SAVE_AGAIN = "Save it again with model.save('model.keras'), or export a SavedModel with model.export('folder')."

MAX_CONFIG_BYTES = 64 * 1024 * 1024
"""Of a .keras file's layers: real ones have some hundred kB, and a zip can hold any number of zeros."""


def refuse_code(path: Path, source_format: str) -> None:
    """Raise SourceError for a Lambda layer: code that never runs here, whatever Keras's own safe_mode covers."""
    try:
        has_lambda = _has_class(_keras_config(path, source_format), "Lambda")
    except (OSError, KeyError, zipfile.BadZipFile) as err:
        raise load_error(path, err) from err
    except (ValueError, TypeError, RecursionError) as err:
        raise SourceError(
            f"The model {path} is damaged: its configuration cannot be read: {first_line(err)}",
            hint="Copy or save the model again.",
        ) from err
    if has_lambda:
        raise SourceError(
            f"The model in {path} has a Lambda layer: Python code stored in the file, which edgekit never runs.",
            hint="Replace it by layers such as Rescaling, or export a SavedModel with model.export('folder').",
        )


def _keras_config(path: Path, source_format: str) -> Any:
    if source_format == "keras":
        with zipfile.ZipFile(path) as archive, archive.open("config.json") as stream:
            text = stream.read(MAX_CONFIG_BYTES + 1)
        if len(text) > MAX_CONFIG_BYTES:
            raise ValueError(f"it is larger than {MAX_CONFIG_BYTES} bytes")
        return json.loads(text)
    import h5py

    with h5py.File(path, "r") as file:
        config = file.attrs.get("model_config")
    if config is None:
        raise SourceError(
            f"{path} holds weights without a network (model.save_weights wrote it).",
            hint="Save the whole model with model.save('model.keras').",
        )
    return json.loads(config)


def _has_class(config: Any, name: str) -> bool:
    if isinstance(config, dict):
        return config.get("class_name") == name or any(_has_class(value, name) for value in config.values())
    return isinstance(config, list) and any(_has_class(value, name) for value in config)


def load_error(path: Path, err: Exception) -> SourceError:
    """What a framework's exception means to a user."""
    text = str(err)
    custom = re.search(r"(?:Unknown layer|Could not locate class|Unknown \w+): '?(\w+)'?|class '(\w+)'", text)
    if "Could not locate" in text or "Unknown layer" in text:
        name = next((group for group in custom.groups() if group), "") if custom else ""
        return SourceError(
            f"The model in {path} needs a class {name!r} of the program that made it.".replace(" ''", ""),
            hint="Export a SavedModel there with model.export('folder'); it holds everything that is needed.",
        )
    if isinstance(err, (OSError, KeyError, zipfile.BadZipFile, json.JSONDecodeError)):
        return SourceError(f"The model {path} is damaged: {first_line(err)}", hint="Copy or save the model again.")
    return SourceError(f"Keras could not read the model {path}: {first_line(err)}", hint=SAVE_AGAIN)


def first_line(err: Exception) -> str:
    """The first line of a message, cut to 300 characters."""
    lines = [line.strip() for line in str(err).splitlines() if line.strip()]
    return (lines[0] if lines else type(err).__name__)[:300]

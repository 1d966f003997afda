"""onnx2tf as a process: build a command, run it in a folder of its own, read what it wrote.

It rewrites the file it is given (onnxsim, in place) and writes half a dozen others, so it gets a copy in a temporary
folder; and without onnxsim on PATH it says nothing and gives wrong shapes, so its environment's programs come first.
"""

import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from edgekit_converters.environments import Environment
from edgekit_converters.errors import ConversionError

NO_NETWORK = "http://127.0.0.1:9"
"""The discard port, as a proxy: a converter that wants to download something fails at once."""
_ERROR_LINES = 3


def run_onnx2tf(environment: Environment, model: bytes, kept: Sequence[str]) -> bytes:
    """The float32 .tflite of a serialized model; inputs in ``kept`` keep their layout. Raises ConversionError."""
    with tempfile.TemporaryDirectory(prefix="edgekit-onnx2tf-") as name:
        folder = Path(name)
        (folder / "model.onnx").write_bytes(model)
        # -P -s: neither this folder nor the user's site-packages may shadow the environment
        command = [str(environment.executable), "-P", "-s", "-m", "onnx2tf", "-i", "model.onnx", "-o", "out", "-n"]
        # What onnx2tf calls them by then. A name that looks like an option is left to it: layouts are found by value.
        known = [name.replace(":", "__") for name in kept if not name.startswith("-")]
        if known:
            command += ["--keep_shape_absolutely_input_names", *known]
        process = subprocess.run(
            command,
            cwd=folder,
            env=_environment(environment, folder),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
        )
        output = process.stdout.decode(errors="replace")
        sys.stderr.write(output)  # to the log
        made = folder / "out" / "model_float32.tflite"
        if process.returncode != 0 or not made.is_file():
            raise ConversionError(
                f"onnx2tf could not convert the model (exit status {process.returncode}): {_reason(output)}",
                hint="Simplify or replace the part that it names; the log holds its full output.",
            )
        return made.read_bytes()


def _environment(environment: Environment, folder: Path) -> dict[str, str]:
    """The tool's own programs first, no settings of the user's Python, no network, no home to litter."""
    passed = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    proxies = {f"{name}_PROXY": NO_NETWORK for name in ("HTTP", "HTTPS", "ALL")}
    return {
        **passed,
        **proxies,
        **{name.lower(): value for name, value in proxies.items()},
        "NO_PROXY": "",
        "no_proxy": "",
        "HOME": str(folder),
        "PATH": f"{environment.executable.parent}{os.pathsep}{passed.get('PATH', '')}",
        "PYTHONHASHSEED": "0",
    }


def _reason(output: str) -> str:
    lines = [line.strip() for line in output.replace("\r", "\n").splitlines() if line.strip()]
    named = [line for line in lines if "ERROR" in line or "Error:" in line]
    return " ".join((named or lines)[-_ERROR_LINES:])[:500] or "it said nothing."

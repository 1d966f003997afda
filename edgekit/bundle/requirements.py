"""requirements.txt: what the device needs once, so that the release can run there."""

from collections.abc import Mapping

from edgekit.target import Target
from edgekit.versions import version_of

HEADER = """\
# What {name} needs on a device besides Python. Install it once, before the first release:
#   python3 -m venv {root}/runtime/requirements
#   {root}/runtime/requirements/bin/pip install -r requirements.txt
#   ln -sfn requirements {root}/runtime/current
# install.sh takes $EDGEKIT_PYTHON where it is set, else {root}/runtime/current/bin/python, else python3.
# `edgekit device setup NAME` does the same over ssh, without the internet on the device.
"""
LINKED = b"# Nothing: TFLite Micro is linked into the program of the microcontroller, with the model.\n"


def runtime_requirements(target: Target, tools: Mapping[str, str]) -> tuple[str, ...]:
    """Requirement lines for the target's runtime; ``tools`` are those of the manifest, whose runtime was tested."""
    if target.runtime.kind != "tflite":
        return ()
    tested = tools.get("ai-edge-litert") or version_of("ai-edge-litert")
    return (
        f'ai-edge-litert=={tested}; python_version >= "3.10" and platform_machine != "armv7l"',
        'tflite-runtime>=2.5; python_version < "3.10" or platform_machine == "armv7l"',
        'numpy>=1.23; python_version >= "3.10"',
        'numpy<2; python_version < "3.10"',
    )


def requirements_file(name: str, root: str, target: Target, tools: Mapping[str, str]) -> bytes:
    """requirements.txt with how to install it; a comment alone for a microcontroller."""
    lines = runtime_requirements(target, tools)
    if not lines:
        return LINKED
    return (HEADER.format(name=name, root=root) + "".join(f"{line}\n" for line in lines)).encode()

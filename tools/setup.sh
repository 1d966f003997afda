#!/bin/sh
# Make a virtual environment with edgekit[all] and the development tools, from constraints.txt alone.
set -eu
venv=$1
python=${PYTHON:-python3}

"$python" - <<'PY' || exit 1
import sys
if not (3, 11) <= sys.version_info[:2] <= (3, 13):
    sys.exit(f"edgekit needs Python 3.11 to 3.13 (TensorFlow has no wheel for others); this is {sys.version.split()[0]}.\n"
             "Install one, or name it: make setup PYTHON=python3.12")
try:
    import ensurepip  # Debian and Ubuntu package it apart
except ImportError:
    sys.exit("This Python cannot make virtual environments. On Debian or Ubuntu: sudo apt install python3-venv")
PY

[ -x "$venv/bin/python" ] || "$python" -m venv "$venv"
say() { printf '%s\n' "$*" >&2; }

# torch first and alone: a CPU build that pip is told of (PIP_FIND_LINKS, PIP_EXTRA_INDEX_URL) has the local version
# "+cpu", which satisfies the pin; without one, pip takes the default build with its CUDA libraries.
say "setup: torch (CPU build where pip knows of one)"
"$venv/bin/pip" install -qq --disable-pip-version-check --constraint constraints.txt torch
say "setup: edgekit[all], development tools (3 to 5 minutes the first time)"
"$venv/bin/pip" install -qq --disable-pip-version-check --constraint constraints.txt --editable '.[all,dev]'
say "setup: ready: $venv/bin/edgekit"

#!/bin/sh
# Make a virtual environment with edgekit[all] and the development tools, from constraints.txt alone.
set -eu
venv=$1
say() { printf '%s\n' "$*" >&2; }

# Found by running it: a version manager's shim may be on PATH for a Python that is not there.
fits() { "$1" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null; }
for python in ${PYTHON:-python3.11 python3.12 python3.13 python3}; do
  if fits "$python"; then break; fi
  python=
done
if [ -z "$python" ]; then
  say "edgekit needs Python 3.11 to 3.13 (TensorFlow has no wheel for others), and none was found (tried: ${PYTHON:-python3.11 python3.12 python3.13 python3})."
  say "Install one, or name it: make setup PYTHON=/path/to/python3.12"
  exit 1
fi
if ! "$python" -c 'import ensurepip' 2>/dev/null; then  # Debian and Ubuntu package it apart
  say "$python cannot make virtual environments. On Debian or Ubuntu: sudo apt install python3-venv"
  exit 1
fi

[ -x "$venv/bin/python" ] || "$python" -m venv "$venv"

# torch first and alone: a CPU build that pip is told of (PIP_FIND_LINKS, PIP_EXTRA_INDEX_URL) has the local version
# "+cpu", which satisfies the pin; without one, pip takes the default build with its CUDA libraries.
say "setup: torch (CPU build where pip knows of one)"
"$venv/bin/pip" install -qq --disable-pip-version-check --constraint constraints.txt torch
say "setup: edgekit[all], development tools (3 to 5 minutes the first time)"
"$venv/bin/pip" install -qq --disable-pip-version-check --constraint constraints.txt --editable '.[all,dev]'
say "setup: ready: $venv/bin/edgekit"

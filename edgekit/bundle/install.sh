#!/bin/sh
# Makes this release the active one on this device: sh install.sh [--root DIR]; --help shows what else it can do.
# Finds a Python with numpy and a TFLite runtime; the agent does the rest (edgekit's docs/install.md).
# Exit status: 0 done, 1 the device could not, 2 arguments, 3 golden vectors or health check, 8 refused.
set -u
umask 022 # applications of other users read what is installed, and nobody else writes it

say() { printf 'edgekit: %s\n' "$*" >&2; }

here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd) || exit 1
agent=$here/agent/edgekit.pyz
root=$(sed -n 's/^ *"root": "\([^"]*\)",*$/\1/p' "$here/release.json" 2>/dev/null | head -n 1)

previous=
for argument; do
  case $previous in --root) root=$argument ;; esac
  case $argument in --root=*) root=${argument#--root=} ;; esac
  previous=$argument
done

# prints why this Python cannot do it; its first path would be the working directory, which may be anybody's
probe='import sys
sys.path[:] = [sys.argv[1]] + [path for path in sys.path if path]
if sys.version_info < (3, 7):
    sys.exit("Python %d.%d; 3.7 or newer is needed" % sys.version_info[:2])
try:
    import numpy
    from edgekit.agent import runtime
    runtime.find_runtime()
except Exception as error:
    sys.exit("%s" % error)
'

reasons=
usable() {
  if ! command -v "$1" >/dev/null 2>&1; then
    why='is not there'
  elif why=$("$1" -B -c "$probe" "$agent" 2>&1 >/dev/null); then
    return 0
  fi
  reasons="$reasons
$1: $(printf '%s\n' "$why" | tail -n 1)"
  return 1
}

python=
if [ -n "${EDGEKIT_PYTHON:-}" ]; then
  if usable "$EDGEKIT_PYTHON"; then python=$EDGEKIT_PYTHON; fi
else
  for candidate in "$root/runtime/current/bin/python" python3; do
    if usable "$candidate"; then
      python=$candidate
      break
    fi
  done
fi

if [ -z "$python" ]; then
  say 'FAILED (exit 1): no Python on this device has numpy and a TFLite runtime. Nothing was changed.'
  printf '%s\n' "$reasons" | while IFS= read -r line; do
    if [ -n "$line" ]; then say "  $line"; fi
  done
  venv=$root/runtime/requirements
  say "next: install one where install.sh looks for it (or set EDGEKIT_PYTHON to a Python that has one):"
  say "  python3 -m venv '$venv' && '$venv/bin/pip' install -r '$here/requirements.txt' && ln -sfn requirements '$root/runtime/current'"
  exit 1
fi

exec "$python" -B "$agent" install "$here" "$@"

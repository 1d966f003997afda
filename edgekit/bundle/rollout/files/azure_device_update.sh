#!/bin/sh
# Install an edgekit bundle for the agent of Azure Device Update (handler microsoft/script:1).
#
# Device Update has checked the files' sha256 against its signed manifest. The bundle's own signature is checked here once
# more, by what `edgekit bundle device-files` put on the device: edgekit-swupdate or edgekit-unpack.
set -u
action='' work=. result='' criteria='' bundle='' format='' name='' root=/var/lib/edgekit
while [ $# -gt 0 ]; do
  case $1 in
    --action-*) action=${1#--action-} ;;
    --work-folder) work=$2; shift ;;
    --result-file) result=$2; shift ;;
    --installed-criteria) criteria=$2; shift ;;
    --bundle) bundle=$2; shift ;;
    --format) format=$2; shift ;;
    --name) name=$2; shift ;;
    --root) root=$2; shift ;;
    *) ;; # what later agents add
  esac
  shift
done

# codes: 0 failed, 500 downloaded, 600 installed, 700 applied, 801 cannot be cancelled, 900 is installed, 901 is not
say() {
  # what JSON takes as it is: neither quotes, backslashes and control characters, nor a letter that is cut in half
  text=$(printf '%s' "$2" | tr '\n\t' '  ' | LC_ALL=C tr -cd ' !#-[]-~' | cut -c 1-800)
  answer="{\"resultCode\": $1, \"extendedResultCode\": ${3:-0}, \"resultDetails\": \"$text\"}"
  if [ -n "$result" ]; then
    mkdir -p "$(dirname "$result")"
    printf '%s\n' "$answer" >"$result"
  else
    printf '%s\n' "$answer"
  fi
}

# the version that is active and confirmed, as edgekit's agent wrote it down; nothing where there is none
active_version() {
  python3 -I -c '
import json, os, sys
folder = os.path.join(sys.argv[1], "models", sys.argv[2])
active = os.path.basename(os.readlink(os.path.join(folder, "current")))
with open(os.path.join(folder, "state.json"), encoding="utf-8") as stream:
    state = json.load(stream)
found = [item["release"]["version"] for item in state["history"] if item["digest"] == active and item["release"]]
if found and not state["pending"]:
    print(found[-1])
' "$root" "$name" 2>/dev/null
}

install_tar() {
  folder=$(mktemp -d "$root/.device-update.XXXXXX") || return 1
  trap 'rm -rf "$folder"' EXIT
  edgekit-unpack "$work/$bundle" "$folder/tree" && sh "$folder/tree/install.sh" --root "$root"
}

install_bundle() {
  mkdir -p "$root"
  case $format in
    tar) install_tar ;;
    swupdate) edgekit-swupdate install "$work/$bundle" ;;
    *) echo "unknown format: $format" ; return 1 ;;
  esac
}

case $action in
  is-installed)
    if [ "$(active_version)" = "$criteria" ]; then
      say 900 "$criteria is active"
    else
      say 901 "$criteria is not active"
    fi
    ;;
  download) say 500 "the bundle is one of the update's files" ;;
  install)
    said=$(install_bundle 2>&1)
    status=$?
    printf '%s\n' "$said"
    if [ "$status" -eq 0 ]; then
      say 600 "installed, self-test passed"
    else
      say 0 "$(printf '%s\n' "$said" | tail -n 2)" "$status" # cause and next step
    fi
    ;;
  apply) say 700 "active" ;;
  cancel) say 801 "an installation ends by itself, and the old version stays until then" ;;
  *)
    echo "usage: $0 --action-is-installed|--action-download|--action-install|--action-apply|--action-cancel ..." >&2
    exit 2
    ;;
esac

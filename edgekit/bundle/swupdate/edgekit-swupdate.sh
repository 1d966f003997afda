#!/bin/sh
# edgekit-swupdate arguments        what SWUpdate is told on this device: the floor, and the slot to fill
# edgekit-swupdate install FILE     install a .swu with them; further arguments go to swupdate
# Written by `edgekit bundle device-files --format swupdate`.
set -eu

root=@root@ model=@model@ mode=@mode@

# the highest release that was confirmed here; before there is one, no-downgrading in /etc/swupdate.cfg counts
floor() {
  sed -n '/^  "floor": {/,/^  }/s/^    "version": "\(.*\)",*$/\1/p' "$root/models/$model/state.json" 2>/dev/null || true
}

arguments() {
  lowest=$(floor)
  if [ -n "$lowest" ]; then printf -- '-N %s ' "$lowest"; fi
  if [ "$mode" = ab ]; then
    case $(readlink "$root/slots/$model/current" 2>/dev/null) in
      a) printf -- '-e stable,copy-b ' ;;
      *) printf -- '-e stable,copy-a ' ;;
    esac
  fi
}

# SWUpdate 2022.12 ends with status 1 now and then although it installed the release: its own words decide
install() {
  image=$1
  shift
  log=$(mktemp)
  trap 'rm -f "$log"' EXIT
  # shellcheck disable=SC2046 # words without blanks
  { swupdate -f /etc/swupdate.cfg $(arguments) "$@" -i "$image" 2>&1 || true; } | tee "$log"
  grep -q '^\[INFO \] : SWUPDATE successful' "$log" && ! grep -q 'SWUPDATE failed \[1\]' "$log"
}

case ${1:-} in
  arguments) arguments ;;
  install) shift && install "$@" ;;
  *) sed -n '2,3s/^# //p' "$0" >&2; exit 2 ;;
esac

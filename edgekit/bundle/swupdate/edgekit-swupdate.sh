#!/bin/sh
# edgekit-swupdate arguments        what SWUpdate is told on this device: the floor, and the slot to fill
# edgekit-swupdate install FILE     install a .swu with them; further arguments go to swupdate
# edgekit-swupdate follow PID       for the service: tell hawkBit what SWUpdate PID installed, and have it start anew
# Written by `edgekit bundle device-files` for SWUpdate.
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
    slots=$root/slots/$model # an unproven one is filled again
    case $(readlink "$slots/unproven" || readlink "$slots/current") in
      a) printf -- '-e stable,copy-b ' ;;
      *) printf -- '-e stable,copy-a ' ;;
    esac
  fi
}

leave() {
  if [ -n "$server" ]; then # waited for: the next installation may follow at once
    kill "$server" 2>/dev/null || true
    wait "$server" 2>/dev/null || true
  fi
  if ! grep -q " $TMPDIR/" /proc/mounts; then rm -rf "$TMPDIR"; fi # never into a slot that is still mounted there
}

# `swupdate -i` (2022.12) asks itself how far it is, takes an interrupted answer for the end, and leaves in the middle of
# an installation, or with status 1 after a good one. A client of its own has no such trouble.
install() {
  image=$1
  shift
  if ! [ -r "$image" ]; then
    printf 'edgekit: FAILED: %s is no file that can be read.\n' "$image" >&2
    return 1
  fi
  mkdir -p "$root"
  exec 8>"$root/swupdate.lock"
  # two at a time would write into one slot
  if ! flock -n 8 || pidof swupdate >/dev/null; then
    printf 'edgekit: FAILED: SWUpdate is running. Stop its service, or install with swupdate-client %s\n' "$image" >&2
    return 1
  fi
  server=''
  TMPDIR=$(mktemp -d "${TMPDIR:-/tmp}/edgekit-swupdate.XXXXXX") # a name of its own: /tmp is everybody's
  export TMPDIR
  trap leave EXIT
  trap 'exit 143' HUP INT TERM
  # shellcheck disable=SC2046 # words without blanks
  swupdate -f /etc/swupdate.cfg $(arguments) "$@" >"$TMPDIR/log" 2>&1 8>&- &
  server=$!
  tries=0
  until [ -S "$TMPDIR/sockinstctrl" ] && [ -S "$TMPDIR/swupdateprog" ]; do
    tries=$((tries + 1))
    if [ "$tries" = 100 ] || ! kill -0 "$server" 2>/dev/null; then
      cat "$TMPDIR/log" >&2
      return 1
    fi
    sleep 0.1
  done
  sleep 0.3 # its installer starts after its sockets
  status=0
  swupdate-client -p "$image" >/dev/null 8>&- || status=1
  grep -q '^\[INFO \] : SWUPDATE successful' "$TMPDIR/log" || status=1
  grep -v 'print_registered_handlers' "$TMPDIR/log" # 30 lines that say nothing of this installation
  return "$status"
}

# suricatta (2022.12) takes a success for tested only after it was started anew with a state that a bootloader kept. Until
# then it installs nothing else, and the action stays open in hawkBit. Here the hook has tested: it is closed at once.
tell() { # ACTION
  said="$model $(floor) is active"
  swupdate-ipc sendtohawkbit "$1" 2 success closed "$said" 2>&1 | grep -q 'returns ACK'
}

# suricatta was started with -d: it asks hawkBit for updates when the last one is told, which also may be one before a reboot
begin() { # PID
  until [ ! -s "$told" ] || tell "$(cat "$told")"; do
    kill -0 "$1" 2>/dev/null || return
    sleep 5
  done
  rm -f "$told"
  until swupdate-ipc hawkbitcfg -e 2>&1 | grep -q 'returns ACK'; do
    kill -0 "$1" 2>/dev/null || return
    sleep 1
  done
}

# SWUpdate's progress interface, a line for a message: 1 START, with hawkBit's action; 3 SUCCESS; 6 DONE, of all that it has
messages() { # PID
  started='' action=''
  while read -r message; do
    case $message in
      *'"status": 1,'*"\"name\": \"$model\""*)
        started=$(printf '%s\n' "$message" | sed -n 's/.*"id" *: *"\([0-9][0-9]*\)".*/\1/p') action='' ;;
      *'"status": 1,'*) started='' action='' ;; # not by hawkBit, or not the model: whatever installs a system restarts it
      *'"status": 3,'*) action=$started ;;
      *'"status": 6,'*)
        if [ -n "$action" ]; then
          # it outlives a lost power supply; where the disk is full it is told all the same, and SWUpdate ended
          if printf '%s\n' "$action" >"$told.new"; then
            sync
            mv -f "$told.new" "$told" || true
          fi
          if tell "$action"; then rm -f "$told"; fi
          kill "$1" # the service starts again, with the new floor and the other slot
        fi ;;
    esac
  done
}

follow() {
  told=$root/swupdate.action
  mkdir -p "$root"
  rm -f "$root/swupdate.messages"
  mkfifo -m 600 "$root/swupdate.messages"
  swupdate-ipc monitor >"$root/swupdate.messages" &
  monitor=$!
  { while kill -0 "$1" 2>/dev/null; do sleep 1; done; kill "$monitor"; } &
  begin "$1" &
  messages "$1" <"$root/swupdate.messages"
}

case ${1:-}${2:+ FILE} in
  arguments) arguments ;;
  'install FILE') shift && install "$@" ;;
  'follow FILE') shift && follow "$@" ;;
  *) sed -n '2,4s/^# //p' "$0" >&2; exit 2 ;;
esac

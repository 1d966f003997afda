#!/bin/sh
# Called by SWUpdate as root before (preinst) and after (postinst) it unpacked the release; sw-description gives the rest:
#   directory ROOT MODEL            the agent installs from ROOT/incoming/MODEL and switches by itself
#   ab ROOT MODEL SLOT DEVICE       DEVICE becomes ROOT/slots/MODEL/SLOT, and `current` points to it once it was
#                                   checked, and stays there when the application is healthy
# Any status but 0 makes SWUpdate fail; the version before stays active.
set -eu

step=$1 mode=$2 root=$3 model=$4 slot=${5:-} device=${6:-}
incoming=$root/incoming/$model
beside=$root/incoming/.$model # no model is called like this: .log is its log, .lock its lock
slots=$root/slots/$model
here=$slots/$slot

fail() {
  printf 'edgekit: FAILED: %s\n' "$*" >&2
  exit 1
}

# Where SWUpdate alone is killed, the hook that it had started goes on: the next one waits for its end.
lock() {
  mkdir -p "$root/incoming"
  chmod 700 "$root/incoming"
  command -v flock >/dev/null || fail "flock is not on this device; install util-linux."
  exec 9>"$beside.lock"
  tries=0
  until flock -n 9; do
    tries=$((tries + 1))
    [ "$tries" -lt 120 ] || fail "another installation of $model is running."
    sleep 1
  done
}

# SWUpdate takes every line on stderr for an error, and install.sh tells its steps there
agent() {
  folder=$1 status=0
  shift
  sh "$folder/install.sh" --root "$root" "$@" >"$beside.log" 2>&1 9>&- || status=$?
  if [ "$status" = 0 ]; then said; else said >&2; fi
  rm -f "$beside.log"
  return "$status"
}

# An application's colours, a quote or half a character would make suricatta's report one that hawkBit refuses, and the
# release one that is tried again and again
said() {
  LC_ALL=C tr -cd '\n !#-[]-~' <"$beside.log"
}

install_directory() {
  status=0
  agent "$incoming" || status=$?
  rm -rf "$incoming"
  return "$status"
}

prepare_slot() {
  if [ -L "$slots/unproven" ]; then # the power went, or the hook was killed, while the application was asked
    go_back "$(readlink "$slots/unproven")"
  fi
  if [ "$(readlink "$slots/current" 2>/dev/null)" = "$slot" ]; then
    fail "slot $slot is the active one; install into the other (swupdate -e stable,copy-a or stable,copy-b)."
  fi
  if [ -e "$slots/current/release/install.sh" ]; then # its floor, where the power went between switch and --confirm
    agent "$slots/current/release" --confirm || true
  fi
  # SWUpdate mounts by the name it was given, mount(8) by the name that this is a link to
  # shellcheck disable=SC2013 # a mount point has no blanks in /proc/mounts
  for mounted in $(awk -v a="$device" -v b="$(readlink -f "$device")" '$1 == a || $1 == b { print $2 }' /proc/mounts); do
    umount "$mounted" || fail "slot $slot is in use; restart the application, which still reads it."
  done
}

switch_slot() {
  mkdir -p "$here"
  mount -t ext4 -o ro,nosuid,nodev "$device" "$here"
  agent "$here/release" --check || return
  before=$(readlink "$slots/current") || before=none
  point unproven "$before"
  point current "$slot"
  # `unproven` goes before the floor rises: of a power cut between them the next installation makes that up
  if agent "$here/release" --activated "$slots/current/release" && rm -f "$slots/unproven" && sync &&
    agent "$here/release" --confirm; then return 0; fi
  go_back "$before"
  return 1
}

go_back() { # SLOT|none that applications saw before the switch; they are told
  told=$1
  if [ "$1" = none ]; then
    told=$(readlink "$slots/current") || true
    rm -f "$slots/current"
  else
    point current "$1"
  fi
  if [ -e "$slots/$told/release/install.sh" ]; then
    agent "$slots/$told/release" --fallen-back "$slots/current/release" || true
  fi
  rm -f "$slots/unproven"
  sync
}

point() { # LINK SLOT: one rename
  ln -sfn "$2" "$slots/$1.new"
  sync
  mv -f -T "$slots/$1.new" "$slots/$1"
  sync
}

lock
case $mode-$step in
  directory-preinst) rm -rf "$incoming" ;; # of an attempt that was killed
  directory-postinst) install_directory ;;
  ab-preinst) prepare_slot ;;
  ab-postinst) switch_slot ;;
  *) fail "SWUpdate called it with $*." ;;
esac

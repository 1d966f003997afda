#!/bin/sh
# Called by SWUpdate as root before (preinst) and after (postinst) it unpacked the release; sw-description gives the rest:
#   directory ROOT MODEL            the agent installs from ROOT/incoming/MODEL and switches by itself
#   ab ROOT MODEL SLOT DEVICE       DEVICE becomes ROOT/slots/MODEL/SLOT, and `current` points to it once it was checked
# Any status but 0 makes SWUpdate fail; the version before stays active.
set -eu

say() { printf 'edgekit: %s\n' "$*" >&2; }

step=$1 mode=$2 root=$3 model=$4

prepare_directory() {
  rm -rf "$root/incoming/$model" # of an attempt that was killed
  mkdir -p "$root/incoming"
  chmod 700 "$root/incoming"
}

install_directory() {
  incoming=$root/incoming/$model status=0
  sh "$incoming/install.sh" --root "$root" || status=$?
  rm -rf "$incoming"
  return "$status"
}

prepare_slot() {
  slot=$1 device=$2
  current=$slots/current
  if [ "$(readlink "$current" 2>/dev/null)" = "$slot" ]; then
    say "FAILED: slot $slot is the active one. Install with the other selection (swupdate -e stable,copy-...)."
    return 1
  fi
  if [ -e "$current/release/install.sh" ]; then # the floor, where an attempt was killed between the switch and this
    sh "$current/release/install.sh" --confirm --root "$root" || say "the active slot cannot be confirmed; going on"
  fi
  # SWUpdate mounts by the name it was given, mount(8) by the name that this is a link to
  # shellcheck disable=SC2013 # a mount point has no blanks in /proc/mounts
  for mounted in $(awk -v a="$device" -v b="$(readlink -f "$device")" '$1 == a || $1 == b { print $2 }' /proc/mounts); do
    umount "$mounted" || { say "FAILED: slot $slot is in use; restart the application, which still reads it."; return 1; }
  done
}

switch_slot() {
  slot=$1 device=$2 here=$slots/$1 before=$(readlink "$slots/current" || true) status=0
  mkdir -p "$here"
  mount -t ext4 -o ro,nosuid,nodev "$device" "$here"
  sh "$here/release/install.sh" --check --root "$root" || return
  point "$slot"
  sh "$here/release/install.sh" --confirm --root "$root" || status=$?
  if [ "$status" != 0 ]; then
    if [ -n "$before" ]; then point "$before"; else rm -f "$slots/current"; fi
  fi
  return "$status"
}

point() {
  ln -sfn "$1" "$slots/current.new"
  sync
  mv -f -T "$slots/current.new" "$slots/current" # one rename
  sync
}

slots=$root/slots/$model
case $mode-$step in
  directory-preinst) prepare_directory ;;
  directory-postinst) install_directory ;;
  ab-preinst) prepare_slot "$5" "$6" ;;
  ab-postinst) switch_slot "$5" "$6" ;;
  *) say "FAILED: SWUpdate called $0 with $*."; exit 1 ;;
esac

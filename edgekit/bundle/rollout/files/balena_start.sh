#!/bin/sh
# Install the release of this container into the volume; a release that fails its self-test leaves the old one active.
# EDGEKIT_ALLOW_DOWNGRADE=1 (a variable of the fleet or the device) lets a pinned older release come back.
set -u
set -- --root "$EDGEKIT_ROOT"
[ "${EDGEKIT_ALLOW_DOWNGRADE:-}" != 1 ] || set -- "$@" --allow-downgrade
if sh "${EDGEKIT_RELEASE:-/release}/install.sh" "$@"; then
  echo "the release of this container is active"
else
  echo "the release of this container is NOT active (exit status $?): what was active before stays" >&2
fi
# the container stays up, so that an application in it or beside it goes on with what is active
exec sleep infinity

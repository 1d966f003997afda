#!/bin/sh
# Update module of Mender for models (/usr/share/mender/modules/v3/edgekit). Written by
# `edgekit bundle device-files`; called by mender as: edgekit STATE TREE, see docs.mender.io, Update
# modules. Mender has checked the artifact's signature and this device's type before it calls ArtifactInstall.
set -eu
umask 022

STATE=$1
TREE=$2
RELEASE=$TREE/tmp/release   # kept until mender cleans up: the health check and the way back are in it
PREVIOUS=$TREE/tmp/previous # what was active before: the digest of a version, or none

if [ -r /etc/default/edgekit ]; then
    set -a
    . /etc/default/edgekit
    set +a
fi

# install.sh of the release, which says what it does
installer() {
    if [ "${EDGEKIT_ALLOW_DOWNGRADE:-0}" = 1 ]; then set -- "$@" --allow-downgrade; fi
    exec sh "$RELEASE/install.sh" --target "$(cat "$TREE/current_device_type")" "$@"
}

case $STATE in
NeedsArtifactReboot) echo No ;;
SupportsRollback) echo Yes ;;
ArtifactInstall)
    rm -rf "$RELEASE" "$PREVIOUS"
    mkdir -p "$RELEASE"
    tar -xf "$TREE/files/release.tar" -C "$RELEASE"
    sync # it is the way back, and must outlive a lost power supply
    installer --remember "$PREVIOUS" --confirm-later
    ;;
ArtifactCommit) installer --confirm ;; # where the floor cannot rise, mender does not commit
ArtifactRollback)
    if [ ! -s "$PREVIOUS" ]; then exit 0; fi # it never came to the switch
    exec sh "$RELEASE/install.sh" --restore "$(cat "$PREVIOUS")"
    ;;
esac

#!/bin/sh
# State script of edgekit's artifacts, run by mender before it commits: the release is active, its files are whole, it
# reproduces its golden vectors, and the application's health check passes. Otherwise mender rolls back.
# Here is /var/lib/mender/scripts; the update module has left the release beside it.
release=$(dirname "$0")/../modules/v3/payloads/0000/tree/tmp/release

if [ -r /etc/default/edgekit ]; then
    set -a
    . /etc/default/edgekit
    set +a
fi

sh "$release/install.sh" --healthy || exit 1 # 21 would mean: ask again later

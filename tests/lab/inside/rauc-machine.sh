#!/bin/sh
# One power-on of a device with RAUC, as process 1 of namespaces of its own: whoever kills it cuts the power.
# RAUC: command of rauc. SLOT: the slots' program. CONF: its system.conf. RUN: its mounts. BUS: folder of bus.conf.
# Arguments: show (the active release as a tar) | install BUNDLE | switch BUNDLE (install, and no new start of the
# device: the slots' service is started again) | hawkbit CONF (its client asks the server once, and installs) | any
# other command of rauc that needs its service.
set -eu

mount --make-rprivate /
rm -rf "$RUN" "$BUS/socket"
"$SLOT" start
"$SLOT" mark-good || true # systemd says that the unit failed, and goes on

if [ "$1" = show ]; then
    if [ -e "$RUN/current" ]; then tar -C "$RUN/current/" --exclude=./lost+found -cf - .; fi
    exit
fi

# nothing of these is redirected: whoever reads our output sees its end when the last of them is gone
dbus-daemon --config-file="$BUS/bus.conf" --nofork --nopidfile &
export DBUS_SYSTEM_BUS_ADDRESS="unix:path=$BUS/socket"
until [ -S "$BUS/socket" ]; do sleep 0.01; done
"$SLOT" service &
service=$!
until dbus-send --system --print-reply --dest=org.freedesktop.DBus / org.freedesktop.DBus.GetNameOwner \
    string:de.pengutronix.rauc >/dev/null 2>&1; do
    kill -0 "$service"
    sleep 0.02
done
if [ "$1" = switch ]; then
    rauc --conf "$CONF" install "$2"
    "$SLOT" start
    "$SLOT" mark-good
    echo "current: $(readlink "$RUN/current"); mounted: $(grep -c " $RUN/[AB] " /proc/mounts)"
    exit
fi
if [ "$1" = hawkbit ]; then exec rauc-hawkbit-updater --run-once --config-file="$2"; fi
rauc --conf "$CONF" "$@"

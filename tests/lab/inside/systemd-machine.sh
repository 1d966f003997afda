#!/bin/sh
# A device that systemd has started: process 1 of namespaces of its own, with the unit files in UNITS and none of this
# machine's. It boots test.target; a unit of it ends it (SuccessAction=exit-force). HIERARCHIES: those of control groups here.
set -eu

mount --make-rprivate /
mount -t tmpfs run /run
targets=/run/targets
mkdir "$targets"
cp /usr/lib/systemd/system/*.target "$targets" # what every unit is ordered by; nothing is wanted by them here
mount --bind "$targets" /usr/lib/systemd/system
mount --bind "$UNITS" /etc/systemd/system
mount -t tmpfs cgroup /sys/fs/cgroup
for hierarchy in $HIERARCHIES; do
    mkdir -p "$hierarchy"
    case $hierarchy in
        */systemd) mount -t cgroup -o none,name=systemd cgroup "$hierarchy" ;;
        *) mount -t cgroup2 cgroup "$hierarchy" ;;
    esac
done
for kernel in /sys /proc/sys; do # this machine's: no device appears in it, and nothing is set there
    mount --rbind "$kernel" "$kernel"
    mount -o remount,bind,ro "$kernel"
done
mount --make-rshared / # as a boot leaves it
export container=lab
exec /lib/systemd/systemd --system --unit=test.target --log-target=console --show-status=no

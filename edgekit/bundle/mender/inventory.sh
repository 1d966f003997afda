#!/bin/sh
# Inventory of Mender (/usr/share/mender/inventory): what is installed, such as edgekit.kws.version=1.4.0. Written by
# `edgekit bundle device-files`, under the name that Mender's own has; Debian's mender-client comes without one.
client=mender
if command -v mender-update >/dev/null; then client=mender-update; fi # from 4.0 on
exec "$client" show-provides

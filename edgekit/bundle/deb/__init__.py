"""The deb format: a Debian package of one release, for fleets on apt."""

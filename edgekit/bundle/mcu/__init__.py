"""Bundles for microcontrollers: a C++ source package for every build system, and an image that MCUboot installs."""

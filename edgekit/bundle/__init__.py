"""Firmware bundles: one signed release tree in the envelopes of real update systems."""

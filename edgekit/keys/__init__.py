"""Signing keys and what is trusted: a small PKI, DSSE and CMS."""

"""Candidates x threads x delegates on a device: accuracy, latency and size, and one recommendation."""
